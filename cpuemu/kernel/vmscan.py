"""Page reclaim over a model of the page cache (Linux: mm/vmscan.c, v3.2).

Invariant:     a page on an inactive file list is ALLOCATED by OWNER_FILE; ``nr_file`` is the list's length; a page
               that reclaim has in hand is OWNER_ISOLATED and counted in ``nr_isolated``.
Writers:       the list and both counts by the holder of the zone's lru_lock; ``pages_scanned`` grows under it.
Steps:         one before lru_lock; cond_resched between rounds; a point after point while a scan costs time.
Not modelled:  anonymous pages and swap, the active list, slab, writeback and its throttling, memory cgroups.  What
               becomes of a scanned page is drawn: the machine says what share goes, the rest is rotated to the head.
               No device is congested: wait_iff_congested is cond_resched, congestion_wait sleeps its time.

Direct reclaim stands here, and what it has in common with kswapd (kswapd.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpuemu.kernel.compaction import (
    CONGESTION_NS,
    Compact,
    compaction_deferred,
    compaction_suitable,
    fatal_signal_pending,
)
from cpuemu.kernel.page_lists import Request, free_pages
from cpuemu.kernel.sched import cond_resched, wait_event
from cpuemu.kernel.spinlock import spin_lock_irqsave, spin_unlock_irqrestore
from cpuemu.layout import Counter, Gfp, Zone, lru_lock
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_LRU_LOCK = site("shrink_inactive_list:lru_lock")
P_PUTBACK = site("putback_lru_pages:lru_lock")
P_SCAN = site("shrink_page_list")
P_CONGESTION = site("shrink_inactive_list:congestion_wait")

SWAP_CLUSTER_MAX = 32
DEF_PRIORITY = 12
COSTLY_ORDER = 3
MILLION = 1_000_000
NO_LIMIT = 1 << 62


@dataclass
class ScanControl:
    """struct scan_control: what a reclaim is for, and how far it has come."""

    gfp: int
    order: int
    nr_to_reclaim: int = SWAP_CLUSTER_MAX
    kswapd: bool = False
    nr_scanned: int = 0
    nr_reclaimed: int = 0


# --- direct reclaim ----------------------------------------------------------------------------------------


def try_to_free_pages(cpu: Cpu, request: Request) -> int:
    """Direct reclaim: from priority 12 down until SWAP_CLUSTER_MAX pages are freed; all zones each time.

    Pages freed; 1 when none was and it is not hopeless: some zone is not given up, or compaction can go on; else 0.
    """
    control = ScanControl(request.gfp, request.order)
    for priority in range(DEF_PRIORITY, -1, -1):
        control.nr_scanned = 0
        if shrink_zones(cpu, request.classzone, priority, control):
            break
        if control.nr_reclaimed >= control.nr_to_reclaim:
            break
        if control.nr_scanned and priority < DEF_PRIORITY - 2:
            cond_resched(cpu)  # wait_iff_congested
    cpu.core.count(Counter.RECLAIMED, control.nr_reclaimed)
    if control.nr_reclaimed:
        return control.nr_reclaimed
    return int(not all_unreclaimable(cpu, request.classzone))


def shrink_zones(cpu: Cpu, classzone: int, priority: int, control: ScanControl) -> bool:
    """Every zone that the request may use; True: enough is free for compaction to try, stop reclaiming."""
    abort = False
    for zone in range(classzone, -1, -1):
        if cpu.machine.zones[zone].all_unreclaimable and priority != DEF_PRIORITY:
            continue  # kswapd looks after it
        if control.order > COSTLY_ORDER and (compaction_suitable(cpu, zone, control.order)
                                             or compaction_deferred(cpu, zone, control.order)):
            abort = True
            continue
        shrink_zone(cpu, zone, priority, control)
    return abort


def zone_reclaimable_pages(words: Zone) -> int:
    return max(0, words.nr_file)


def zone_reclaimable(words: Zone) -> bool:
    """Whether it is worth going on: given up after six times its reclaimable pages were scanned and none was freed."""
    return words.pages_scanned < 6 * zone_reclaimable_pages(words)


def all_unreclaimable(cpu: Cpu, classzone: int) -> bool:
    return all(cpu.machine.zones[zone].all_unreclaimable for zone in range(classzone + 1))


# --- one zone ----------------------------------------------------------------------------------------------


def shrink_zone(cpu: Cpu, zone: int, priority: int, control: ScanControl) -> None:
    """Scan as much of the inactive list as the priority allows, cluster by cluster; again while compaction wants more.
    """
    while True:
        reclaimed, scanned = 0, control.nr_scanned
        left = get_scan_count(cpu, zone, priority, control)
        while left:
            count = min(left, SWAP_CLUSTER_MAX)
            left -= count
            reclaimed += shrink_inactive_list(cpu, zone, count, control)
            if reclaimed >= control.nr_to_reclaim and priority < DEF_PRIORITY:
                break
        control.nr_reclaimed += reclaimed
        if not should_continue_reclaim(cpu, zone, priority, reclaimed, control.nr_scanned - scanned, control):
            return
        cond_resched(cpu)


def get_scan_count(cpu: Cpu, zone: int, priority: int, control: ScanControl) -> int:
    """Pages to scan: the list's length, halved for each step of the priority; kswapd scans some of any zone."""
    scan = zone_reclaimable_pages(cpu.machine.zones[zone]) >> priority
    return scan or (SWAP_CLUSTER_MAX if control.kswapd else 0)


