"""Drain this CPU's own lists, for high orders only, and interrupt nobody.

Stands for:  Mel Gorman's "mm: page allocator: Do not drain per-cpu lists via IPI from page allocator context"
             (January 2012, version 2; it did not land).
Weakness:    pages on other CPUs' lists stay there while this allocation may go on to the OOM killer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.kernel.irqflags import preempt_disable, preempt_enable
from cpuemu.kernel.page_lists import drain_local_pages

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


class LocalOnly:
    name = "local-only"

    def drain(self, cpu: Cpu, order: int) -> None:
        """Context: interrupts on; does not wait."""
        if order > 0:
            preempt_disable(cpu)
            drain_local_pages(cpu)
            preempt_enable(cpu)
