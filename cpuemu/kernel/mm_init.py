"""Memory at power-on (Linux: mm/mm_init.c, mm/bootmem.c, the setup half of mm/page_alloc.c, v3.2).

Invariant:     afterwards every managed page is in the buddy allocator or held by somebody named.
Writers:       the launcher, before any CPU exists.
Steps:         none.
Not modelled:  bootmem; the pages that the kernel's image takes: managed says what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cpuemu.errors import UserError
from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.layout import (
    OWNER_BOOT,
    OWNER_FILE,
    PAGEBLOCK_ORDER,
    MigrateType,
    Page,
    PageState,
    Wmark,
    lock_names,
)

if TYPE_CHECKING:
    import mmap

    from cpuemu.core import Core
    from cpuemu.layout import Machine

Block = tuple[int, int]
"""First page frame and order."""


def check_memory(zones: Sequence[ZoneSpec], cpus: int) -> None:
    """Raise UserError where the watermarks and the CPUs' lists leave nothing to run with."""
    managed = sum(zone.managed for zone in zones)
    kept = sum(zone.wmark[Wmark.HIGH] for zone in zones)
    if managed < 2 * kept + 64 * cpus:
        raise UserError(
            f"memory of {managed * 4} KiB is too small for {cpus} CPUs: the watermarks alone keep {kept * 4} KiB back; "
            f"give at least {-(-(2 * kept + 64 * cpus) * 4 >> 10) + 1}M with --memory"
        )


def free_area_init(machine: Machine, mapping: mmap.mmap, core: Core, zones: Sequence[ZoneSpec], cpus: int,
                   busy: Iterable[Block] = ()) -> None:
    """Zones, page records, per-CPU page sets; all managed memory free.

    ``busy``: blocks that must be memory of the allocator: the holes of a zone are laid around them.
    """
    _zones(machine, zones, cpus)
    for number, name in enumerate(lock_names(cpus, tuple(zone.name for zone in zones))):
        machine.locks[number].name = name
    core.init_heads()
    blocks = sorted(busy)
    for index, zone in enumerate(zones):
        holes = _holes(zone, [each for each in blocks if zone.start_pfn <= each[0] < zone.end_pfn])
        _records(machine, mapping, index, zone, holes)
        _pageblocks(machine, mapping, zone)
        start = zone.start_pfn
        for first, end in [*holes, (zone.end_pfn, zone.end_pfn)]:
            _free(core, machine, start, first)
            start = end
    machine.header.managed = sum(zone.managed for zone in zones)


def _zones(machine: Machine, zones: Sequence[ZoneSpec], cpus: int) -> None:
    for index, spec in enumerate(zones):
        zone = machine.zones[index]
        zone.name = spec.name
        zone.start_pfn, zone.spanned = spec.start_pfn, spec.spanned
        zone.present, zone.managed = spec.present, spec.managed
        for number, pages in enumerate(spec.wmark):
            zone.wmark[number] = pages
        for number, pages in enumerate(spec.lowmem_reserve):
            zone.lowmem_reserve[number] = pages
        zone.percpu_drift_mark, zone.nr_reserve_blocks = spec.percpu_drift_mark, spec.nr_reserve_blocks
        for cpu in range(cpus):
            pcp = machine.pcp(cpu, index)
            pcp.high, pcp.batch, pcp.stat_threshold = spec.pcp_high, spec.pcp_batch, spec.stat_threshold


def _holes(zone: ZoneSpec, busy: Sequence[Block]) -> list[tuple[int, int]]:
    """Where the pages are that the allocator does not have: the lowest that nobody needs."""
    left = zone.spanned - zone.managed
    holes: list[tuple[int, int]] = []
    at = zone.start_pfn
    for first, order in [*busy, (zone.end_pfn, 0)]:
        size = min(left, max(0, first - at))
        if size:
            holes.append((at, at + size))
            left -= size
        at = max(at, first + (1 << order))
    return holes


def _records(machine: Machine, mapping: mmap.mmap, index: int, zone: ZoneSpec,
             holes: Sequence[tuple[int, int]]) -> None:
    def record(state: PageState) -> bytes:
        return bytes((state, 0, MigrateType.MOVABLE, index)) + b"\xff" * (Page.SIZE - 4)

    base = machine.placed["mem_map"].base
    mapping[base + zone.start_pfn * Page.SIZE : base + zone.end_pfn * Page.SIZE] = record(PageState.TAIL) * zone.spanned
    for first, end in holes:
        mapping[base + first * Page.SIZE : base + end * Page.SIZE] = record(PageState.RESERVED) * (end - first)


def _pageblocks(machine: Machine, mapping: mmap.mmap, zone: ZoneSpec) -> None:
    """All movable, but for the first whole blocks of the zone: the reserve."""
    base = machine.placed["pageblocks"].base
    first, last = zone.start_pfn >> PAGEBLOCK_ORDER, (zone.end_pfn - 1) >> PAGEBLOCK_ORDER
    whole = -(-zone.start_pfn >> PAGEBLOCK_ORDER)
    mapping[base + first : base + last + 1] = bytes([MigrateType.MOVABLE]) * (last + 1 - first)
    for block in range(whole, min(whole + zone.nr_reserve_blocks, last)):
        mapping[base + block] = MigrateType.RESERVE


def _free(core: Core, machine: Machine, start: int, end: int) -> None:
    """Free a range into the lists of its pageblocks' types."""
    while start < end:
        kind = core.pageblock_type(start)
        stop = start
        while stop < end and core.pageblock_type(stop) == kind:
            stop = min(end, (stop >> PAGEBLOCK_ORDER) + 1 << PAGEBLOCK_ORDER)
        core.free_boot_range(start, stop, kind)
        start = stop


def hold_at_boot(machine: Machine, core: Core, zones: Sequence[ZoneSpec], held: Sequence[Block],
                 owner: int = OWNER_BOOT) -> list[Block]:
    """Take blocks out of the free lists, then page-cache pages, then what else was not free.

    Returns the blocks that could not be taken: they are not memory of this machine.
    """
    missing = [(pfn, order) for pfn, order in held if not core.hold_boot(pfn, order, owner)]
    for index, zone in enumerate(zones):
        record = machine.zones[index]
        room = zone.nr_file if zone.free is None else record.free_pages - zone.free
        _take(machine, core, index, min(zone.nr_file, room), OWNER_FILE)
        if zone.free is not None:
            _take(machine, core, index, record.free_pages - zone.free, OWNER_BOOT)
    machine.header.boot_held = machine.header.managed - sum(zone.free_pages for zone in machine.zones)
    return missing


def _take(machine: Machine, core: Core, zone: int, pages: int, owner: int) -> None:
    """So many pages from the bottom of the zone, in blocks that are free: large ones for the boot's own."""
    record = machine.zones[zone]
    pfn, end = record.start_pfn, record.start_pfn + record.spanned
    while pages > 0 and pfn < end:
        page = machine.mem_map[pfn]
        if page.state != PageState.BUDDY:
            pfn += 1 << page.order if page.state == PageState.ALLOCATED else 1
            continue
        order = min(page.order, pages.bit_length() - 1) if owner == OWNER_BOOT else 0
        size = 1 << order
        if machine.pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype == MigrateType.RESERVE:
            pfn += 1 << page.order
            continue
        core.hold_boot(pfn, order, owner)
        if owner == OWNER_FILE:
            core.lru_add(pfn)
        pages -= size
        pfn += size
