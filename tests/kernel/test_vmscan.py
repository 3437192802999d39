"""Direct reclaim: how much it scans, what becomes of a scanned page, when it says that it is hopeless."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.kernel.page_alloc import GFP_KERNEL
from cpuemu.kernel.page_lists import Request, free_pages
from cpuemu.kernel.vmscan import (
    MILLION,
    SWAP_CLUSTER_MAX,
    ScanControl,
    shrink_inactive_list,
    try_to_free_pages,
    zone_reclaimable,
)
from cpuemu.layout import OWNER_FILE, Counter, MigrateType, Task, TaskFlag, lru_head
from tests.kernel.alone import Alone, alone

pytestmark = pytest.mark.timeout(60)

MOVABLE = MigrateType.MOVABLE
ZONE = ZoneSpec("DMA32", 0, 8192, 8192, 8192, wmark=(100, 125, 150), stat_threshold=0)
CACHE = 1000
ONE_PAGE = Request(GFP_KERNEL, 0, MOVABLE, 0)


@pytest.fixture
def here() -> Iterator[Alone]:
    with alone([replace(ZONE, free=160, nr_file=CACHE)], kswapd=False) as machine:
        yield machine


def inactive(here: Alone) -> list[int]:
    """The list, from its head."""
    machine = here.machine
    head = machine.dims.pages + lru_head(0, 1)
    pages, at = [], machine.mem_map[head].next
    while at != head:
        pages.append(at)
        at = machine.mem_map[at].next
    return pages


def test_a_cluster_from_the_tail_and_no_more(here: Alone) -> None:
    """At priority 5 a thousand pages make 31, at 4 the rest of the 32: the priorities before scan less."""
    before = inactive(here)
    free = here.machine.zones[0].free_pages
    reclaimed = try_to_free_pages(here.cpu, ONE_PAGE)
    assert SWAP_CLUSTER_MAX <= reclaimed < 3 * SWAP_CLUSTER_MAX
    assert here.count(Counter.RECLAIMED) == here.count(Counter.PAGES_SCANNED) == reclaimed
    assert inactive(here) == before[:-reclaimed], "the oldest went"
    assert here.machine.zones[0].free_pages == free + reclaimed
    assert here.machine.zones[0].nr_isolated == 0
    assert here.audit().ok


def test_what_is_not_reclaimed_goes_to_the_head(here: Alone) -> None:
    here.machine.header.reclaim_rotate = 600_000
    before = inactive(here)
    control = ScanControl(GFP_KERNEL, 0)
    freed = shrink_inactive_list(here.cpu, 0, SWAP_CLUSTER_MAX, control)
    assert 0 < freed < SWAP_CLUSTER_MAX
    after = inactive(here)
    assert len(after) == CACHE - freed
    assert set(after[: SWAP_CLUSTER_MAX - freed]) <= set(before[-SWAP_CLUSTER_MAX:])
    assert after[SWAP_CLUSTER_MAX - freed :] == before[:-SWAP_CLUSTER_MAX]
    assert all(here.machine.mem_map[pfn].owner == OWNER_FILE for pfn in after)
    assert here.audit().ok


def scanned_and_freed(seed: int, rotate: int) -> tuple[list[int], int]:
    """What each of twenty clusters gave."""
    with alone([replace(ZONE, free=160, nr_file=CACHE)], kswapd=False) as here:
        here.machine.header.seed, here.machine.header.reclaim_rotate = seed, rotate
        given = [shrink_inactive_list(here.cpu, 0, SWAP_CLUSTER_MAX, ScanControl(GFP_KERNEL, 0)) for _ in range(20)]
        return given, here.count(Counter.PAGES_SCANNED)


def test_the_share_is_drawn_the_same_for_the_same_seed() -> None:
    first, scanned = scanned_and_freed(1, 750_000)
    assert scanned == 20 * SWAP_CLUSTER_MAX
    assert 0.17 < sum(first) / scanned < 0.33
    assert scanned_and_freed(1, 750_000) == (first, scanned)
    assert scanned_and_freed(2, 750_000)[0] != first


def test_scanning_takes_its_time(here: Alone) -> None:
    here.machine.header.reclaim_cost_us = 2000
    started = here.cpu.now()
    shrink_inactive_list(here.cpu, 0, SWAP_CLUSTER_MAX // 2, ScanControl(GFP_KERNEL, 0))
    assert here.cpu.now() - started >= 1_000_000


def test_given_up_after_six_times_the_list(here: Alone) -> None:
    """Nothing can be reclaimed: progress is still said to be possible, until kswapd has given the zone up."""
    zone = here.machine.zones[0]
    here.machine.header.reclaim_rotate = MILLION
    while zone_reclaimable(zone):
        assert zone.pages_scanned < 6 * CACHE
        assert try_to_free_pages(here.cpu, ONE_PAGE) == 1
    assert 6 * CACHE <= zone.pages_scanned < 10 * CACHE
    assert here.count(Counter.RECLAIMED) == 0
    zone.all_unreclaimable = 1  # kswapd says so
    scanned = zone.pages_scanned
    assert try_to_free_pages(here.cpu, ONE_PAGE) == 0
    assert zone.pages_scanned == scanned, "one look at priority 12, which is nothing of a thousand pages"
    here.machine.header.reclaim_rotate = 0
    pfn = here.cpu.core.lru_isolate(0, 1)[0]
    here.cpu.core.lru_putback(0, [], 1)
    free_pages(here.cpu, pfn, 0)
    assert (zone.all_unreclaimable, zone.pages_scanned) == (0, 0), "a page came back: the zone is worth a look again"


def test_direct_reclaimers_wait_when_others_have_the_pages_in_hand(here: Alone) -> None:
    zone = here.machine.zones[0]
    zone.nr_isolated = CACHE + 1
    kswapd = ScanControl(GFP_KERNEL, 0, kswapd=True)
    assert shrink_inactive_list(here.cpu, 0, 8, kswapd) == 8, "kswapd does not wait"
    here.cpu.ram.set_bits(here.task.addr(Task.flags), TaskFlag.MEMDIE)
    started = here.cpu.now()
    assert shrink_inactive_list(here.cpu, 0, 8, ScanControl(GFP_KERNEL, 0)) == SWAP_CLUSTER_MAX
    assert here.cpu.now() - started >= 100_000_000, "a victim waits once, and is let through"
    assert zone.nr_file == CACHE - 8


def test_reclaim_stops_where_compaction_can_go_on() -> None:
    """For a costly order: enough is free, in pieces; reclaim leaves the cache alone and says so."""
    with alone([replace(ZONE, free=6000, nr_file=CACHE)], kswapd=False) as here:
        machine = here.machine
        for order in range(9, 11):
            machine.zones[0].nr_free[order] = 0  # as if none were there
        assert try_to_free_pages(here.cpu, Request(GFP_KERNEL, 9, MOVABLE, 0)) == 1
        assert here.count(Counter.PAGES_SCANNED) == 0
        assert try_to_free_pages(here.cpu, Request(GFP_KERNEL, 3, MOVABLE, 0)) >= SWAP_CLUSTER_MAX
