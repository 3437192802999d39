"""Memory compaction: movable pages out of the way of a high-order block (Linux: mm/compaction.c, mm/migrate.c, v3.2).

Invariant:     a page that compaction has in hand is ALLOCATED by OWNER_ISOLATED, and nobody else's.
Writers:       a page's owner goes from and to OWNER_FILE under its zone's lru_lock only; free pages are taken under
               zone->lock; the deferral words by whoever compacts, without a lock, as in Linux.
Steps:         one before lru_lock, one before zone->lock; cond_resched between clusters.
Not modelled:  pages that tasks hold.  Linux moves them behind their page tables, and a fault waits for the copy; here
               a task in user mode uses what it holds without a lock and without a fault, so its pages stay where they
               are.  What moves is the page cache, the only list that v3.2's scanner looks at too (PageLRU).
               Migration never fails for a page by itself (locked, dirty, pinned): sync and async differ in the
               pageblocks that they scan and in what they wait for.  /proc/sys/vm/compact_memory.

The migrate scanner comes from the bottom of the zone, the free scanner from its top; where they meet it is over.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cpuemu.events import Event
from cpuemu.kernel.page_lists import NO_PAGE, Request, free_pages
from cpuemu.kernel.sched import cond_resched, wait_event
from cpuemu.kernel.spinlock import spin_lock_irqsave, spin_unlock_irqrestore
from cpuemu.kernel.vmstat import fragmentation_index
from cpuemu.layout import (
    MAX_ORDER,
    PAGEBLOCK_ORDER,
    Counter,
    Gfp,
    MigrateType,
    PageState,
    TaskFlag,
    Wmark,
    Zone,
    free_list_head,
    lru_lock,
    zone_lock,
)
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_ISOLATE = site("isolate_migratepages:lru_lock")
P_FREE = site("isolate_freepages:zone_lock")
P_PUTBACK = site("putback_lru_page:lru_lock")
P_CONGESTION = site("isolate_migratepages:congestion_wait")

PAGEBLOCK = 1 << PAGEBLOCK_ORDER
CLUSTER = 32
"""COMPACT_CLUSTER_MAX: pages isolated at a time; lru_lock is given back as often."""
EXTFRAG_THRESHOLD = 500
COMPACT_MAX_DEFER_SHIFT = 6
CONGESTION_NS = 100_000_000


class Compact(enum.IntEnum):
    """What a compaction came to: a larger value wins over several zones."""

    SKIPPED = 0  # not suitable: too few free pages, or not in pieces
    CONTINUE = 1
    PARTIAL = 2  # a block of the order is there, or it gave up
    COMPLETE = 3  # the scanners have met


@dataclass
class CompactControl:
    """struct compact_control: one compaction of one zone.  ``freepages``, ``migratepages``: in hand."""

    zone: int
    order: int
    migratetype: int
    sync: bool
    migrate_pfn: int = 0
    free_pfn: int = 0
    freepages: list[int] = field(default_factory=list)
    migratepages: list[int] = field(default_factory=list)


# --- deferral ----------------------------------------------------------------------------------------------


def compaction_deferred(cpu: Cpu, zone: int, order: int) -> bool:
    """Whether to skip a compaction because the last ones failed; counts what is skipped."""
    words = cpu.machine.zones[zone]
    limit = 1 << words.compact_defer_shift
    words.compact_considered = min(words.compact_considered + 1, limit)
    if words.compact_considered >= limit:
        return False
    cpu.core.trace(Event.MM_COMPACTION_DEFERRED, order, zone, words.compact_considered, words.compact_defer_shift)
    return True


def defer_compaction(cpu: Cpu, zone: int, order: int) -> None:
    """It failed: the next ones are skipped, twice as many as last time, at most 64."""
    words = cpu.machine.zones[zone]
    words.compact_considered = 0
    words.compact_defer_shift = min(words.compact_defer_shift + 1, COMPACT_MAX_DEFER_SHIFT)
    cpu.core.trace(Event.MM_COMPACTION_DEFER_COMPACTION, order, zone, 0, words.compact_defer_shift)


def compaction_succeeded(cpu: Cpu, zone: int) -> None:
    words = cpu.machine.zones[zone]
    words.compact_considered = words.compact_defer_shift = 0


# --- whether it is worth it --------------------------------------------------------------------------------


def compaction_suitable(cpu: Cpu, zone: int, order: int) -> Compact:
    """PARTIAL: the allocation would succeed as it is; SKIPPED: compaction could not help; CONTINUE: it could."""
    words = cpu.machine.zones[zone]
    mark = words.wmark[Wmark.LOW] + (2 << order)
    if not cpu.core.zone_watermark_ok(zone, 0, mark, 0, 0):
        return Compact.SKIPPED
    index = fragmentation_index(words, order)
    if 0 <= index <= EXTFRAG_THRESHOLD:
        return Compact.SKIPPED
    if index == -1000 and cpu.core.zone_watermark_ok(zone, order, mark, 0, 0):
        return Compact.PARTIAL
    return Compact.CONTINUE


def compact_finished(cpu: Cpu, control: CompactControl) -> Compact:
    """CONTINUE while there is no block of the order on a list that the allocation would look at."""
    zone = control.zone
    if fatal_signal_pending(cpu):
        return Compact.PARTIAL
    if control.free_pfn <= control.migrate_pfn:
        return Compact.COMPLETE
    words = cpu.machine.zones[zone]
    mark = words.wmark[Wmark.LOW] + (1 << control.order)
    if not cpu.core.zone_watermark_ok(zone, control.order, mark, 0, 0):
        return Compact.CONTINUE
    for order in range(control.order, MAX_ORDER):
        if not _free_list_empty(cpu, zone, order, control.migratetype):
            return Compact.PARTIAL
        if order >= PAGEBLOCK_ORDER and words.nr_free[order]:
            return Compact.PARTIAL
    return Compact.CONTINUE


def _free_list_empty(cpu: Cpu, zone: int, order: int, migratetype: int) -> bool:
    head = cpu.machine.dims.pages + free_list_head(zone, order, migratetype)
    return cpu.machine.mem_map[head].next == head


def fatal_signal_pending(cpu: Cpu) -> bool:
    """The only signal here is the OOM killer's."""
    return bool(cpu.current.flags & TaskFlag.MEMDIE)


