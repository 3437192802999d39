"""The compiled leaves in their stepped form: other CPUs move between the stores of a list operation, too.

Invariant:     memory is what the fast form would have left, if nobody else moved meanwhile.
Writers:       as those of the leaves.
Steps:         one before each store of a leaf, declared as a write of its word.
Not modelled:  the compiled loop (run_batch): each of its operations remains one step, as its CPU takes no interrupts
               in the middle of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpuemu.arch.gate import Kind
from cpuemu.core import Core, _stepped
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu
    from cpuemu.schema import Address

SITES = {label: site(label) for label in _stepped.STEPS}


def stepped_core(mapping: Any, *rest: Any) -> Core:
    """A CPU's compiled half over its RAM; the rest as ``Core`` has it.  ``step_leaves`` sets it going."""
    return _stepped.Core(_stepped.Ram(mapping), *rest)


def step_leaves(cpu: Cpu, mapping: Any) -> None:
    """From here on every store of a leaf is a point of this process's CPU."""

    def step(label: str, word: Address) -> None:
        if not cpu.me.user:
            cpu.point(SITES[label], word, Kind.WRITE)

    _stepped.set_step(step, _stepped.Ram(mapping))
