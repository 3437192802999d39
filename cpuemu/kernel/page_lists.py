"""The allocator's lists: buddy blocks and per-CPU pages, taken and given back (Linux: mm/page_alloc.c, v3.2).

Invariant:     for every zone: pages on free lists + pages on pcp lists + allocated pages == managed.
Writers:       a pcp list by its CPU with interrupts off (for a dead CPU: whoever runs CPU_DEAD); free lists by
               the holder of zone->lock; a page's record by whoever has the page; high and batch, of all CPUs and
               without a lock, by whoever writes percpu_pagelist_fraction.
Steps:         one before zone->lock, one before each look at high and batch, one wherever interrupts come back.
Not modelled:  NUMA, cpusets, memory hot-add.

v3.2 reads batch once to give pages back and once more to lower the count (zoo 24), and it gives back as many as it was
asked for, without a look at how many there are (zoo 25): nothing else than that sysctl shows either.

The list operations are compiled leaves (cpuemu.core), each one critical section.  What a request may do to get its
pages is decided in page_alloc.py; reclaim and compaction, which it calls, take and give pages here too.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.core import BadPage
from cpuemu.kernel.bug import bad_page
from cpuemu.kernel.drain_witness import drained_here
from cpuemu.kernel.irqflags import local_irq_restore, local_irq_save
from cpuemu.kernel.spinlock import spin_lock, spin_unlock
from cpuemu.layout import PAGE_SHIFT, Gfp, MigrateType, Op, Page, Pcp, Wmark, pcp_head, zone_lock
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_ZONE_LOCK_REFILL = site("rmqueue_bulk:zone_lock")
P_ZONE_LOCK_RMQUEUE = site("buffered_rmqueue:zone_lock")
P_ZONE_LOCK_FREE = site("free_one_page:zone_lock")
P_ZONE_LOCK_BULK = site("free_pcppages_bulk:zone_lock")
P_EMPTY_LISTS = site("free_pcppages_bulk:list_empty")
P_REFILL_BATCH = site("rmqueue_bulk:batch")
P_FREE_HIGH = site("free_hot_cold_page:high")
P_FREE_BATCH = site("free_hot_cold_page:batch")
P_FREE_COUNT = site("free_hot_cold_page:count")
P_HIGHMARK = site("setup_pagelist_highmark:high")
P_HIGHMARK_BATCH = site("setup_pagelist_highmark:batch")

NO_PAGE = -1
MIN_PERCPU_PAGELIST_FRACTION = 8


class Alloc(enum.IntFlag):
    """alloc_flags: how deep below the watermark, or without it (mm/internal.h)."""

    NONE = 0
    HIGH = 1
    HARDER = 2
    NO_WATERMARKS = 4


class Request(NamedTuple):
    """What an allocation asks for; ``classzone``: the highest zone that it may use."""

    gfp: int
    order: int
    migratetype: int
    classzone: int


# --- taking ------------------------------------------------------------------------------------------------


def get_page_from_freelist(cpu: Cpu, request: Request, mark: Wmark, flags: Alloc = Alloc.NONE) -> int:
    """Walk the zonelist, highest zone first, for one whose watermark allows the request."""
    gfp, order, migratetype, classzone = request
    for zone in range(classzone, -1, -1):
        if not flags & Alloc.NO_WATERMARKS:
            level = cpu.machine.zones[zone].wmark[mark]
            if not cpu.core.zone_watermark_ok(zone, order, level, classzone, int(flags)):
                continue
        pfn = buffered_rmqueue(cpu, zone, gfp, order, migratetype)
        if pfn != NO_PAGE:
            return pfn
    return NO_PAGE


def buffered_rmqueue(cpu: Cpu, zone: int, gfp: int, order: int, migratetype: int) -> int:
    """Order 0 from this CPU's list, refilled if it is empty; higher orders from the buddy lists."""
    core = cpu.core
    flags = local_irq_save(cpu)
    if order == 0:
        cold = bool(gfp & Gfp.COLD)
        pfn = core.pcp_alloc(zone, migratetype, cold)
        if pfn == NO_PAGE:
            rmqueue_bulk(cpu, zone, migratetype, cold)
            pfn = core.pcp_alloc(zone, migratetype, cold)
    else:
        spin_lock(cpu, zone_lock(zone), P_ZONE_LOCK_RMQUEUE)
        pfn = core.rmqueue(zone, order, migratetype)
        spin_unlock(cpu, zone_lock(zone))
    if pfn != NO_PAGE:
        # Inside the section: an interrupt must not find a page that is on no list and nobody's.
        core.prep_new_page(pfn, order, migratetype, gfp, cpu.me.current)
    local_irq_restore(cpu, flags)
    return pfn


def rmqueue_bulk(cpu: Cpu, zone: int, migratetype: int, cold: bool) -> None:
    """Refill this CPU's list with a batch.  Context: interrupts off."""
    pcp = cpu.machine.pcp(cpu.number, zone)
    cpu.point(P_REFILL_BATCH, pcp.addr(Pcp.batch), Kind.READ)
    batch = pcp.batch
    spin_lock(cpu, zone_lock(zone), P_ZONE_LOCK_REFILL)
    cpu.core.rmqueue_bulk(zone, migratetype, batch, cold)
    spin_unlock(cpu, zone_lock(zone))


# --- freeing -----------------------------------------------------------------------------------------------


