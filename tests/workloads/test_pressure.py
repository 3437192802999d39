"""Memory near the min watermark: what stands at power-on, and that reclaim then has work."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cpuemu.kernel.mmzone import zones_for
from cpuemu.layout import MachineState
from cpuemu.workloads.base import InputError, Request
from cpuemu.workloads.load import load
from cpuemu.workloads.pressure import SUPPLY, squeeze
from tests.launched import Launched
from tests.verdicts import behaves


def test_free_pages_and_cache_are_just_short_of_what_the_tasks_want() -> None:
    workload = load("pressure", Request(8))
    assert len(workload.tasks) == 32
    zones = squeeze(zones_for(256 << 20, 8), workload.working_set)
    supply = sum((zone.free or 0) - zone.wmark[2] + zone.nr_file for zone in zones)
    assert supply == pytest.approx(workload.working_set * SUPPLY, abs=4)
    assert all(zone.free is not None and zone.wmark[2] < zone.free + zone.nr_file < zone.managed for zone in zones)


@pytest.mark.parametrize(("request_", "tasks"), [
    (Request(8), 32), (Request(8, tasks=2), 16), (Request(8, tasks=3, busy_cpus=2), 6), (Request(8, busy_cpus=2), 32)])
def test_so_many_tasks_a_cpu(request_: Request, tasks: int) -> None:
    assert len(load("pressure", request_).tasks) == tasks


def test_a_machine_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="more --memory, or fewer --tasks"):
        squeeze(zones_for(16 << 20, 8), load("pressure", Request(8)).working_set)
    with pytest.raises(InputError, match="expected a number of operations"):
        load("pressure:x", Request(8))
    with pytest.raises(InputError, match="these are 8000 tasks; a machine has at most 4096"):
        load("pressure", Request(8, tasks=1000))


def test_reclaim_has_work(launch: Callable[..., Launched]) -> None:
    code, said = launch("--cpus", "4", "--workload", "pressure").end(100)
    assert (code, said["verdict"]) in ((0, "ok"), (1, "known-defect")), said
    assert said["counts"]["direct_reclaim"] > 0
    assert said["counts"]["reclaimed"] > 0
    assert said["counts"]["kswapd_wake"] > 0


def test_memory_stays_near_the_min_mark(launch: Callable[..., Launched]) -> None:
    """Looked at from outside while it runs: most of the time the zone that is allocated from is below its high mark.

    The high mark and a gap is where kswapd stops; a drain, or a victim's memory, lifts it over that for a moment.
    """
    run = launch("--cpus", "4", "--workload", "pressure", "--seconds", "3", "--reclaim-success", "0.5",
                 "--reclaim-cost", "20").running()
    zone = run.image.machine.zones[len(run.image.machine.zones) - 1]
    header, near, looks = run.image.machine.header, 0, 0
    while header.state == MachineState.RUNNING:
        near += zone.free_pages <= zone.wmark[2] + zone.wmark[0]
        looks += 1
        time.sleep(0.005)
    code, said = run.end(60)
    assert behaves(code, said), said
    assert looks > 50
    assert near > looks // 2, (near, looks)
    assert said["counts"]["pages_scanned"] > said["counts"]["reclaimed"] + said["counts"]["kswapd_reclaimed"] > 0
