"""Arrays with an entry a CPU (Linux: include/linux/percpu.h, and every array that is sized by nr_cpu_ids).

Invariant:     an index is a CPU that can be: below nr_cpu_ids.
Writers:       none: this says where the entry is.
Steps:         none.
Not modelled:  the section of per-CPU variables: each is a region of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cpuemu.kernel import oracles
from cpuemu.kernel.bug import WARN_ON_ONCE
from cpuemu.kernel.cpumask import nr_cpu_ids
from cpuemu.schema import View

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu
    from cpuemu.schema import Array

V = TypeVar("V", bound=View)


def per_cpu(cpu: Cpu, array: Array[V], number: int) -> V:
    """The entry of a CPU.  As in C, of a number that is no CPU's it is whatever lies there: the oracle tells."""
    if not 0 <= number < nr_cpu_ids(cpu):
        WARN_ON_ONCE(cpu, True, oracles.ARRAY_INDEX, f"array-index-out-of-bounds: index {number} of an array of "
                     f"{array.struct.__name__}, one a CPU, of which {nr_cpu_ids(cpu)} can be")
    return array.struct(array.mem, array.base + number * array.struct.SIZE, number)
