"""Page reclaim over a model of the page cache (Linux: mm/vmscan.c, v3.2).

Invariant:     a page on an inactive file list is ALLOCATED by OWNER_FILE; ``nr_file`` is the list's length.
Writers:       the list by the holder of the zone's lru_lock.
Steps:         one before lru_lock.
Not modelled:  anonymous pages and swap, the active list, references: every file page scanned is clean and goes.

Called by direct reclaim (page_alloc) and by kswapd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.kernel.page_lists import free_pages
from cpuemu.kernel.spinlock import spin_lock_irqsave, spin_unlock_irqrestore
from cpuemu.layout import Counter, lru_lock
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_LRU_LOCK = site("shrink_inactive_list:lru_lock")

SWAP_CLUSTER_MAX = 32
DEF_PRIORITY = 12


def shrink_zone(cpu: Cpu, zone: int, priority: int, wanted: int) -> int:
    """Reclaim up to ``wanted`` pages of this zone's inactive file list, as many as the priority allows."""
    scan = max(0, cpu.machine.zones[zone].nr_file) >> priority
    reclaimed = 0
    while scan > 0 and reclaimed < wanted:
        flags = spin_lock_irqsave(cpu, lru_lock(zone), P_LRU_LOCK)
        isolated = cpu.core.lru_isolate(zone, min(SWAP_CLUSTER_MAX, scan))
        spin_unlock_irqrestore(cpu, lru_lock(zone), flags)
        if not isolated:
            break
        for pfn in isolated:
            free_pages(cpu, pfn, 0, cold=True)
        reclaimed += len(isolated)
        scan -= len(isolated)
    return reclaimed


def try_to_free_pages(cpu: Cpu, classzone: int) -> int:
    """Direct reclaim: from priority 12 down until SWAP_CLUSTER_MAX pages are freed; all zones each time."""
    reclaimed = 0
    for priority in range(DEF_PRIORITY, -1, -1):
        for zone in range(classzone, -1, -1):
            reclaimed += shrink_zone(cpu, zone, priority, SWAP_CLUSTER_MAX)
        if reclaimed >= SWAP_CLUSTER_MAX:
            break
    cpu.core.count(Counter.RECLAIMED, reclaimed)
    return reclaimed


def add_to_page_cache_lru(cpu: Cpu, pfn: int) -> None:
    """A page read from a file goes to the head of its zone's inactive list."""
    zone = cpu.machine.mem_map[pfn].zone
    flags = spin_lock_irqsave(cpu, lru_lock(zone), P_LRU_LOCK)
    cpu.core.lru_add(pfn)
    spin_unlock_irqrestore(cpu, lru_lock(zone), flags)
