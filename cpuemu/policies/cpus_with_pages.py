"""Interrupt only the CPUs that hold pages, and wait for them.

Stands for:  74046494ea68 "mm: only IPI CPUs to drain local pages if they exist" (Gilad Ben-Yossef, v3.4).
Weakness:    the mask is a snapshot taken with preemption on, and one for all drainers: a CPU may go, or fill its
             lists, between the look and the interrupt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES
from cpuemu.kernel.cpumask import cpumask_clear_cpu, cpumask_copy, cpumask_set_cpu, for_each_online_cpu
from cpuemu.kernel.page_alloc import drain_all_pages
from cpuemu.kernel.page_lists import pcp_has_pages
from cpuemu.kernel.smp import on_each_cpu_mask
from cpuemu.layout import Mask

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


class CpusWithPages:
    name = "cpus-with-pages"

    def drain(self, cpu: Cpu, order: int) -> None:
        """Context: interrupts on; waits."""
        for other in for_each_online_cpu(cpu):
            change = cpumask_set_cpu if pcp_has_pages(cpu, other) else cpumask_clear_cpu
            change(cpu, other, Mask.CPUS_WITH_PCPS)
        drain_all_pages(cpu, lambda: on_each_cpu_mask(
            cpu, cpumask_copy(cpu, Mask.CPUS_WITH_PCPS), DRAIN_LOCAL_PAGES, 0, wait=True))
