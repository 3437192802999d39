"""v3.2's order of steps when the free lists do not give at once: who may go how deep, who reclaims, who is killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from cpuemu.kernel import page_alloc
from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.kernel.page_alloc import GFP_KERNEL, alloc_pages, should_alloc_retry
from cpuemu.kernel.page_lists import NO_PAGE, Alloc, Request, free_pages
from cpuemu.layout import LOCK_OOM, Counter, Gfp, MachineState, MigrateType, Task, TaskFlag
from tests.kernel.alone import Alone, alone

pytestmark = pytest.mark.timeout(60)

MOVABLE = MigrateType.MOVABLE
ZONE = ZoneSpec("DMA32", 0, 8192, 8192, 8192, wmark=(100, 125, 150), stat_threshold=0)
"""Its lists are bypassed (batch 1, high 0) and its counters are exact (threshold 0)."""


@pytest.fixture
def here() -> Iterator[Alone]:
    with alone([replace(ZONE, free=160)]) as machine:
        yield machine


def eat(here: Alone, gfp: int) -> int:
    """Allocate single pages until one fails; how many pages are free then."""
    while alloc_pages(here.cpu, gfp, 0, MOVABLE) != NO_PAGE:
        pass
    return here.machine.zones[0].free_pages


@pytest.mark.parametrize(("gfp", "left"), [
    (0, 75),  # cannot sleep: HARDER, three quarters of the mark
    (Gfp.HIGH, 38),  # GFP_ATOMIC: half of it, then three quarters
    (Gfp.NOMEMALLOC, 100),  # not worth trying harder
    (Gfp.WAIT | Gfp.NORETRY, 100),
])
def test_how_deep_a_request_may_go(here: Alone, gfp: int, left: int) -> None:
    """Order 0 passes while the free pages less two are above the mark."""
    assert eat(here, gfp) == left + 2
    assert here.count(Counter.OOM) == 0


@pytest.mark.parametrize("flag", [TaskFlag.MEMALLOC, TaskFlag.MEMDIE])
def test_who_frees_memory_or_dies_goes_to_the_bottom(here: Alone, flag: TaskFlag) -> None:
    here.image.ram.set_bits(here.task.addr(Task.flags), flag)
    assert eat(here, GFP_KERNEL | Gfp.NOMEMALLOC) == 102
    assert eat(here, GFP_KERNEL) == 0
    assert here.count(Counter.DIRECT_RECLAIM) == 0, "neither may reclaim"


def test_atomic_requests_wake_kswapd_and_do_not_reclaim(here: Alone) -> None:
    eat(here, 0)
    assert here.count(Counter.DIRECT_RECLAIM) == 0
    assert here.count(Counter.KSWAPD_WAKE) >= 1
    assert here.drains == []


def test_no_kswapd_when_asked_not_to(here: Alone) -> None:
    eat(here, Gfp.NO_KSWAPD)
    assert here.count(Counter.KSWAPD_WAKE) == 0


def test_no_progress_no_drain_but_the_killer(here: Alone) -> None:
    """Nothing to reclaim: no drain of other CPUs' lists; the victim is the task with most pages, us."""
    eat(here, GFP_KERNEL)
    assert here.task.flags & TaskFlag.MEMDIE
    assert here.count(Counter.OOM) == 1
    assert here.drains == []


def test_the_last_attempt_is_at_the_high_mark(here: Alone) -> None:
    """The memory that came meanwhile must lift the zone over its high mark, or somebody is killed for nothing."""
    eat(here, Gfp.WAIT | Gfp.NORETRY)
    request = Request(GFP_KERNEL, 0, MOVABLE, 0)
    held = [pfn for pfn in range(8192) if here.machine.mem_map[pfn].owner == here.task.index]
    for pfn in held[:30]:
        free_pages(here.cpu, pfn, 0)
    assert here.machine.zones[0].free_pages == 132
    assert page_alloc._alloc_pages_may_oom(here.cpu, request, Alloc.NONE) == NO_PAGE
    assert here.count(Counter.OOM) == 1
    here.cpu.ram.clear_bits(here.task.addr(Task.flags), TaskFlag.MEMDIE)
    for pfn in held[30:55]:
        free_pages(here.cpu, pfn, 0)
    assert page_alloc._alloc_pages_may_oom(here.cpu, request, Alloc.NONE) != NO_PAGE
    assert here.count(Counter.OOM) == 1


@pytest.mark.parametrize(("gfp", "order"), [(GFP_KERNEL, 4), (GFP_KERNEL | Gfp.DMA, 0), (GFP_KERNEL | Gfp.NORETRY, 0)])
def test_nobody_is_killed_for_costly_orders_and_low_zones(here: Alone, gfp: int, order: int) -> None:
    eat(here, Gfp.WAIT | Gfp.NORETRY)
    assert alloc_pages(here.cpu, gfp, order, MOVABLE) == NO_PAGE
    assert here.count(Counter.OOM) == 0


def test_progress_and_still_no_page_drains_once_a_round() -> None:
    """An order that memory is too torn for: reclaim frees pages, and all lists are drained for each round."""
    with alone([replace(ZONE, free=160, nr_file=200)], kswapd=False) as here:
        torn = [alloc_pages(here.cpu, GFP_KERNEL, 0, MOVABLE) for _ in range(20)]
        assert NO_PAGE not in torn
        assert alloc_pages(here.cpu, GFP_KERNEL | Gfp.NORETRY, 8, MOVABLE) == NO_PAGE
        rounds = here.count(Counter.DIRECT_RECLAIM)
        assert here.drains == [8] * rounds == [8]
        assert here.count(Counter.RECLAIMED) > 0
        assert here.audit().ok


def test_a_sleeping_killer_lets_others_wait_a_tick(here: Alone) -> None:
    """Who finds the zonelist taken sleeps, and tries the whole path again."""
    lock = here.machine.locks[LOCK_OOM]
    lock.word = 77
    started = here.cpu.now()
    request = Request(GFP_KERNEL, 0, MOVABLE, 0)
    assert page_alloc._alloc_pages_may_oom(here.cpu, request, Alloc.NONE) == NO_PAGE
    assert here.cpu.now() - started >= page_alloc.TICK_NS
    assert here.count(Counter.OOM) == 0
    assert page_alloc.restart_after_oom(here.cpu, GFP_KERNEL, 0)


def test_a_machine_that_is_switched_off_kills_nobody(here: Alone) -> None:
    here.machine.header.state = MachineState.STOPPING
    eat(here, GFP_KERNEL)
    assert here.count(Counter.OOM) == 0


def test_should_alloc_retry() -> None:
    assert should_alloc_retry(GFP_KERNEL, 3, 0), "v3.2 tries for ever up to order 3"
    assert not should_alloc_retry(GFP_KERNEL | Gfp.NORETRY, 0, 99)
    assert not should_alloc_retry(GFP_KERNEL, 4, 5)
    assert should_alloc_retry(GFP_KERNEL | Gfp.NOFAIL, 4, 5)
    assert should_alloc_retry(GFP_KERNEL | Gfp.REPEAT, 4, 15)
    assert not should_alloc_retry(GFP_KERNEL | Gfp.REPEAT, 4, 16), "enough was reclaimed for one such block"
    assert should_alloc_retry(GFP_KERNEL | Gfp.NO_OOM, 0, 0, stuck=16)
    assert not should_alloc_retry(GFP_KERNEL | Gfp.NO_OOM, 0, 0, stuck=17)
