"""The page allocator: buddy lists, per-CPU page lists, the slow path (Linux: mm/page_alloc.c, v3.2).

Invariant:     for every zone: pages on free lists + pages on pcp lists + allocated pages == managed.
Writers:       a pcp list by its CPU with interrupts off (for a dead CPU: whoever runs CPU_DEAD); free lists by
               the holder of zone->lock; a page's record by whoever has the page.
Steps:         one before zone->lock, one wherever interrupts come back, cond_resched in the slow path.
Not modelled:  NUMA, compaction (as without CONFIG_COMPACTION), cpusets, memory hot-add.

The list operations are compiled leaves (cpuemu.core), each one critical section; what decides stands here.
This file does not import smp: the slow path is handed a ``drain`` by the policy of the run.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.core import BadPage
from cpuemu.events import Event
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import report
from cpuemu.kernel.drain_witness import drain_begins, drain_ends, drained_here
from cpuemu.kernel.irqflags import local_irq_restore, local_irq_save
from cpuemu.kernel.mutex import mutex_trylock, mutex_unlock
from cpuemu.kernel.oom_kill import out_of_memory
from cpuemu.kernel.oom_moment import about_to_oom, reclaim_failed, slowpath_begins
from cpuemu.kernel.sched import cond_resched, might_sleep, wait_event, wake
from cpuemu.kernel.spinlock import spin_lock, spin_unlock
from cpuemu.kernel.vmscan import shrink_zone, try_to_free_pages
from cpuemu.layout import (
    LOCK_OOM,
    MAX_ORDER,
    Counter,
    Gfp,
    Kswapd,
    Latency,
    MachineState,
    MigrateType,
    Op,
    Task,
    TaskFlag,
    TaskState,
    Wmark,
    zone_lock,
)
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_ZONE_LOCK_REFILL = site("rmqueue_bulk:zone_lock")
P_ZONE_LOCK_RMQUEUE = site("buffered_rmqueue:zone_lock")
P_ZONE_LOCK_FREE = site("free_one_page:zone_lock")
P_ZONE_LOCK_BULK = site("free_pcppages_bulk:zone_lock")
P_OOM = site("__alloc_pages_may_oom")
P_OOM_WAIT = site("out_of_memory:schedule_timeout")
P_KSWAPD = site("kswapd_try_to_sleep")

GFP_KERNEL = Gfp.WAIT | Gfp.IO | Gfp.FS
PAGE_ALLOC_COSTLY_ORDER = 3
TICK_NS = 4_000_000
NO_PAGE = -1


class Alloc(enum.IntFlag):
    """alloc_flags: which watermark, and how deep below it (mm/internal.h)."""

    NONE = 0
    HIGH = 1
    HARDER = 2
    NO_WATERMARKS = 4


# --- allocation --------------------------------------------------------------------------------------------


def alloc_pages(cpu: Cpu, gfp: int, order: int, migratetype: int) -> int:
    """Allocate 2**order pages; the first page frame, or NO_PAGE.

    Context: interrupts on; may sleep if ``gfp`` has WAIT.  A failed allocation is a value, not an error.
    """
    started = cpu.now()
    if gfp & Gfp.WAIT:
        might_sleep(cpu)
    classzone = gfp_zone(cpu, gfp)
    pfn = NO_PAGE
    if order < MAX_ORDER:
        pfn = get_page_from_freelist(cpu, gfp, order, migratetype, classzone, Wmark.LOW, Alloc.NONE)
        if pfn == NO_PAGE:
            slowpath_begins(cpu)
            pfn = _alloc_pages_slowpath(cpu, gfp, order, migratetype, classzone)
            cpu.core.latency(Latency.ALLOC_SLOWPATH, cpu.now() - started)
    if pfn == NO_PAGE:
        cpu.core.alloc_failed(order, migratetype, gfp)
    cpu.core.latency(Latency.ALLOC, cpu.now() - started)
    return pfn


def gfp_zone(cpu: Cpu, gfp: int) -> int:
    """The highest zone that a request may use."""
    limit = "DMA" if gfp & Gfp.DMA else "DMA32" if gfp & Gfp.DMA32 else ""
    highest = cpu.machine.dims.zones - 1
    if limit:
        for zone in cpu.machine.zones:
            if zone.name == limit:
                return zone.index
        return 0
    return highest


def get_page_from_freelist(cpu: Cpu, gfp: int, order: int, migratetype: int, classzone: int, mark: Wmark,
                           flags: Alloc) -> int:
    """Walk the zonelist, highest zone first, for one whose watermark allows the request."""
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
    spin_lock(cpu, zone_lock(zone), P_ZONE_LOCK_REFILL)
    cpu.core.rmqueue_bulk(zone, migratetype, cpu.machine.pcp(cpu.number, zone).batch, cold)
    spin_unlock(cpu, zone_lock(zone))


def _alloc_pages_slowpath(cpu: Cpu, gfp: int, order: int, migratetype: int, classzone: int) -> int:
    """v3.2's order of steps (kernel-verified: the numbers are those of its list)."""
    task = cpu.current
    request = (gfp, order, migratetype, classzone)
    while True:  # restart:
        if not gfp & Gfp.NO_KSWAPD:
            wakeup_kswapd(cpu, order, gfp)
        flags = gfp_to_alloc_flags(cpu, gfp)
        while True:  # rebalance:
            pfn = get_page_from_freelist(cpu, *request, Wmark.MIN, flags & ~Alloc.NO_WATERMARKS)
            if pfn != NO_PAGE:
                return pfn
            if flags & Alloc.NO_WATERMARKS:
                pfn = get_page_from_freelist(cpu, *request, Wmark.MIN, Alloc.NO_WATERMARKS)
                if pfn != NO_PAGE:
                    return pfn
            if not gfp & Gfp.WAIT or task.flags & TaskFlag.MEMALLOC:
                return NO_PAGE
            if task.flags & TaskFlag.MEMDIE and not gfp & Gfp.NOFAIL:
                return NO_PAGE
            pfn, progress = _alloc_pages_direct_reclaim(cpu, *request, flags)
            if pfn != NO_PAGE:
                return pfn
            if not progress and gfp & Gfp.FS and not gfp & Gfp.NORETRY:
                pfn, again = _alloc_pages_may_oom(cpu, *request, flags)
                if pfn != NO_PAGE or not again:
                    return pfn
                break  # goto restart
            if not should_alloc_retry(gfp, order, progress) or _workload_ends(cpu):
                return NO_PAGE
            cond_resched(cpu)  # wait_iff_congested: no device is congested here
            flags = gfp_to_alloc_flags(cpu, gfp)