def free_pages(cpu: Cpu, pfn: int, order: int, cold: bool = False) -> None:
    """Give 2**order pages back.  Context: any; a page that is not allocated ends the machine (bad page)."""
    try:
        migratetype = cpu.core.free_prepare(pfn, order)
    except BadPage as bad:
        bad_page(cpu, bad)
        return
    if order == 0:
        free_hot_cold_page(cpu, pfn, migratetype, cold)
        return
    zone = cpu.machine.mem_map[pfn].zone
    flags = local_irq_save(cpu)
    free_one_page(cpu, zone, pfn, order, migratetype)
    local_irq_restore(cpu, flags)


def free_hot_cold_page(cpu: Cpu, pfn: int, migratetype: int, cold: bool) -> None:
    """To this CPU's list; a batch goes to the buddy lists when the count reaches ``high``."""
    zone = cpu.machine.mem_map[pfn].zone
    flags = local_irq_save(cpu)
    if migratetype == MigrateType.ISOLATE:
        free_one_page(cpu, zone, pfn, 0, migratetype)
    else:
        listed = migratetype if migratetype < MigrateType.PCPTYPES else MigrateType.MOVABLE
        pcp = cpu.machine.pcp(cpu.number, zone)
        count = cpu.core.pcp_free(pfn, listed, cold)
        cpu.point(P_FREE_HIGH, pcp.addr(Pcp.high), Kind.READ)
        if count >= pcp.high:
            cpu.point(P_FREE_BATCH, pcp.addr(Pcp.batch), Kind.READ)
            free_pcppages_bulk(cpu, cpu.number, zone, pcp.batch)
            cpu.point(P_FREE_COUNT, pcp.addr(Pcp.batch), Kind.READ)
            pcp.count -= pcp.batch
    local_irq_restore(cpu, flags)


def free_one_page(cpu: Cpu, zone: int, pfn: int, order: int, migratetype: int) -> None:
    """Context: interrupts off."""
    spin_lock(cpu, zone_lock(zone), P_ZONE_LOCK_FREE)
    cpu.core.free_one_page(pfn, order, migratetype)
    spin_unlock(cpu, zone_lock(zone))


def free_pcppages_bulk(cpu: Cpu, owner: int, zone: int, count: int) -> None:
    """``count`` pages of ``owner``'s lists to the buddy lists.  Context: interrupts off; owner is us or dead.

    The caller lowers the lists' count.  Asked for more than there are, v3.2 goes round the empty lists until there are:
    it holds the zone's lock, and who could put a page there has its interrupts off, here.
    """
    spin_lock(cpu, zone_lock(zone), P_ZONE_LOCK_BULK)
    while count := count - cpu.core.free_pcppages_bulk(owner, zone, count):
        empty, *others = (_not_empty(cpu, owner, zone, kind) for kind in range(MigrateType.PCPTYPES))
        cpu.wait_until(empty.word, empty.op, empty.value, P_EMPTY_LISTS, *others)
    spin_unlock(cpu, zone_lock(zone))


def _not_empty(cpu: Cpu, owner: int, zone: int, migratetype: int) -> Term:
    head = cpu.machine.dims.pages + pcp_head(owner, zone, migratetype, cpu.machine.dims.zones)
    return Term(cpu.machine.mem_map[head].addr(Page.next), Op.NE, head)


# --- draining ----------------------------------------------------------------------------------------------


def drain_pages(cpu: Cpu, number: int) -> int:
    """Empty all lists of CPU ``number``: this CPU, or a dead one (then only local interrupts are off); how many."""
    drained = 0
    for zone in range(cpu.machine.dims.zones):
        flags = local_irq_save(cpu)
        pcp = cpu.machine.pcp(number, zone)
        if count := pcp.count:
            free_pcppages_bulk(cpu, number, zone, count)
            pcp.count = 0
            drained += count
        local_irq_restore(cpu, flags)
    return drained


def pcp_has_pages(cpu: Cpu, number: int) -> bool:
    """Whether any list of a CPU holds a page: a look from outside, true when it is taken."""
    return any(cpu.machine.pcp(number, zone).count for zone in range(cpu.machine.dims.zones))


def drain_local_pages(cpu: Cpu, info: int = 0) -> None:
    """What the drain interrupt runs.  Context: preemption off, or in interrupt."""
    drained_here(cpu, drain_pages(cpu, cpu.number))


# --- the sizes of the lists --------------------------------------------------------------------------------


def percpu_pagelist_fraction_sysctl_handler(cpu: Cpu, fraction: int) -> int:
    """Every CPU's lists may hold this fraction of each zone.  0, or -EINVAL for more than an eighth."""
    if fraction < MIN_PERCPU_PAGELIST_FRACTION:
        return -22
    for zone in cpu.machine.zones:
        for number in range(cpu.machine.dims.cpus):
            setup_pagelist_highmark(cpu, cpu.machine.pcp(number, zone.index), zone.present // fraction)
    return 0


def setup_pagelist_highmark(cpu: Cpu, pcp: Pcp, high: int) -> None:
    """``high``, and a quarter of it as batch, at most 96: while the lists' CPU goes on as it did."""
    cpu.point(P_HIGHMARK, pcp.addr(Pcp.high), Kind.WRITE)
    pcp.high = high
    cpu.point(P_HIGHMARK_BATCH, pcp.addr(Pcp.batch), Kind.WRITE)
    pcp.batch = max(1, high // 4)
    if high // 4 > PAGE_SHIFT * 8:
        cpu.point(P_HIGHMARK_BATCH, pcp.addr(Pcp.batch), Kind.WRITE)
        pcp.batch = PAGE_SHIFT * 8
