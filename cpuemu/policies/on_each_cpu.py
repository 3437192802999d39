"""Interrupt every online CPU and wait for all of them.

Stands for:  drain_all_pages() as in v3.2: on_each_cpu(drain_local_pages, NULL, 1), out of direct reclaim too.
Weakness:    most of these CPUs hold nothing; each of them is waited for (the discussion of January 2012).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES
from cpuemu.kernel.page_alloc import drain_all_pages
from cpuemu.kernel.smp import on_each_cpu

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


class OnEachCpu:
    name = "on-each-cpu"

    def drain(self, cpu: Cpu, order: int) -> None:
        """Context: interrupts on; waits."""
        drain_all_pages(cpu, lambda: on_each_cpu(cpu, DRAIN_LOCAL_PAGES, 0, wait=True))
