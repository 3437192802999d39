"""A user's own policy, as the documentation shows one: it interrupts the even CPUs only."""

from __future__ import annotations

from cpuemu.arch.cpu import Cpu
from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES
from cpuemu.kernel.page_alloc import drain_all_pages
from cpuemu.kernel.smp import on_each_cpu_mask


class EvenCpus:
    def drain(self, cpu: Cpu, order: int) -> None:
        drain_all_pages(cpu, lambda: on_each_cpu_mask(cpu, 0x5555, DRAIN_LOCAL_PAGES, 0, wait=True))
