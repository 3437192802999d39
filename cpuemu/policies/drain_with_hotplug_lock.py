"""Interrupt every online CPU, with CPU hotplug locked out.

Stands for:  get_online_cpus() around the drain in reclaim: what the first version of Gorman's patch argued against,
             and what 2017 had for a while (zoo 2).
Weakness:    kthreadd reclaims while the task that brings a CPU up holds the lock and waits for kthreadd: deadlock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES
from cpuemu.kernel.hotplug_lock import get_online_cpus, put_online_cpus
from cpuemu.kernel.page_alloc import drain_all_pages
from cpuemu.kernel.smp import on_each_cpu

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


class DrainWithHotplugLock:
    name = "drain-with-hotplug-lock"

    def drain(self, cpu: Cpu, order: int) -> None:
        """Context: interrupts on; may sleep for the lock; waits."""
        get_online_cpus(cpu)
        drain_all_pages(cpu, lambda: on_each_cpu(cpu, DRAIN_LOCAL_PAGES, 0, wait=True))
        put_online_cpus(cpu)
