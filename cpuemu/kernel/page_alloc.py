"""The page allocator: what a request may do to get its pages (Linux: mm/page_alloc.c, v3.2).

Invariant:     a request leaves with its pages, or without; what it did on the way is traced and counted.
Writers:       PF_MEMALLOC by the task; the rest is the writers' of page_lists, vmscan and kswapd.
Steps:         cond_resched in the slow path, the OOM killer's lock; those of the functions called.
Not modelled:  NUMA, cpusets, congestion (no device is ever congested), real-time tasks; the timer tick and the
               interrupts that allocate: what they do for a task that loops, end its slice and wake kswapd again, is
               done once a tick by the loop itself.

This file does not import smp: the slow path is handed a ``drain`` by the policy of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cpuemu.events import Event
from cpuemu.faults import Fault
from cpuemu.kernel.compaction import (
    Compact,
    compaction_deferred,
    compaction_succeeded,
    defer_compaction,
    try_to_compact_pages,
)
from cpuemu.kernel.drain_witness import drain_begins, drain_ends, reclaim_begins
from cpuemu.kernel.irqflags import preempt_disable, preempt_enable
from cpuemu.kernel.kswapd import wake_all_kswapd
from cpuemu.kernel.mutex import mutex_trylock, mutex_unlock
from cpuemu.kernel.oom_kill import out_of_memory
from cpuemu.kernel.oom_moment import about_to_oom, reclaim_failed, slowpath_begins
from cpuemu.kernel.page_lists import NO_PAGE, Alloc, Request, drain_pages, get_page_from_freelist
from cpuemu.kernel.sched import cond_resched, might_sleep, wait_event
from cpuemu.kernel.vmscan import try_to_free_pages
from cpuemu.layout import (
    LOCK_OOM,
    MAX_ORDER,
    Counter,
    Gfp,
    Latency,
    MachineState,
    Task,
    TaskFlag,
    Wmark,
)
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_OOM = site("__alloc_pages_may_oom")
P_OOM_WAIT = site("__alloc_pages_may_oom:schedule_timeout")

GFP_KERNEL = Gfp.WAIT | Gfp.IO | Gfp.FS
PAGE_ALLOC_COSTLY_ORDER = 3
MAX_RECLAIM_RETRIES = 16
TICK_NS = 4_000_000


# --- a request ---------------------------------------------------------------------------------------------


def alloc_pages(cpu: Cpu, gfp: int, order: int, migratetype: int) -> int:
    """Allocate 2**order pages; the first page frame, or NO_PAGE (v3.2: __alloc_pages_nodemask).

    Context: interrupts on; may sleep if ``gfp`` has WAIT.  A failed allocation is a value, not an error.
    """
    started = cpu.now()
    if gfp & Gfp.WAIT:
        might_sleep(cpu)
    request = Request(gfp, order, migratetype, gfp_zone(cpu, gfp))
    pfn = NO_PAGE
    if order < MAX_ORDER and not should_fail_alloc_page(cpu, gfp, order):
        pfn = get_page_from_freelist(cpu, request, Wmark.LOW)
        if pfn == NO_PAGE:
            slowpath_begins(cpu)
            pfn = _alloc_pages_slowpath(cpu, request)
            cpu.core.latency(Latency.ALLOC_SLOWPATH, cpu.now() - started)
    if pfn == NO_PAGE:
        cpu.core.alloc_failed(order, migratetype, gfp)
    cpu.core.latency(Latency.ALLOC, cpu.now() - started)
    return pfn


def should_fail_alloc_page(cpu: Cpu, gfp: int, order: int) -> bool:
    """fail_page_alloc: whether this one fails on purpose (``--fault alloc-failure``)."""
    return cpu.faults is not None and not gfp & Gfp.NOFAIL and cpu.faults.strike(
        Fault.ALLOC_FAILURE, cpu.number, order)


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


def lowmem(gfp: int) -> bool:
    """Whether a request asks for a zone below Normal: the OOM killer is not for these."""
    return bool(gfp & (Gfp.DMA | Gfp.DMA32))


# --- the slow path -----------------------------------------------------------------------------------------


def _alloc_pages_slowpath(cpu: Cpu, request: Request) -> int:
    """v3.2's order of steps, from the wake-up of kswapd to the failure.

    For order <= 3 the loop ends only by success, by the OOM killer's choice of this task, or without __GFP_FS never.
    """
    gfp, order, _, classzone = request
    reclaimed = stuck = 0
    sync, tick_ns = False, cpu.now() + TICK_NS
    while True:  # restart:
        if not gfp & Gfp.NO_KSWAPD:
            wake_all_kswapd(cpu, order, gfp, classzone)
        flags = gfp_to_alloc_flags(cpu, gfp)
        while True:  # rebalance:
            pfn = get_page_from_freelist(cpu, request, Wmark.MIN, flags & ~Alloc.NO_WATERMARKS)
            if pfn == NO_PAGE and flags & Alloc.NO_WATERMARKS:
                pfn = _alloc_pages_high_priority(cpu, request)
            if pfn != NO_PAGE or not may_reclaim(cpu, gfp):
                return pfn
            pfn = _alloc_pages_direct_compact(cpu, request, flags, sync)
            if pfn != NO_PAGE:
                return pfn
            sync = True
            pfn, progress = _alloc_pages_direct_reclaim(cpu, request, flags)
            if pfn != NO_PAGE:
                return pfn
            if not progress and gfp & Gfp.FS and not gfp & Gfp.NORETRY:
                pfn = _alloc_pages_may_oom(cpu, request, flags)
                if pfn != NO_PAGE or not restart_after_oom(cpu, gfp, order):
                    return pfn
                break  # goto restart
            # Counted no further than anybody looks: a round that comes to nothing leaves nothing behind.
            reclaimed = min(reclaimed + progress, 1 << order)
            stuck = 0 if progress > 1 else min(stuck, MAX_RECLAIM_RETRIES) + 1
            if not should_alloc_retry(gfp, order, reclaimed, stuck) or _workload_ends(cpu):
                return _alloc_pages_direct_compact(cpu, request, flags, sync)
            tick_ns = tick(cpu, request, tick_ns)
            cond_resched(cpu)  # wait_iff_congested


def gfp_to_alloc_flags(cpu: Cpu, gfp: int) -> Alloc:
    """How deep a request may go: HIGH and HARDER below the min mark, NO_WATERMARKS for who frees memory or dies."""
    flags = Alloc.HIGH if gfp & Gfp.HIGH else Alloc.NONE
    if not gfp & Gfp.WAIT and not gfp & Gfp.NOMEMALLOC:
        flags |= Alloc.HARDER
    if cpu.current.flags & (TaskFlag.MEMALLOC | TaskFlag.MEMDIE) and not gfp & Gfp.NOMEMALLOC:
        flags |= Alloc.NO_WATERMARKS
    return flags


def _alloc_pages_high_priority(cpu: Cpu, request: Request) -> int:
    """Without watermarks; one that must not fail tries until there is a page."""
    while True:
        pfn = get_page_from_freelist(cpu, request, Wmark.MIN, Alloc.NO_WATERMARKS)
        if pfn != NO_PAGE or not request.gfp & Gfp.NOFAIL or _workload_ends(cpu):
            return pfn
        tick(cpu, request, 0)
        cond_resched(cpu)  # wait_iff_congested


def may_reclaim(cpu: Cpu, gfp: int) -> bool:
    """Whether a request may go on: not one that cannot sleep, that reclaims already, or of a task that is to die."""
    flags = cpu.current.flags
    if not gfp & Gfp.WAIT or flags & TaskFlag.MEMALLOC:
        return False
    return not flags & TaskFlag.MEMDIE or bool(gfp & Gfp.NOFAIL)


def should_alloc_retry(gfp: int, order: int, reclaimed: int, stuck: int = 0) -> bool:
    """For order <= 3 always, in v3.2: the loop ends by success or OOM.  ``reclaimed``: pages, all rounds together.

    A replayed allocation gives up after ``stuck`` rounds without a page, as the later kernels that were recorded do:
    who could free one may wait for it.
    """
    if gfp & Gfp.NORETRY or (gfp & Gfp.NO_OOM and stuck > MAX_RECLAIM_RETRIES):
        return False
    if order <= PAGE_ALLOC_COSTLY_ORDER:
        return True
    return bool(gfp & Gfp.NOFAIL) or bool(gfp & Gfp.REPEAT and reclaimed < 1 << order)


def tick(cpu: Cpu, request: Request, due_ns: int) -> int:
    """Once a tick, for a task that loops: its slice ends, kswapd is asked again.  When the next one is due."""
    if cpu.now() < due_ns:
        return due_ns
    if cpu.me.nr_running:
        cpu.me.need_resched = 1
    if not request.gfp & Gfp.NO_KSWAPD:
        wake_all_kswapd(cpu, request.order, request.gfp, request.classzone)
    return cpu.now() + TICK_NS


# --- direct compaction -------------------------------------------------------------------------------------


def _alloc_pages_direct_compact(cpu: Cpu, request: Request, flags: Alloc, sync: bool) -> int:
    """Compact for an order above 0, drain this CPU's list so that what moved can merge, and try once more.

    The first time async, after reclaim sync; skipped while the last ones failed.
    """
    preferred, order = request.classzone, request.order
    if not order or compaction_deferred(cpu, preferred, order):
        return NO_PAGE
    task = cpu.current
    cpu.ram.set_bits(task.addr(Task.flags), TaskFlag.MEMALLOC)
    status = try_to_compact_pages(cpu, request, sync)
    cpu.ram.clear_bits(task.addr(Task.flags), TaskFlag.MEMALLOC)
    if status == Compact.SKIPPED:
        return NO_PAGE
    preempt_disable(cpu)
    drain_pages(cpu, cpu.number)
    preempt_enable(cpu)
    pfn = get_page_from_freelist(cpu, request, Wmark.MIN, flags)
    if pfn != NO_PAGE:
        compaction_succeeded(cpu, preferred)
        cpu.core.count(Counter.COMPACT_SUCCESS)
        return pfn
    cpu.core.count(Counter.COMPACT_FAIL)
    defer_compaction(cpu, preferred, order)
    cond_resched(cpu)
    return NO_PAGE


# --- direct reclaim ----------------------------------------------------------------------------------------


def _alloc_pages_direct_reclaim(cpu: Cpu, request: Request, flags: Alloc) -> tuple[int, int]:
    """Reclaim; if it made progress and the allocation still fails, drain all CPUs' lists and try once more.

    Without progress there is no drain: OOM follows.  This is the drain of the 2012 discussion.
    """
    core, task = cpu.core, cpu.current
    cond_resched(cpu)
    cpu.ram.set_bits(task.addr(Task.flags), TaskFlag.MEMALLOC)
    reclaim_begins(cpu)
    core.trace(Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, request.order, request.gfp)
    progress = try_to_free_pages(cpu, request)
    core.trace(Event.MM_VMSCAN_DIRECT_RECLAIM_END, progress)
    cpu.ram.clear_bits(task.addr(Task.flags), TaskFlag.MEMALLOC)
    cond_resched(cpu)
    if not progress:
        reclaim_failed(cpu)
        return NO_PAGE, 0
    pfn = get_page_from_freelist(cpu, request, Wmark.MIN, flags)
    if pfn == NO_PAGE:
        drain_from_reclaim(cpu, request.order)
        pfn = get_page_from_freelist(cpu, request, Wmark.MIN, flags)
    return pfn, progress


def drain_from_reclaim(cpu: Cpu, order: int) -> None:
    """The policy's answer to "reclaim made progress and the allocation still failed"."""
    if cpu.drain is not None:
        cpu.drain(cpu, order)


