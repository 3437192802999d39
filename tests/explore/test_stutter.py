"""Who polls is disabled until somebody else has changed something; who polls for nothing is told at once.

The kernel here polls for its call interrupts instead of waiting for them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from cpuemu.arch.cpu import Cpu
from cpuemu.arch.gate import Kind
from cpuemu.explore.self_check import self_check
from cpuemu.explore.strategies.dfs import Path as Default
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.stutter import FIRST
from cpuemu.explore.worlds import Result, run_world
from cpuemu.kernel import smp
from cpuemu.kernel.spinlock import spin_lock_irqsave, spin_unlock_irqrestore
from cpuemu.kernel.uapi import Call, CallAll
from cpuemu.layout import single_queue_lock
from cpuemu.scenarios import near_oom
from cpuemu.scenarios.base import Scenario, Task
from cpuemu.schema import Address
from tests.launched import ROOT

pytestmark = pytest.mark.timeout(110)

CALLS = Scenario("calls", (Task(0, (CallAll(), Call(1))), Task(1, (CallAll(), Call(0)))), cpus=2, profile="v3.4")
ROUND = "csd_lock_wait"
waits = smp.csd_lock_wait
SECOND_NS = 1_000_000_000


def polled(cpu: Cpu, flags: Address, why: int = smp.P_CSD_LOCK_WAIT) -> None:
    locked = True
    while locked:
        cpu.point(smp.P_CSD_LOCK_WAIT, flags, Kind.READ)
        locked = bool(cpu.ram.read(flags) & smp.CSD_FLAG_LOCK)


def polled_under_a_lock(cpu: Cpu, flags: Address, why: int = smp.P_CSD_LOCK_WAIT) -> None:
    """Each round takes a lock that others take, and gives it back."""
    lock = single_queue_lock(0, cpu.machine.dims.zones)
    locked = True
    while locked:
        saved = spin_lock_irqsave(cpu, lock, smp.P_SINGLE_LOCK)
        spin_unlock_irqrestore(cpu, lock, saved)
        cpu.point(smp.P_CSD_LOCK_WAIT, flags, Kind.READ)
        locked = bool(cpu.ram.read(flags) & smp.CSD_FLAG_LOCK)


def polled_for_ten_seconds(cpu: Cpu, flags: Address, why: int = smp.P_CSD_LOCK_WAIT) -> None:
    end = cpu.now() + 10 * SECOND_NS
    while cpu.now() < end:
        cpu.point(smp.P_CSD_LOCK_WAIT, flags, Kind.READ)
    waits(cpu, flags, why)


def counted(cpu: Cpu, flags: Address, why: int = smp.P_CSD_LOCK_WAIT) -> None:
    """A loop that comes to an end by itself, which nobody can see from outside."""
    for _ in range(4 * FIRST):
        cpu.point(smp.P_CSD_LOCK_WAIT, flags, Kind.READ)
    waits(cpu, flags, why)


def never(cpu: Cpu, flags: Address) -> None:
    """An acknowledgement that is none."""


def explored(seed: int) -> Result:
    return run_world(CALLS, Pct(1, 1000), seed)


@pytest.mark.parametrize("how", [polled, polled_under_a_lock])
def test_a_poll_under_strict_priorities_ends(monkeypatch: pytest.MonkeyPatch, how: Callable[..., None]) -> None:
    monkeypatch.setattr(smp, "csd_lock_wait", how)
    results = [explored(seed) for seed in range(8)]
    assert {result.verdict for result in results} == {"ok"}
    assert max(result.steps for result in results) > FIRST, "none of them ever polled for long: nothing is tested"
    assert run_world(CALLS, Default(), 0).verdict == "ok", "without priorities, too: who ran goes on"


@pytest.mark.parametrize(("depth", "steps", "seed"), [(3, 2400, 2620907556354756381), (3, 3000, 4110281485611768498)])
def test_the_slow_path_under_strict_priorities_ends(depth: int, steps: int, seed: int) -> None:
    """Two CPUs that drain each other's lists for a third one's task; a CPU whose task waits behind kswapd."""
    result = run_world(near_oom.BUSY, Pct(depth, steps), seed)
    assert result.verdict == "ok", result.message


@pytest.mark.parametrize("how", [polled, polled_under_a_lock])
def test_a_livelock_is_told_at_once(monkeypatch: pytest.MonkeyPatch, how: Callable[..., None]) -> None:
    monkeypatch.setattr(smp, "csd_lock_wait", how)
    monkeypatch.setattr(smp, "csd_unlock", never)
    for seed in range(4):
        result = explored(seed)
        assert result.verdict == "livelock" and result.steps < 20 * FIRST, result
        assert "cpu 0 (calls/0) goes round" in result.message and "cpu 1 (calls/1) goes round" in result.message
        assert result.message.count(ROUND) == 2 and "tasks" not in result.message


def test_time_ends_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smp, "csd_lock_wait", polled_for_ten_seconds)
    result = explored(1)
    assert result.verdict == "ok" and result.steps < 20 * FIRST, result


def test_a_loop_that_counts_is_no_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Priorities stay strict: nobody who could wait moves before it has come to its end."""
    monkeypatch.setattr(smp, "csd_lock_wait", counted)
    for seed in range(3):
        runs = [(actor, len(list(steps))) for (actor, point), steps in groupby(explored(seed).ran)
                if point == ROUND]
        assert {count for _, count in runs} <= {4 * FIRST, 4 * FIRST + 1}, runs


def test_the_same_seed_stutters_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smp, "csd_lock_wait", polled_under_a_lock)
    assert [found for found in self_check(CALLS, 6, 3, 2) if found] == []


POLLS = """
import sys
from cpuemu.cli.main import main
from cpuemu.kernel import smp
from tests.explore.test_stutter import polled
smp.csd_lock_wait, smp.csd_unlock = polled, lambda cpu, flags: None
main(sys.argv[1:])
"""


def test_explore_says_who_goes_round(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", POLLS, "explore", f"{ROOT}/tests/explore/callers.py:Callers", "--cpus",
                          "2", "--strategy", "pct:1", "--schedules", "2"], cwd=tmp_path, capture_output=True, text=True,
                         timeout=100, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.returncode == 1, run.stderr
    assert "livelock under profile: nobody gets on: cpu 0 (Callers/0) goes round csd_lock_wait; cpu 1" in run.stderr
    assert "7 × livelock: nobody gets on: cpu N (" in run.stdout, run.stdout
    assert json.loads(next(tmp_path.rglob("*-1.json")).read_text())["verdict"] == "livelock"
