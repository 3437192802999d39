"""A policy with a bug: it asks the other CPUs with interrupts off, so that two of them can wait for each other."""

from __future__ import annotations

from cpuemu.arch.cpu import Cpu
from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES
from cpuemu.kernel.page_alloc import drain_all_pages
from cpuemu.kernel.smp import on_each_cpu


class IrqsOff:
    name = "irqs-off"

    def drain(self, cpu: Cpu, order: int) -> None:
        cpu.me.irqs_off = 1
        drain_all_pages(cpu, lambda: on_each_cpu(cpu, DRAIN_LOCAL_PAGES, 0, wait=True))
        cpu.me.irqs_off = 0
