"""``cpuemu compare``: policies on the same seeds, with intervals that mean something."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpuemu.cli.statistics import differences, estimate
from tests.launched import ROOT

TIGHT = ("--cpus", "4", "--workload", "storm:3000", "--memory", "16M", "--seeds", "2")


def compare(sockets: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(sockets), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cpuemu", "compare", *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)


def test_fewer_interrupts_where_only_cpus_with_pages_are_asked(launch: Callable[..., Any], sockets: Path,
                                                               tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    run = compare(sockets, "--policy", "on-each-cpu", "--policy", "cpus-with-pages", "--policy", "local-only", *TIGHT,
                  "--json", "--csv", str(table))
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)["policies"]
    every, some, none = (said[name] for name in ("on-each-cpu", "cpus-with-pages", "local-only"))
    assert every["drains"]["mean"] > 0
    assert none["drains"] == {"mean": 0, "low": 0, "high": 0, "difference": none["drains"]["difference"]}
    assert some["ipis_per_drain"]["mean"] < every["ipis_per_drain"]["mean"] <= 3
    assert some["ipis_per_drain"]["difference"]["mean"] < 0
    rows = list(csv.DictReader(table.open()))
    assert [(row["policy"], row["seed"]) for row in rows[:2]] == [("on-each-cpu", "1"), ("on-each-cpu", "2")]
    assert sum(float(row["drains"]) for row in rows[:2]) / 2 == every["drains"]["mean"]


@pytest.mark.parametrize(("options", "sentence"), [
    (("--policy", "on-each-cpu"), "give two different policies"),
    (("--policy", "on-each-cpu", "--policy", "nobody"), "unknown; known are"),
    (("--policy", "on-each-cpu", "--policy", "local-only", "--cpus", "0"), "--cpus 0")])
def test_what_cannot_be_compared(launch: Callable[..., Any], sockets: Path, options: tuple[str, ...],
                                 sentence: str) -> None:
    run = compare(sockets, *options, "--workload", "storm:10", "--seeds", "1", "--memory", "16M")
    assert run.returncode == 2
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


def test_an_interval_holds_the_mean_and_narrows_with_pairs() -> None:
    base = [10.0, 20.0, 30.0, 40.0]
    shifted = [value + 1 for value in base]
    assert estimate(base).low <= 25 <= estimate(base).high
    assert differences(shifted, base).plain() == {"mean": 1, "low": 1, "high": 1}
    assert estimate([5.0]).plain() == {"mean": 5, "low": 5, "high": 5}