def gfp_to_alloc_flags(cpu: Cpu, gfp: int) -> Alloc:
    flags = Alloc.HIGH if gfp & Gfp.HIGH else Alloc.NONE
    if not gfp & Gfp.WAIT:
        flags |= Alloc.HARDER
    if cpu.current.flags & (TaskFlag.MEMALLOC | TaskFlag.MEMDIE) and not gfp & Gfp.NOMEMALLOC:
        flags |= Alloc.NO_WATERMARKS
    return flags


def should_alloc_retry(gfp: int, order: int, reclaimed: int) -> bool:
    """For order <= 3 always, in v3.2: the loop ends by success, OOM, or no progress."""
    if gfp & Gfp.NORETRY:
        return False
    if order <= PAGE_ALLOC_COSTLY_ORDER:
        return bool(reclaimed) or not gfp & Gfp.NO_OOM
    return bool(gfp & Gfp.NOFAIL) or bool(gfp & Gfp.REPEAT and reclaimed < 1 << order)


def _alloc_pages_direct_reclaim(cpu: Cpu, gfp: int, order: int, migratetype: int, classzone: int,
                                flags: Alloc) -> tuple[int, int]:
    """Reclaim; if it made progress and the allocation still fails, drain all CPUs' lists and try once more.

    Without progress there is no drain: OOM follows.  This is the drain of the 2012 discussion.
    """
    core, task = cpu.core, cpu.current
    cond_resched(cpu)
    cpu.ram.set_bits(task.addr(Task.flags), TaskFlag.MEMALLOC)
    core.count(Counter.DIRECT_RECLAIM)
    core.trace(Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, order, gfp)
    pages = try_to_free_pages(cpu, classzone)
    for pfn in pages:
        free_pages(cpu, pfn, 0, cold=True)
    core.trace(Event.MM_VMSCAN_DIRECT_RECLAIM_END, len(pages))
    cpu.ram.clear_bits(task.addr(Task.flags), TaskFlag.MEMALLOC)
    cond_resched(cpu)
    if not pages:
        reclaim_failed(cpu)
        return NO_PAGE, 0
    request = (gfp, order, migratetype, classzone, Wmark.MIN, flags & ~Alloc.NO_WATERMARKS)
    pfn = get_page_from_freelist(cpu, *request)
    if pfn == NO_PAGE:
        drain_from_reclaim(cpu, order)
        pfn = get_page_from_freelist(cpu, *request)
    return pfn, len(pages)


