"""kswapd: when it is woken, how far it goes, when it gives up, and the thresholds while it is awake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from cpuemu.kernel.kswapd import SHORT_SLEEP_NS, sleeping_prematurely, wake_all_kswapd
from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.kernel.page_alloc import GFP_KERNEL, alloc_pages
from cpuemu.kernel.page_lists import NO_PAGE, free_pages
from cpuemu.kernel.sched import wait_event
from cpuemu.kernel.vmscan import SWAP_CLUSTER_MAX
from cpuemu.kernel.vmstat import normal_threshold
from cpuemu.layout import Counter, Gfp, MigrateType
from cpuemu.sites import site
from tests.kernel.alone import Alone, alone

pytestmark = pytest.mark.timeout(60)

ZONE = ZoneSpec("DMA32", 0, 8192, 8192, 8192, wmark=(100, 125, 150), stat_threshold=0)
CACHE = 2000
HERE = site("test:sleep")
TICK_NS = 4_000_000


@pytest.fixture
def here() -> Iterator[Alone]:
    with alone([replace(ZONE, free=200, nr_file=CACHE)]) as machine:
        yield machine


def until(here: Alone, condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Sleep a tick at a time, so that kswapd runs, until something is so."""
    end = here.cpu.now() + int(seconds * 1e9)
    while not condition():
        assert here.cpu.now() < end, f"not within {seconds} s: {what}"
        wait_event(here.cpu, HERE, deadline_ns=here.cpu.now() + TICK_NS)


def eat(here: Alone, leave: int) -> list[int]:
    """Atomic allocations that do not wake kswapd."""
    pages = []
    while here.machine.zones[0].free_pages > leave:
        pages.append(alloc_pages(here.cpu, Gfp.HIGH | Gfp.NO_KSWAPD, 0, MigrateType.MOVABLE))
    assert NO_PAGE not in pages
    return pages


def slept(here: Alone) -> int:
    """How often it went to its long sleep."""
    return here.events().count("mm_vmscan_kswapd_sleep")


def test_not_woken_above_the_low_mark(here: Alone) -> None:
    eat(here, 140)
    wake_all_kswapd(here.cpu, 0, GFP_KERNEL, 0)
    assert here.count(Counter.KSWAPD_WAKE) == 0
    eat(here, 120)
    wake_all_kswapd(here.cpu, 0, GFP_KERNEL, 0)
    assert here.count(Counter.KSWAPD_WAKE) == 1
    wake_all_kswapd(here.cpu, 0, GFP_KERNEL, 0)
    assert here.count(Counter.KSWAPD_WAKE) == 1, "it is awake already"


def test_it_works_until_the_zone_is_above_its_high_mark(here: Alone) -> None:
    zone = here.machine.zones[0]
    eat(here, 60)
    wake_all_kswapd(here.cpu, 0, GFP_KERNEL, 0)
    until(here, lambda: zone.free_pages > zone.wmark[2] + 2, "above the high mark")
    until(here, lambda: here.machine.kswapd.waiting, "asleep")
    # Its last round may overshoot: it scans to the high mark and a gap of 1 % of the zone, cluster by cluster.
    assert here.count(Counter.KSWAPD_RECLAIMED) == zone.free_pages - 60
    assert zone.free_pages < 150 + 82 + 20 * SWAP_CLUSTER_MAX
    assert here.count(Counter.DIRECT_RECLAIM) == 0
    assert here.audit().ok


def test_it_gives_a_zone_up_and_sleeps() -> None:
    with alone([replace(ZONE, free=200)]) as here:
        zone = here.machine.zones[0]
        eat(here, 60)
        wake_all_kswapd(here.cpu, 0, GFP_KERNEL, 0)
        until(here, lambda: zone.all_unreclaimable, "given up: there is no page to reclaim")
        until(here, lambda: here.machine.kswapd.waiting, "asleep")
        assert zone.free_pages == 60
        assert not sleeping_prematurely(here.cpu, 0, False, 0), "what is given up counts as balanced"


def test_thresholds_are_small_while_it_is_awake(here: Alone) -> None:
    """Small from its waking to its long sleep, the short sleep of a tenth of a second included."""
    cpu, machine, zone = here.cpu, here.machine, here.machine.zones[0]
    until(here, lambda: slept(here), "asleep for the first time")
    zone.wmark[1] = 103
    zone.percpu_drift_mark = 400
    normal = normal_threshold(cpu, zone)
    pcp = machine.pcp(0, 0)
    pcp.stat_threshold = normal
    assert normal != 3
    eat(here, 60)
    wake_all_kswapd(cpu, 0, GFP_KERNEL, 0)
    woken = cpu.now()
    until(here, lambda: pcp.stat_threshold == 3, "the pressure threshold: low - min")
    until(here, lambda: pcp.stat_threshold == normal, "the normal threshold again")
    assert cpu.now() - woken >= SHORT_SLEEP_NS
    assert slept(here) == 2


def test_a_higher_order_asked_for_is_worked_for() -> None:
    """Memory in single pages: above all marks, but not for an order."""
    with alone([replace(ZONE, free=400, nr_file=CACHE)]) as here:
        kswapd = here.machine.kswapd
        for pfn in sorted(eat(here, 55))[:220:2]:
            free_pages(here.cpu, pfn, 0)
        assert here.machine.zones[0].free_pages == 165
        wake_all_kswapd(here.cpu, 0, GFP_KERNEL, 0)
        assert here.count(Counter.KSWAPD_WAKE) == 0
        wake_all_kswapd(here.cpu, 3, GFP_KERNEL, 0)
        assert (here.count(Counter.KSWAPD_WAKE), kswapd.order) == (1, 3)
        until(here, lambda: here.count(Counter.KSWAPD_RECLAIMED), "reclaims for the order")
        until(here, lambda: kswapd.waiting and not kswapd.order, "the request is taken")


def test_it_sees_what_the_differentials_hide(here: Alone) -> None:
    """The cheap counter is above the low mark, the truth is not: kswapd is woken all the same."""
    cpu, zone = here.cpu, here.machine.zones[0]
    here.machine.pcp(1, 0).free_diff = -60
    eat(here, 150)
    wake_all_kswapd(cpu, 0, GFP_KERNEL, 0)
    assert here.count(Counter.KSWAPD_WAKE) == 0, "without a drift mark the counter is believed"
    zone.percpu_drift_mark = 200
    wake_all_kswapd(cpu, 0, GFP_KERNEL, 0)
    assert here.count(Counter.KSWAPD_WAKE) == 1
