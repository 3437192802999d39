"""Whoever chooses by hand can find the race of 2012, take a choice back, and keep what was found."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.explore.test_machine import CALLERS, cpuemu
from tests.launched import ROOT

pytestmark = pytest.mark.timeout(110)

RACE = "+0 2222222222 b +1 a 000000000 22"
"""CPU 0 sends; CPU 2 publishes, and does not yet send; CPU 1 takes CPU 0's interrupt, and sends; CPU 0 takes that."""


def played(place: Path, keys: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cpuemu", "play", CALLERS, *options], input=keys, cwd=place,
                          capture_output=True, text=True, timeout=100, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)})


def test_the_race_of_2012_by_hand(tmp_path: Path) -> None:
    run = played(tmp_path, f"{RACE} s q", "--goal", "fail")
    lines = run.stdout.splitlines()
    assert (run.returncode, lines[-1]) == (0, "goal: reached"), run.stdout + run.stderr
    assert any(line.startswith("failed: empty-ipi-mask") for line in lines)
    assert "   31  cpu 1  ⇒ call_function from cpu 0" in lines
    assert "   64  cpu 2  smp_call_function_many:ipi_mask: reads cfd[2].cpumask ({})" in lines
    line = next(line for line in lines if "in one line: " in line).partition("in one line: ")[2]
    assert line.endswith(": 0*20 2*10 irq1.call 1*21 irq0.call 0*9 2*2 -> empty-ipi-mask")
    run = cpuemu(tmp_path, "replay", "Callers-played.json")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "verdict: the same 1 times of 1"), run.stderr
    run = played(tmp_path, f"{RACE} c q", "--against", "Callers-played.json")
    size = "64 steps, 1 preemptions, 2 interrupts"
    assert f"yours: {size}; the smallest one found (the same failure): {size}" in run.stdout


def test_a_choice_is_taken_back(tmp_path: Path) -> None:
    """However many steps it was, and whatever was chosen after it."""
    def machine(keys: str) -> list[str]:
        lines = played(tmp_path, keys).stdout.splitlines()
        return lines[next(at for at, line in enumerate(lines) if line.startswith("Callers: ")):]

    assert machine("+0 2 +1 u 1 uu") == machine("+0")
    assert machine("u q") == machine("q")
    assert machine("+0 2 2")[1] == "22 steps, 0 preemptions; left alone it ends after 165 steps: ok"


def test_a_goal_that_is_not_reached(tmp_path: Path) -> None:
    run = played(tmp_path, ". q", "--goal", "hang", "--profile", "v3.4")
    assert (run.returncode, run.stdout.splitlines()[-2]) == (1, "ok"), run.stderr
    run = played(tmp_path, "x 9 . 1 s")
    assert run.returncode == 0
    for sentence in ("'x' is no key of somebody who can move", "'9' is no key",
                     "it is over: u takes the last choice back", "nothing has failed yet"):
        assert sentence in run.stdout
    assert not list(tmp_path.iterdir())


def test_on_a_terminal_it_draws_the_machine(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "cpuemu", "play", CALLERS], stdin=slave, stdout=slave,
                               stderr=slave, cwd=tmp_path,
                               env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"})
    os.close(slave)
    seen = ""

    def until(sentence: str) -> None:
        nonlocal seen
        end = time.monotonic() + 60
        while sentence not in seen:
            assert time.monotonic() < end and process.poll() is None, seen
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 1 << 16).decode(errors="replace")

    until("0 steps, 0 preemptions")
    os.write(master, b"+0")
    until("20 steps, 0 preemptions")
    until("irq1.call")
    os.write(master, b"u")
    seen = ""
    until("0 steps, 0 preemptions")
    os.write(master, b"q")
    assert process.wait(30) == 0
    os.close(master)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_looks_for_one_to_compare_with(tmp_path: Path) -> None:
    run = played(tmp_path, f"{RACE} c q")
    assert "the smallest one found (the same failure): " in run.stdout, run.stderr
    assert run.returncode == 0