def drain_from_reclaim(cpu: Cpu, order: int) -> None:
    """The policy's answer to "reclaim made progress and the allocation still failed"."""
    if cpu.drain is not None:
        cpu.drain(cpu, order)


def drain_all_pages(cpu: Cpu, reach: Callable[[], None]) -> None:
    """Drain the lists of other CPUs too.  ``reach``: how they are reached, which only a policy knows."""
    drain_begins(cpu)
    reach()
    drain_ends(cpu)


def _alloc_pages_may_oom(cpu: Cpu, gfp: int, order: int, migratetype: int, classzone: int,
                         flags: Alloc) -> tuple[int, bool]:
    """The last attempt, at the high mark, then the OOM killer.  Returns the page, and whether to start again."""
    if gfp & Gfp.NO_OOM:
        cpu.core.count(Counter.REPLAY_OOM)
        return NO_PAGE, False
    if _workload_ends(cpu):
        return NO_PAGE, False
    if not mutex_trylock(cpu, LOCK_OOM, P_OOM):
        wait_event(cpu, P_OOM_WAIT, deadline_ns=cpu.now() + TICK_NS)
        return NO_PAGE, True
    try:
        pfn = get_page_from_freelist(cpu, gfp, order, migratetype, classzone, Wmark.HIGH, Alloc.NONE)
        if pfn != NO_PAGE:
            return pfn, False
        if order > PAGE_ALLOC_COSTLY_ORDER and not gfp & Gfp.NOFAIL:
            return NO_PAGE, False
        about_to_oom(cpu, order, classzone, flags)
        out_of_memory(cpu)
    finally:
        mutex_unlock(cpu, LOCK_OOM)
    if not cpu.current.flags & TaskFlag.MEMDIE:
        wait_event(cpu, P_OOM_WAIT, deadline_ns=cpu.now() + TICK_NS)  # let the victim go first
    return NO_PAGE, True


def _workload_ends(cpu: Cpu) -> bool:
    """A machine that is being switched off does not kill tasks: what fails now, fails."""
    return cpu.header.state != MachineState.RUNNING


# --- freeing -----------------------------------------------------------------------------------------------


def free_pages(cpu: Cpu, pfn: int, order: int, cold: bool = False) -> None:
    """Give 2**order pages back.  Context: any; a page that is not allocated ends the machine (bad page)."""
    try:
        migratetype = cpu.core.free_prepare(pfn, order)
    except BadPage as bad:
        report(cpu, oracles.BAD_PAGE, f"BUG: Bad page state: {bad}")
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
        if cpu.core.pcp_free(pfn, listed, cold) >= pcp.high:
            free_pcppages_bulk(cpu, cpu.number, zone, pcp.batch)
    local_irq_restore(cpu, flags)


