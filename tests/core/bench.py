"""One zone of memory on the bench: RAM and a Core, no process, no kernel code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from cpuemu.arch.ram import RamFile, create_ram
from cpuemu.core import Core
from cpuemu.kernel.mm_init import free_area_init
from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.layout import (
    Dimensions,
    Machine,
    Mask,
    MigrateType,
    first_workload_task,
    free_list_head,
    pcp_head,
    zone_lock,
)
from cpuemu.sites import site

PAGES = 4096
HERE = site("test:bench")


class Bench:
    """``cpus`` CPUs, one zone from page 0, all of it free and movable; leaves run as CPU 0."""

    def __init__(self, directory: Path, form: ModuleType, cpus: int = 2, pages: int = PAGES, checked: bool = False,
                 batch: int = 7, high: int = 20) -> None:
        dims = Dimensions(cpus, pages, 1, first_workload_task(cpus) + 2, slots=64)
        self.image: RamFile = create_ram(directory, dims)
        self.machine: Machine = self.image.machine
        self.machine.header.checked = checked
        self.machine.cpumasks[Mask.ONLINE].bits[0] = (1 << cpus) - 1
        zone = ZoneSpec("Normal", 0, pages, pages, pages, (40, 50, 60), pcp_batch=batch, pcp_high=high,
                        stat_threshold=4)
        setup = Core(self.image.ram, None, (0, 0), 0, 0)
        free_area_init(self.machine, self.image.mapping, setup, [zone], cpus)
        # The module's own classes: the stepped form has a Ram and a Core of its own.
        self.ram: Any = form.Ram(self.image.mapping)
        self.core: Any = form.Core(self.ram, None, (0, 0), 0, 1)

    def locked(self, action: Callable[[], Any]) -> Any:
        """Run a leaf as the kernel does: interrupts off, zone->lock held."""
        self.machine.cpus[0].irqs_off = 1
        assert self.core.spin_trylock(zone_lock(0), HERE)
        try:
            return action()
        finally:
            self.core.spin_unlock(zone_lock(0))
            self.machine.cpus[0].irqs_off = 0

    def quiet(self, action: Callable[[], Any]) -> Any:
        """Run a leaf with interrupts off."""
        self.machine.cpus[0].irqs_off = 1
        try:
            return action()
        finally:
            self.machine.cpus[0].irqs_off = 0

    def bulk(self, wanted: int) -> int:
        """As the kernel does: a CPU's pages to the free lists, and the count lowered; how many there were."""
        freed = int(self.locked(lambda: self.core.free_pcppages_bulk(0, 0, wanted)))
        self.machine.pcp(0, 0).count -= freed
        return freed

    def listed(self, head: int) -> list[int]:
        """A list's pages in order."""
        head += self.machine.dims.pages
        pages, at = [], self.machine.mem_map[head].next
        while at != head:
            pages.append(at)
            at = self.machine.mem_map[at].next
        return pages

    def free_list(self, order: int, migratetype: int) -> list[int]:
        return self.listed(free_list_head(0, order, migratetype))

    def pcp_list(self, migratetype: int, cpu: int = 0) -> list[int]:
        return self.listed(pcp_head(cpu, 0, migratetype, 1))

    def memory(self) -> bytes:
        """Everything that leaves write: zones, lists, page records."""
        placed = self.machine.placed
        parts = []
        for name in ("zones", "pcps", "pageblocks", "mem_map"):
            where = placed[name]
            parts.append(self.image.mapping[where.base : where.base + where.count * where.region.struct.SIZE])
        return b"".join(parts)


TYPES = (MigrateType.UNMOVABLE, MigrateType.RECLAIMABLE, MigrateType.MOVABLE)
