"""Recordings, cut anywhere, replayed by real machines; a user's own workload run."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launched import Launched
from tests.matrix import PREEMPT
from tests.recordings import DATA, RECORDINGS, ZONEINFO, recorded, write

pytestmark = pytest.mark.timeout(120)

CPUS = 4
Launch = Callable[..., Launched]


def options() -> list[str]:
    return ["--cpus", str(CPUS), "--preempt", PREEMPT]


def cut(name: str, seed: int) -> list[bytes]:
    """A part of a recording that begins and ends somewhere, in the middle of a hotplug operation if it so happens."""
    lines, draw = recorded(name), random.Random(f"{name} {seed}")
    start = draw.randrange(len(lines) * 3 // 4)
    return list(lines[start : start + draw.randrange(50, len(lines))])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", RECORDINGS)
def test_cut_replayed(launch: Launch, tmp_path: Path, name: str, seed: int) -> None:
    """It ends, all operations done, every page accounted for: no wait was for a line that never came."""
    trace = write(tmp_path / "trace.txt", cut(name, seed))
    if seed == 2:
        (tmp_path / "zoneinfo.before").write_bytes((DATA / ZONEINFO).read_bytes())
    code, verdict = launch("--workload", f"replay:{trace}", "--window", "64", *options()).end(60)
    assert (code, verdict["verdict"]) == (0, "ok"), verdict
    assert verdict["findings"] == []
    assert verdict["counts"]["alloc"] > 0


def test_hotplug_as_recorded(launch: Launch) -> None:
    """The first three CPUs of the recording go and come, as far as this machine has them."""
    run = launch("--workload", f"replay:{DATA / 'linux-6.12-hotplug.txt.xz'}", *options())
    code, verdict = run.end(60)
    assert code == 0, verdict
    here = min(3, CPUS - 1)
    assert (verdict["counts"]["offline"], verdict["counts"]["online"]) == (here, here)


MINE = """
from cpuemu.kernel.uapi import Alloc, Call, Exit, Free, Sleep

class Mine:
    tasks = 3

    def next(self, task):
        task.vars[0] += 1
        if task.vars[0] > 200:
            return Exit()
        if task.vars[0] % 50 == 0:
            return Sleep(1000)
        if task.vars[0] % 20 == 0:
            return Call(task.random(64))
        return Alloc(order=task.random(3)) if task.random(2) else Free()
"""


def test_own_workload(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    code, verdict = launch("--workload", f"{path}:Mine", "--hotplug", "random:0.05", *options()).end(60)
    assert (code, verdict["verdict"]) == (0, "ok"), verdict
    assert verdict["counts"]["alloc"] >= 200