def free_one_page(cpu: Cpu, zone: int, pfn: int, order: int, migratetype: int) -> None:
    """Context: interrupts off."""
    spin_lock(cpu, zone_lock(zone), P_ZONE_LOCK_FREE)
    cpu.core.free_one_page(pfn, order, migratetype)
    spin_unlock(cpu, zone_lock(zone))


def free_pcppages_bulk(cpu: Cpu, owner: int, zone: int, count: int) -> None:
    """``count`` pages of ``owner``'s lists to the buddy lists.  Context: interrupts off; owner is us or dead."""
    spin_lock(cpu, zone_lock(zone), P_ZONE_LOCK_BULK)
    cpu.core.free_pcppages_bulk(owner, zone, count)
    spin_unlock(cpu, zone_lock(zone))


# --- draining ----------------------------------------------------------------------------------------------


def drain_pages(cpu: Cpu, number: int) -> int:
    """Empty all lists of CPU ``number``: this CPU, or a dead one (then only local interrupts are off); how many."""
    drained = 0
    for zone in range(cpu.machine.dims.zones):
        flags = local_irq_save(cpu)
        count = cpu.machine.pcp(number, zone).count
        if count:
            free_pcppages_bulk(cpu, number, zone, count)
            drained += count
        local_irq_restore(cpu, flags)
    return drained


def pcp_has_pages(cpu: Cpu, number: int) -> bool:
    """Whether any list of a CPU holds a page: a look from outside, true when it is taken."""
    return any(cpu.machine.pcp(number, zone).count for zone in range(cpu.machine.dims.zones))


def drain_local_pages(cpu: Cpu, info: int = 0) -> None:
    """What the drain interrupt runs.  Context: preemption off, or in interrupt."""
    drained_here(cpu, drain_pages(cpu, cpu.number))


def page_alloc_cpu_dead(cpu: Cpu, dead: int) -> None:
    """CPU_DEAD: the dead CPU's pages and its share of the counters (v3.2: page_alloc_cpu_notify)."""
    drain_pages(cpu, dead)
    cpu.core.fold_zone_diffs(dead)


# --- kswapd ------------------------------------------------------------------------------------------------


def wakeup_kswapd(cpu: Cpu, order: int, gfp: int) -> None:
    """Ask the node's daemon for pages; one request at a time is enough."""
    kswapd = cpu.machine.kswapd
    if kswapd.wake != kswapd.seen:
        return
    cpu.core.trace(Event.MM_VMSCAN_WAKEUP_KSWAPD, 0, order, gfp)
    cpu.core.count(Counter.KSWAPD_WAKE)
    kswapd.order = order
    cpu.ram.add(kswapd.addr(Kswapd.wake), 1)
    wake(cpu, kswapd.addr(Kswapd.wake))


def kswapd_thread(cpu: Cpu, arg: int) -> None:
    """kswapd0: until every zone is above its high watermark, or nothing more can be reclaimed."""
    kswapd = cpu.machine.kswapd
    while True:
        wait_event(cpu, P_KSWAPD, Term(kswapd.addr(Kswapd.wake), Op.NE, kswapd.seen), state=TaskState.INTERRUPTIBLE)
        request = kswapd.wake
        balance_pgdat(cpu)
        kswapd.seen = request


def balance_pgdat(cpu: Cpu) -> None:
    """Reclaim in every zone below its high watermark, harder each round; v3.2 uses the exact free count here."""
    for priority in range(12, -1, -1):
        balanced = True
        for zone in cpu.machine.zones:
            if cpu.core.zone_page_state_snapshot(zone.index) > zone.wmark[Wmark.HIGH]:
                continue
            balanced = False
            for pfn in shrink_zone(cpu, zone.index, priority, 32):
                free_pages(cpu, pfn, 0, cold=True)
            cond_resched(cpu)
        if balanced or cpu.header.state != MachineState.RUNNING:
            return

