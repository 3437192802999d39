"""All schedules of a small machine: as many as there are, whichever way they are counted, and the word "complete"."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpuemu.explore.explorer import Exploration
from cpuemu.explore.journal import Entry
from cpuemu.explore.summary import sentences
from cpuemu.explore.tally import Report, Search
from cpuemu.kernel import smp
from cpuemu.scenarios.base import Scenario
from tests.launched import ROOT

pytestmark = pytest.mark.timeout(110)

ONE = """
from cpuemu.kernel.uapi import CallAll, Exit

class One:
    tasks = 1
    operations = 2

    def next(self, task):
        return CallAll() if task.step < 1 else Exit()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exhaustive")
    (made / "one.py").write_text(ONE)
    return made


def searched(place: Path, *options: str, schedules: int = 1000, text: bool = False) -> Any:
    """One CPU calls the other."""
    run = subprocess.run([sys.executable, "-m", "cpuemu", "explore", "one.py:One", "--cpus", "2", "--schedules",
                          str(schedules), *([] if text else ["--json"]), "--strategy", *options],
                         cwd=place, capture_output=True, text=True, timeout=100, check=False,
                         env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.returncode == 0, run.stderr
    return run.stdout if text else json.loads(run.stdout)


@pytest.fixture(scope="module")
def whole(place: Path) -> Any:
    return searched(place, "dfs")


def test_every_schedule(whole: Any) -> None:
    """Sixty-five: counted by two ways of cutting the tree, and as the sum of what the bounds let through."""
    assert (whole["schedules"], whole["distinct"], whole["failures"]) == (65, 65, 0)
    assert (whole["search"]["exhausted"], whole["search"]["bound"]) == (True, None)
    assert whole["search"]["done"] == pytest.approx(1)


def test_a_reduction_loses_nothing_that_can_be_told_apart(place: Path, whole: Any) -> None:
    reduced = searched(place, "dpor")
    assert reduced["search"]["exhausted"] and reduced["search"]["classes"] == 4
    assert reduced["schedules"] < 10
    for seen in ("signatures", "handovers", "deliveries", "steps", "actors"):
        assert reduced[seen] == whole[seen]
    assert reduced["points"]["pairs"] == whole["points"]["pairs"]
    assert set(reduced["points"]["ran"]) == set(whole["points"]["ran"])


def test_each_bound_is_a_part_of_the_next(place: Path) -> None:
    """And what comes out does not depend on how many run at a time."""
    found = [searched(place, f"dfs:{bound}")["schedules"] for bound in range(4)]
    assert found[:3] == [3, 21, 48] and found[3] <= 65
    assert searched(place, "dfs:1", "--save", "jobs", "--jobs", "5") == searched(place, "dfs:1", "--jobs", "1")


def test_complete_is_said_only_of_what_is(place: Path) -> None:
    def verdict(strategy: str, schedules: int) -> str:
        said: str = searched(place, strategy, schedules=schedules, text=True).splitlines()[-1]
        return said

    assert "complete up to 1 preemptions, 1 interrupts, 19 steps" in verdict("dfs:1", 21)
    assert "complete" not in verdict("dfs:1", 2)
    assert "complete up to 0 preemptions" in verdict("dfs:1", 20), "these came first"
    assert "complete: one schedule of each of 4 classes" in verdict("dpor", 100)
    assert "complete" not in verdict("dpor", 3)


def test_it_is_not_said_where_the_limit_of_steps_cut_a_schedule() -> None:
    report = Report(search=Search(1, exhausted=True, preemptions=1, done=1.0))
    report.count(Entry("dfs:1", 0, "ok", "", 10, 8, 0, "t", "o", "h"))
    assert "complete up to 1 preemptions" in list(sentences(report))[-1]
    report.count(Entry("dfs:1", 0, "limit", "limit: not over", 50_000, 8, 0, "u", "p", "h"))
    assert "complete" not in list(sentences(report))[-1]


def test_it_stops_at_the_first_failure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smp, "csd_unlock", lambda *_: None)
    scenario, found = Scenario("One", workload=f"{place}/one.py:One", cpus=2), []
    report = Exploration(scenario, ["dfs:1"], 2000, until_failure=True, jobs=2,
                         failed=lambda name, seed, result, number: found.append((name, result.verdict, number))).run()
    assert found == [("dfs:1", "deadlock", 1)]
    assert report.schedules == 1 and report.search is not None and not report.search.exhausted
