"""A policy that sleeps inside the kernel before it drains: what a CPU that goes meanwhile leaves behind."""

from __future__ import annotations

from cpuemu.arch.cpu import Cpu
from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES
from cpuemu.kernel.page_alloc import drain_all_pages
from cpuemu.kernel.sched import wait_event
from cpuemu.kernel.smp import on_each_cpu
from cpuemu.sites import site

P_SLEEP = site("test:sleeps_in_reclaim")


class Sleepy:
    """Direct reclaim that sleeps, as it does for a device; then it calls every CPU, ten times if it was moved."""

    nap_ns = 30_000_000

    def drain(self, cpu: Cpu, order: int) -> None:
        before = cpu.number
        wait_event(cpu, P_SLEEP, deadline_ns=cpu.now() + self.nap_ns)
        for _ in range(10 if cpu.number != before else 1):
            drain_all_pages(cpu, lambda: on_each_cpu(cpu, DRAIN_LOCAL_PAGES, 0, wait=True))


class Dreamy(Sleepy):
    """It sleeps for longer than any operation takes."""

    nap_ns = 4_000_000_000


P_BUSY = site("test:busy_after_the_move")


class Busy(Sleepy):
    """Moved while it slept, it never gives its new CPU away again."""

    def drain(self, cpu: Cpu, order: int) -> None:
        before = cpu.number
        super().drain(cpu, order)
        while cpu.number != before:
            cpu.point(P_BUSY)
