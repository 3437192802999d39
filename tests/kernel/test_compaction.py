"""Compaction: a block of a high order out of pieces; what it moves, what it leaves, when it does not try."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuemu.kernel.compaction import (
    Compact,
    CompactControl,
    compact_zone,
    compaction_deferred,
    compaction_succeeded,
    compaction_suitable,
    defer_compaction,
    try_to_compact_pages,
)
from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.kernel.page_alloc import GFP_KERNEL, alloc_pages
from cpuemu.kernel.page_lists import NO_PAGE, Request
from cpuemu.layout import (
    OWNER_BOOT,
    OWNER_FILE,
    Counter,
    Gfp,
    MigrateType,
    PageState,
    Task,
    TaskFlag,
)
from tests.kernel.alone import Alone, alone

pytestmark = pytest.mark.timeout(60)

BLOCK = 512
BLOCKS = 8
ZONE = ZoneSpec("DMA32", 0, BLOCKS * BLOCK, BLOCKS * BLOCK, BLOCKS * BLOCK, wmark=(20, 25, 30), stat_threshold=0)
MOVABLE, UNMOVABLE = MigrateType.MOVABLE, MigrateType.UNMOVABLE


@pytest.fixture
def here() -> Iterator[Alone]:
    """Four pageblocks with one page-cache page each in their middle, four with a page that nobody can move."""
    with alone([ZONE], kswapd=False) as machine:
        for block in range(BLOCKS):
            hold(machine, block * BLOCK + 100, OWNER_FILE if block < BLOCKS // 2 else OWNER_BOOT)
        yield machine


def hold(here: Alone, pfn: int, owner: int, order: int = 0) -> None:
    assert here.cpu.core.hold_boot(pfn, order, owner)
    if owner == OWNER_FILE:
        here.cpu.core.lru_add(pfn)


def cache(here: Alone) -> list[int]:
    return [page.index for page in here.machine.mem_map
            if page.state == PageState.ALLOCATED and page.owner == OWNER_FILE]


def test_a_pageblock_is_cleared(here: Alone) -> None:
    """No free block of order 9 is there; the cache pages of the first pageblocks move to the top of the zone.

    Of two pageblocks: with one the watermark of that order is not met yet, all other memory being in pieces.
    """
    assert here.machine.zones[0].nr_free[9] == 0
    pfn = alloc_pages(here.cpu, GFP_KERNEL | Gfp.NORETRY, 9, MOVABLE)
    assert pfn == 0
    assert here.count(Counter.COMPACT_STALL) == here.count(Counter.COMPACT_SUCCESS) == 1
    assert here.count(Counter.COMPACT_PAGES) == 2
    moved = cache(here)
    assert len(moved) == here.machine.zones[0].nr_file == 4
    assert min(moved[-2:]) >= (BLOCKS - 1) * BLOCK, "the free scanner begins at the top"
    assert moved[:2] == [2 * BLOCK + 100, 3 * BLOCK + 100]
    assert here.drains == [], "this CPU's lists were drained, and nobody asked the others"
    assert here.count(Counter.DIRECT_RECLAIM) == 0
    assert here.audit().ok, here.audit().findings
    names = [name for name in here.events() if name.startswith("mm_compaction")]
    assert names[:2] == ["mm_compaction_try_to_compact_pages", "mm_compaction_begin"]
    assert {"mm_compaction_isolate_migratepages", "mm_compaction_isolate_freepages",
            "mm_compaction_migratepages", "mm_compaction_end"} <= set(names)


def test_async_leaves_pageblocks_alone_that_are_not_movable(here: Alone) -> None:
    for block in range(BLOCKS // 2):
        here.machine.pageblocks[block].migratetype = UNMOVABLE
    before = cache(here)
    assert compact_zone(here.cpu, CompactControl(0, 9, MOVABLE, sync=False)) == Compact.COMPLETE
    assert cache(here) == before
    assert compact_zone(here.cpu, CompactControl(0, 9, MOVABLE, sync=True)) == Compact.PARTIAL
    assert cache(here) != before
    assert here.audit().ok


def test_what_tasks_hold_stays(here: Alone) -> None:
    before = [page.index for page in here.machine.mem_map
              if page.state == PageState.ALLOCATED and page.owner == OWNER_BOOT]
    compact_zone(here.cpu, CompactControl(0, 10, MOVABLE, sync=True))
    assert before == [page.index for page in here.machine.mem_map
                      if page.state == PageState.ALLOCATED and page.owner == OWNER_BOOT]


def test_nowhere_to_move_to(here: Alone) -> None:
    """No pageblock above is movable: the isolated page goes back to its list."""
    zone = here.machine.zones[0]
    for block in range(1, BLOCKS):
        here.machine.pageblocks[block].migratetype = UNMOVABLE
    before = cache(here)
    assert compact_zone(here.cpu, CompactControl(0, 9, MOVABLE, sync=True)) == Compact.PARTIAL
    assert here.count(Counter.COMPACT_PAGES) == 0
    assert here.count(Counter.COMPACT_PAGE_FAILED) == 1
    assert cache(here) == before
    assert zone.nr_isolated == 0
    assert here.audit().ok


def test_suitable() -> None:
    """Too few free pages, or a failure for lack of memory: not. Pieces enough: yes.  A block there: no need."""
    with alone([ZONE], kswapd=False) as here:
        zone = here.machine.zones[0]
        assert compaction_suitable(here.cpu, 0, 9) == Compact.PARTIAL
        blocks = list(zone.nr_free)
        for order in range(11):
            zone.nr_free[order] = 0
        zone.nr_free[0] = 4096
        assert compaction_suitable(here.cpu, 0, 9) == Compact.CONTINUE
        zone.nr_free[0], zone.nr_free[8] = 0, 3
        assert compaction_suitable(here.cpu, 0, 9) == Compact.SKIPPED
        for order in range(11):
            zone.nr_free[order] = blocks[order]
        zone.wmark[1] = 4096 - 1024
        assert compaction_suitable(here.cpu, 0, 9) == Compact.SKIPPED


def test_deferred_ever_longer(here: Alone) -> None:
    """After n failures 2^n - 1 attempts are skipped, at most 63; a success forgets it."""
    def skipped() -> int:
        count = 0
        while compaction_deferred(here.cpu, 0, 9):
            count += 1
        return count

    assert skipped() == 0
    counts = []
    for _ in range(8):
        defer_compaction(here.cpu, 0, 9)
        counts.append(skipped())
    assert counts == [1, 3, 7, 15, 31, 63, 63, 63]
    compaction_succeeded(here.cpu, 0)
    assert skipped() == 0


def test_a_failure_defers_the_next(here: Alone) -> None:
    """Order 10 would need a page out of the way that cannot move."""
    for block in range(BLOCKS // 2):
        hold(here, block * BLOCK + 300, OWNER_BOOT)
    assert alloc_pages(here.cpu, GFP_KERNEL | Gfp.NORETRY, 10, MOVABLE) == NO_PAGE
    assert here.count(Counter.COMPACT_FAIL) >= 1
    assert here.machine.zones[0].compact_defer_shift >= 1
    stalls = here.count(Counter.COMPACT_STALL)
    compacted = here.events().count("mm_compaction_begin")
    assert alloc_pages(here.cpu, Gfp.WAIT | Gfp.IO | Gfp.NORETRY, 10, MOVABLE) == NO_PAGE
    assert here.events().count("mm_compaction_begin") == compacted, "deferred, or without __GFP_FS: not tried"
    assert here.count(Counter.COMPACT_STALL) == stalls


@pytest.mark.parametrize("gfp", [Gfp.WAIT, Gfp.WAIT | Gfp.IO, Gfp.WAIT | Gfp.FS])
def test_only_who_may_do_io_and_enter_the_file_system(here: Alone, gfp: int) -> None:
    assert try_to_compact_pages(here.cpu, Request(gfp, 9, MOVABLE, 0), sync=True) == Compact.SKIPPED
    assert here.count(Counter.COMPACT_STALL) == 0


def test_a_victim_gives_up(here: Alone) -> None:
    here.cpu.ram.set_bits(here.task.addr(Task.flags), TaskFlag.MEMDIE)
    assert compact_zone(here.cpu, CompactControl(0, 9, MOVABLE, sync=True)) == Compact.PARTIAL
    assert here.count(Counter.COMPACT_PAGES) == 0


def test_async_gives_up_when_others_have_the_pages_in_hand(here: Alone) -> None:
    here.machine.zones[0].nr_isolated = 3
    assert compact_zone(here.cpu, CompactControl(0, 9, MOVABLE, sync=False)) == Compact.PARTIAL
    assert here.count(Counter.COMPACT_PAGES) == 0
    here.machine.zones[0].nr_isolated = 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, BLOCKS * BLOCK - 1), st.sampled_from([OWNER_FILE, OWNER_FILE, OWNER_BOOT])),
                max_size=400, unique_by=lambda each: each[0]),
       st.lists(st.sampled_from([MOVABLE, MOVABLE, UNMOVABLE, MigrateType.RESERVE]), min_size=BLOCKS, max_size=BLOCKS),
       st.integers(1, 10), st.booleans())
def test_whatever_lies_where(pages: list[tuple[int, int]], kinds: list[int], order: int, sync: bool) -> None:
    """Every page is accounted for afterwards, and nobody's page but the cache's has moved."""
    with alone([ZONE], kswapd=False) as here:
        for pfn, owner in pages:
            hold(here, pfn, owner)
        for block, kind in enumerate(kinds):
            here.machine.pageblocks[block].migratetype = kind
        compact_zone(here.cpu, CompactControl(0, order, MOVABLE, sync))
        result = here.audit()
        assert result.ok, result.findings
        assert len(cache(here)) == sum(owner == OWNER_FILE for _, owner in pages)
        assert here.machine.zones[0].nr_isolated == 0
        for pfn, owner in pages:
            if owner == OWNER_BOOT:
                assert here.machine.mem_map[pfn].owner == OWNER_BOOT
