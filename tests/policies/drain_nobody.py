"""A drain that reaches nobody: every one of them finds nothing, and what needed it is where it was."""

from __future__ import annotations

from cpuemu.arch.cpu import Cpu
from cpuemu.kernel.page_alloc import drain_all_pages


class DrainNobody:
    name = "drain-nobody"

    def drain(self, cpu: Cpu, order: int) -> None:
        drain_all_pages(cpu, lambda: None)
