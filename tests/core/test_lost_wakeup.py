"""The lost wake-up, in C on two cores: from Python the bug never shows, barrier or not (design decision 2)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "wakeup.c"


def build(directory: Path, *flags: str) -> Path:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed to build cpuemu"
    program = directory / "wakeup"
    subprocess.run([compiler, "-O2", "-std=gnu11", "-pthread", *flags, str(SOURCE), "-o", str(program)], check=True)
    return program


def run(program: Path, *arguments: str) -> tuple[int, int]:
    rounds, lost = subprocess.run([str(program), *arguments], check=True, capture_output=True, text=True).stdout.split()
    return int(rounds), int(lost)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="store buffers of one core show nothing")
def test_no_wakeup_is_lost_and_the_mutant_loses_some(tmp_path: Path) -> None:
    (tmp_path / "mutant").mkdir()
    rounds, lost = run(build(tmp_path), "3")
    assert rounds
    assert lost == 0
    _, lost = run(build(tmp_path / "mutant", "-DMUTANT"), "60", "1")
    assert lost == 1, "without the barrier a wake-up must be lost: this test could not see it"
