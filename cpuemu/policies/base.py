"""What a policy is, and what an interrupt can ask a CPU to do.

A policy is the only place that knows both the page allocator and the interrupts: page_alloc does not import smp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from cpuemu.kernel.blk_mq import end_request
from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES, END_REQUEST, KEXEC_SMP_DOWN, NOP
from cpuemu.kernel.kexec import kexec_smp_down
from cpuemu.kernel.page_lists import drain_local_pages

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


class Policy(Protocol):
    """The answer to "reclaim made progress and the allocation still failed"."""

    name: str

    def drain(self, cpu: Cpu, order: int) -> None:
        """Context: reclaim of an allocation of ``order`` has failed; interrupts on; may wait."""


def nop(cpu: Cpu, info: int) -> None:
    """A call that only shows that its CPU takes interrupts."""


CALLS: Mapping[int, Callable[[Cpu, int], None]] = {
    NOP: nop, DRAIN_LOCAL_PAGES: drain_local_pages, END_REQUEST: end_request, KEXEC_SMP_DOWN: kexec_smp_down,
}
"""The functions behind the numbers of call_functions."""