def should_continue_reclaim(cpu: Cpu, zone: int, priority: int, reclaimed: int, scanned: int,
                            control: ScanControl) -> bool:
    """Reclaim for compaction goes on until twice the block is free, or compaction could start."""
    if not control.order or (control.order <= COSTLY_ORDER and priority >= DEF_PRIORITY - 2):
        return False
    if not reclaimed and not (control.gfp & Gfp.REPEAT and scanned):
        return False
    enough = 2 << control.order
    if control.nr_reclaimed < enough < zone_reclaimable_pages(cpu.machine.zones[zone]):
        return True
    return compaction_suitable(cpu, zone, control.order) == Compact.SKIPPED


def too_many_isolated(words: Zone, control: ScanControl) -> bool:
    """Whether direct reclaimers have more in hand than the list has left: the next one waits."""
    return not control.kswapd and words.nr_isolated > zone_reclaimable_pages(words)


def shrink_inactive_list(cpu: Cpu, zone: int, count: int, control: ScanControl) -> int:
    """Scan up to ``count`` pages from the list's tail; how many were freed.  The rest goes to its head."""
    while too_many_isolated(cpu.machine.zones[zone], control):
        wait_event(cpu, P_CONGESTION, deadline_ns=cpu.now() + CONGESTION_NS)
        if fatal_signal_pending(cpu):
            return SWAP_CLUSTER_MAX  # it is about to die: let it pass
    flags = spin_lock_irqsave(cpu, lru_lock(zone), P_LRU_LOCK)
    isolated = cpu.core.lru_isolate(zone, count)
    spin_unlock_irqrestore(cpu, lru_lock(zone), flags)
    control.nr_scanned += len(isolated)
    cpu.core.count(Counter.PAGES_SCANNED, len(isolated))
    if not isolated:
        return 0
    cost_of_scan(cpu, len(isolated))
    kept = [pfn for pfn in isolated if rotates(cpu)] if cpu.header.reclaim_rotate else []
    for pfn in isolated if not kept else sorted(set(isolated) - set(kept)):
        free_pages(cpu, pfn, 0, cold=True)
    flags = spin_lock_irqsave(cpu, lru_lock(zone), P_PUTBACK)
    cpu.core.lru_putback(zone, kept, len(isolated))
    spin_unlock_irqrestore(cpu, lru_lock(zone), flags)
    return len(isolated) - len(kept)


# --- the model of a scanned page ---------------------------------------------------------------------------


def cost_of_scan(cpu: Cpu, pages: int) -> None:
    """The CPU is busy for as long as these pages take; interrupts and preemption come as they may."""
    cost = cpu.header.reclaim_cost_us * 1000 * pages // SWAP_CLUSTER_MAX
    end = cpu.now() + cost if cost else 0
    while cpu.now() < end:
        cpu.point(P_SCAN)


def rotates(cpu: Cpu) -> bool:
    """Whether a scanned page stays: drawn from the task's own stream, which its program does not see."""
    task = cpu.current
    x = task.reclaim_rng or _seed(cpu.header.seed, task.index)
    x ^= x >> 12
    x = (x ^ x << 25) & 0xFFFF_FFFF_FFFF_FFFF
    x ^= x >> 27
    task.reclaim_rng = x
    return (x * 0x2545_F491_4F6C_DD1D >> 16 & 0xFFFF_FFFF_FFFF) % MILLION < cpu.header.reclaim_rotate


def _seed(seed: int, task: int) -> int:
    value = (seed * 1_000_003 + task + 0x9E37_79B9_7F4A_7C15) * 0xBF58_476D_1CE4_E5B9 & 0xFFFF_FFFF_FFFF_FFFF
    return value ^ value >> 31 or 1


def add_to_page_cache_lru(cpu: Cpu, pfn: int) -> None:
    """A page read from a file goes to the head of its zone's inactive list."""
    zone = cpu.machine.mem_map[pfn].zone
    flags = spin_lock_irqsave(cpu, lru_lock(zone), P_LRU_LOCK)
    cpu.core.lru_add(pfn)
    spin_unlock_irqrestore(cpu, lru_lock(zone), flags)