# --- one compaction ----------------------------------------------------------------------------------------


def try_to_compact_pages(cpu: Cpu, request: Request, sync: bool) -> Compact:
    """Direct compaction of the zones that a request may use, until one would give it its block.

    Context: PF_MEMALLOC; may sleep if ``sync``.
    """
    result = Compact.SKIPPED
    order = request.order
    if not order or request.gfp & (Gfp.FS | Gfp.IO) != Gfp.FS | Gfp.IO:
        return result
    cpu.core.count(Counter.COMPACT_STALL)
    cpu.core.trace(Event.MM_COMPACTION_TRY_TO_COMPACT_PAGES, order, request.gfp, sync)
    for zone in range(request.classzone, -1, -1):
        status = compact_zone(cpu, CompactControl(zone, order, request.migratetype, sync))
        result = max(status, result)
        if cpu.core.zone_watermark_ok(zone, order, cpu.machine.zones[zone].wmark[Wmark.LOW], 0, 0):
            break
    return result


def compact_zone(cpu: Cpu, control: CompactControl) -> Compact:
    """Move pages from the bottom of a zone into free pages at its top, until a block of the order is there."""
    zone, words = control.zone, cpu.machine.zones[control.zone]
    suitable = compaction_suitable(cpu, zone, control.order)
    if suitable != Compact.CONTINUE:
        return suitable
    end = words.start_pfn + words.spanned
    control.migrate_pfn, control.free_pfn = words.start_pfn, end & -PAGEBLOCK
    cpu.core.trace(Event.MM_COMPACTION_BEGIN, control.migrate_pfn, control.free_pfn, end,
                   words.start_pfn << 1 | control.sync)
    while (status := compact_finished(cpu, control)) == Compact.CONTINUE:
        if not isolate_migratepages(cpu, control):
            status = Compact.PARTIAL
            break
        if control.migratepages and not migrate_pages(cpu, control):
            status = Compact.PARTIAL  # no free page is left to move to
            break
    for pfn in control.freepages:
        free_pages(cpu, pfn, 0)
    cpu.core.trace(Event.MM_COMPACTION_END, control.migrate_pfn, control.free_pfn, end, status << 1 | control.sync)
    return status


# --- the scanners ------------------------------------------------------------------------------------------


def too_many_isolated(words: Zone) -> bool:
    return words.nr_isolated > max(0, words.nr_file) // 2


