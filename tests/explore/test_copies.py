"""Schedules run one after the other in one world: each is what it would be in a world of its own."""

from __future__ import annotations

import os
import signal
from itertools import cycle

import pytest

from cpuemu.coordinator.host_time import process_state
from cpuemu.coordinator.processes import children
from cpuemu.core import CAN_REWIND
from cpuemu.explore import copies
from cpuemu.explore.self_check import could_move
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.worlds import Result, Worlds
from cpuemu.kernel.uapi import Alloc, CallAll, Free, Sleep
from cpuemu.scenarios.base import Scenario, Task
from tests.launched import ROOT, wait_for

pytestmark = pytest.mark.timeout(110)

CALLERS = Scenario("callers", workload=f"{ROOT}/tests/explore/callers.py:Callers", cpus=3)
FORGETFUL = Scenario("forgetful", workload=f"{ROOT}/tests/explore/forgetful.py:Forgetful", cpus=2)
PLUGGED = Scenario("plugged", tasks=(Task(0, (CallAll(), Alloc(), Free())), Task(1, (CallAll(), Sleep(2000)), times=2)),
                   hotplug=("offline 1", "online 1", "offline 1", "online 1"), preempt="full", cpus=3)


def told(result: Result) -> tuple[object, ...]:
    return result.verdict, result.message, result.trace, result.choices, result.watched


@pytest.mark.parametrize("scenario", [CALLERS, FORGETFUL, PLUGGED], ids=lambda scenario: scenario.name)
def test_a_schedule_is_the_same_in_a_world_of_its_own_and_in_one_that_has_run_others(scenario: Scenario) -> None:
    strategies: tuple[Strategy, ...] = RandomWalk(), Pct(3, 300), Pos()
    runs = [*zip(cycle(strategies), range(6), strict=False)]
    with Worlds(scenario, 1, watch=could_move) as worlds:
        one_world = [told(result) for result in worlds.run(runs * 2)]
        assert len(worlds.idle) == 1
    assert one_world[:6] == one_world[6:], "it is another schedule the second time"
    for run, expected in zip(runs[1::2], one_world[1:6:2], strict=True):
        with Worlds(scenario, 1, watch=could_move) as worlds:
            assert [told(result) for result in worlds.run([run])] == [expected]
    assert len({trace for _, _, trace, _, _ in one_world}) == 6


def test_where_no_process_can_go_back_each_schedule_has_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[Strategy, int]] = [(RandomWalk(), seed) for seed in range(4)]
    with Worlds(PLUGGED, 1) as worlds:
        expected = [told(result) for result in worlds.run(runs)]
    monkeypatch.setattr(copies, "CAN_REWIND", False)
    with Worlds(PLUGGED, 1) as worlds:
        assert [told(result) for result in worlds.run(runs)] == expected


@pytest.mark.skipif(not CAN_REWIND, reason="this host tells no process which pages are its own")
def test_copies_go_back_instead_of_being_made_anew() -> None:
    """Those of a CPU that goes and comes, too."""
    with Worlds(PLUGGED, 1) as worlds:
        seen = []
        for seed in range(6):
            list(worlds.run([(RandomWalk(), seed)]))
            seen.append({pid for template in children(worlds.idle[0].pid) for pid in children(template)})
        assert len(set.union(*seen)) < 3 * len(seen), f"new processes for each schedule: {seen}"


def test_a_schedule_behind_one_that_failed_is_the_same() -> None:
    runs = [(RandomWalk(), seed) for seed in range(20)]
    with Worlds(CALLERS, 1) as worlds:
        first = [told(result) for result in worlds.run(runs)]
        assert {verdict for verdict, *_ in first} == {"ok", "failed"}
        assert [told(result) for result in worlds.run(runs)] == first


def test_a_world_whose_cpu_is_killed_says_so_and_leaves_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    with Worlds(CALLERS, 1) as worlds:
        assert [result.verdict for result in worlds.run([(RandomWalk(), 2)])] == ["ok"]
        template = children(worlds.idle[0].pid)[1]
        its_copies = children(template)
        os.kill(template, signal.SIGKILL)
        wait_for(lambda: all(process_state(pid) in ("", "Z") for pid in (template, *its_copies)), 20, "its copies end")
        with pytest.raises(RuntimeError, match="without an answer"):
            list(worlds.run([(RandomWalk(), 2)]))
    assert f"process {template}, which is to be copied, has died" in capfd.readouterr().err
