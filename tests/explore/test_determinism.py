"""A schedule depends on its decisions and on nothing else: no hash seed, no load, no neighbour, no Python's release."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpuemu.explore.self_check import THE_END
from tests.launched import ROOT

pytestmark = pytest.mark.timeout(110)

OTHER_PYTHONS = "CPUEMU_TEST_PYTHONS"
"""Interpreters in which cpuemu is installed, joined by colons: each must be there; /PATH with a * is all that match."""


def run(*command: str, python: str = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


def traces(jobs: int = 1, **environment: str) -> list[str]:
    done = run("tests.explore.traces", str(jobs), **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextlib.contextmanager
def busy_host() -> Iterator[None]:
    """Three processes for each core that want all of it."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_one_trace_a_seed_whatever_the_host_does() -> None:
    expected = traces(PYTHONHASHSEED="0")
    assert len(expected) == 15
    assert len(set(expected)) > 12  # schedules that differ
    assert traces(jobs=2, PYTHONHASHSEED="random") == expected
    with busy_host():
        assert traces(jobs=2, PYTHONHASHSEED="random") == expected


def test_one_trace_a_seed_in_every_python() -> None:
    named = [each for each in os.environ.get(OTHER_PYTHONS, "").split(":") if each]
    others = [python for each in named
              for python in (map(str, Path("/").glob(each.lstrip("/"))) if "*" in each else [each])]
    if not others:
        pytest.skip(f"{OTHER_PYTHONS} names no other Python")
    expected = traces()
    for python in others:
        assert traces(python=python) == expected, python


def test_a_machine_passes_its_self_check() -> None:
    checked = run("cpuemu", "explore", f"{ROOT}/tests/explore/callers.py:Callers", "--self-check", "6")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout == "verdict: 6 of 6 schedules ran twice, each the same at every step\n"


STACK = r"; stack: (\S+:\d+ < )+run_task:\d+$"


def test_the_self_check_shows_where_two_runs_part() -> None:
    checked = run("cpuemu", "explore", f"{ROOT}/tests/explore/unsteady.py:Unsteady", "--self-check", "30")
    assert checked.returncode == 1, checked.stdout + checked.stderr
    said = checked.stdout.splitlines()
    assert "the two runs differ before step" in said[0]
    once, again = said[2:said.index("--- again")], said[said.index("--- again") + 1:-1]
    assert once != again
    assert said[-1].startswith("verdict: the same seed does not give the same schedule")
    for each in (once, again):  # where each one stands, functions and lines
        assert each[0].startswith(THE_END) or any(re.search(STACK, line) for line in each), each
    assert any("do_exit:" in line or "on_each_cpu:" in line for line in (*once, *again))  # where the coin decided