def drain_all_pages(cpu: Cpu, reach: Callable[[], None]) -> None:
    """Drain the lists of other CPUs too.  ``reach``: how they are reached, which only a policy knows."""
    drain_begins(cpu)
    reach()
    drain_ends(cpu)


# --- out of memory -----------------------------------------------------------------------------------------


def _alloc_pages_may_oom(cpu: Cpu, request: Request, flags: Alloc) -> int:
    """The last attempt, at the high mark, then the OOM killer; while somebody else is at it, a tick's sleep."""
    gfp, order, _, _ = request
    if gfp & Gfp.NO_OOM:
        cpu.core.count(Counter.REPLAY_OOM)
        return NO_PAGE
    if _workload_ends(cpu):
        return NO_PAGE
    # try_set_zonelist_oom: every zonelist of one node ends in the same zone, so one lock stands for all zones' bits.
    if not mutex_trylock(cpu, LOCK_OOM, P_OOM):
        wait_event(cpu, P_OOM_WAIT, deadline_ns=cpu.now() + TICK_NS)
        return NO_PAGE
    try:
        pfn = get_page_from_freelist(cpu, request, Wmark.HIGH)
        if pfn != NO_PAGE:
            return pfn
        if gfp & Gfp.NOFAIL or not (order > PAGE_ALLOC_COSTLY_ORDER or lowmem(gfp)):
            about_to_oom(cpu, order, request.classzone, flags)
            out_of_memory(cpu)
        return NO_PAGE
    finally:
        mutex_unlock(cpu, LOCK_OOM)


def restart_after_oom(cpu: Cpu, gfp: int, order: int) -> bool:
    """What nobody was killed for fails; for the rest the slow path begins anew."""
    if gfp & Gfp.NO_OOM or _workload_ends(cpu):
        return False
    return bool(gfp & Gfp.NOFAIL) or not (order > PAGE_ALLOC_COSTLY_ORDER or lowmem(gfp))


def _workload_ends(cpu: Cpu) -> bool:
    """A machine that is being switched off does not kill tasks: what fails now, fails."""
    return cpu.header.state != MachineState.RUNNING


# --- CPU hotplug -------------------------------------------------------------------------------------------


def page_alloc_cpu_dead(cpu: Cpu, dead: int) -> None:
    """CPU_DEAD: the dead CPU's pages and its share of the counters (v3.2: page_alloc_cpu_notify)."""
    drain_pages(cpu, dead)
    cpu.core.fold_zone_diffs(dead)