def isolate_migratepages(cpu: Cpu, control: CompactControl) -> bool:
    """A cluster of pages of the next pageblock off their list; False: give up (too many are in others' hands)."""
    zone, words = control.zone, cpu.machine.zones[control.zone]
    low = start = max(control.migrate_pfn, words.start_pfn)
    end = _align(low + PAGEBLOCK)
    if end > control.free_pfn:
        control.migrate_pfn = end
        return True
    while too_many_isolated(words):
        if not control.sync:
            return False
        wait_event(cpu, P_CONGESTION, deadline_ns=cpu.now() + CONGESTION_NS)
        if fatal_signal_pending(cpu):
            return False
    cond_resched(cpu)
    scanned = 0
    while low < end and len(control.migratepages) < CLUSTER:
        flags = spin_lock_irqsave(cpu, lru_lock(zone), P_ISOLATE)
        low, seen, pages = cpu.core.isolate_migratepages(
            zone, low, min(end, (low // CLUSTER + 1) * CLUSTER), CLUSTER - len(control.migratepages), control.sync)
        spin_unlock_irqrestore(cpu, lru_lock(zone), flags)
        scanned += seen
        control.migratepages += pages
        cond_resched(cpu)
        if fatal_signal_pending(cpu):
            break
    control.migrate_pfn = low
    cpu.core.trace(Event.MM_COMPACTION_ISOLATE_MIGRATEPAGES, start, low, scanned, len(control.migratepages))
    return True


def suitable_migration_target(cpu: Cpu, pfn: int) -> bool:
    """Whether the pageblock that begins here may be filled: movable, or free as a whole."""
    kind = cpu.machine.pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype
    if kind in (MigrateType.ISOLATE, MigrateType.RESERVE):
        return False
    page = cpu.machine.mem_map[pfn]
    return (page.state == PageState.BUDDY and page.order >= PAGEBLOCK_ORDER) or kind == MigrateType.MOVABLE


def isolate_freepages(cpu: Cpu, control: CompactControl) -> None:
    """Free pages from the top down, pageblock by pageblock, for all pages that are to move."""
    zone, words = control.zone, cpu.machine.zones[control.zone]
    zone_end = words.start_pfn + words.spanned
    pfn, low = control.free_pfn, control.migrate_pfn + PAGEBLOCK
    high = min(low, pfn)
    while pfn > low and len(control.migratepages) > len(control.freepages):
        if pfn < zone_end and suitable_migration_target(cpu, pfn):
            end = min(pfn + PAGEBLOCK, zone_end)
            pages: list[int] = []
            flags = spin_lock_irqsave(cpu, zone_lock(zone), P_FREE)
            if suitable_migration_target(cpu, pfn):
                pages = cpu.core.isolate_freepages_block(zone, pfn, end)
            spin_unlock_irqrestore(cpu, zone_lock(zone), flags)
            control.freepages += pages
            cpu.core.trace(Event.MM_COMPACTION_ISOLATE_FREEPAGES, pfn, end, end - pfn, len(pages))
            if pages:
                high = max(high, pfn)
        pfn -= PAGEBLOCK
    control.free_pfn = high


def _align(pfn: int) -> int:
    return pfn + PAGEBLOCK - 1 & -PAGEBLOCK


# --- moving ------------------------------------------------------------------------------------------------


def compaction_alloc(cpu: Cpu, control: CompactControl) -> int:
    """A page to move to, or NO_PAGE."""
    if not control.freepages:
        isolate_freepages(cpu, control)
    return control.freepages.pop() if control.freepages else NO_PAGE


def migrate_pages(cpu: Cpu, control: CompactControl) -> bool:
    """Move what is isolated; what finds no place goes back to its list.  False: not all found one.

    The old page is freed to this CPU's list: who compacts drains that afterwards, to see its pages merge.
    """
    zone, moved = control.zone, 0
    while control.migratepages and (target := compaction_alloc(cpu, control)) != NO_PAGE:
        source = control.migratepages.pop()
        _putback(cpu, zone, [target], 1)
        free_pages(cpu, source, 0)
        moved += 1
    failed = len(control.migratepages)
    if failed:
        _putback(cpu, zone, control.migratepages, failed)
        control.migratepages = []
    cpu.core.count(Counter.COMPACT_PAGES, moved)
    cpu.core.count(Counter.COMPACT_PAGE_FAILED, failed)
    cpu.core.trace(Event.MM_COMPACTION_MIGRATEPAGES, moved, failed)
    return not failed


def _putback(cpu: Cpu, zone: int, pages: list[int], isolated: int) -> None:
    flags = spin_lock_irqsave(cpu, lru_lock(zone), P_PUTBACK)
    cpu.core.lru_putback(zone, pages, isolated)
    spin_unlock_irqrestore(cpu, lru_lock(zone), flags)
