"""Memory near the min watermark: what stands at power-on, and that reclaim then has work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cpuemu.kernel.mmzone import zones_for
from cpuemu.workloads.base import InputError, Request
from cpuemu.workloads.load import load
from cpuemu.workloads.pressure import SUPPLY, squeeze
from tests.launched import Launched


def test_free_pages_and_cache_are_just_short_of_what_the_tasks_want() -> None:
    workload = load("pressure", Request(8))
    assert len(workload.tasks) == 32
    zones = squeeze(zones_for(256 << 20, 8), workload.working_set)
    supply = sum((zone.free or 0) - zone.wmark[2] + zone.nr_file for zone in zones)
    assert supply == pytest.approx(workload.working_set * SUPPLY, abs=4)
    assert all(zone.free is not None and zone.wmark[2] < zone.free + zone.nr_file < zone.managed for zone in zones)


def test_a_machine_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="more --memory, or fewer --tasks"):
        squeeze(zones_for(16 << 20, 8), load("pressure", Request(8)).working_set)
    with pytest.raises(InputError, match="expected a number of operations"):
        load("pressure:x", Request(8))


def test_reclaim_has_work(launch: Callable[..., Launched]) -> None:
    code, said = launch("--cpus", "4", "--workload", "pressure:3000").end(100)
    assert (code, said["verdict"]) in ((0, "ok"), (1, "known-defect")), said
    assert said["counts"]["direct_reclaim"] > 0
    assert said["counts"]["reclaimed"] > 0
    assert said["counts"]["kswapd_wake"] > 0
