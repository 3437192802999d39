"""Machines that behave are told so: launches of different seeds, preemption models and hotplug, all of them ok."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launched import ROOT, Launched
from tests.matrix import LAUNCHES
from tests.verdicts import behaves

MODELS = ("none", "voluntary", "full")


def options(seed: int) -> list[str]:
    """Every other launch replays the recording; the others storm, with CPUs going and coming."""
    chance = random.Random(seed)
    common = ["--seed", str(seed), "--preempt", MODELS[seed % 3], *["--checked"] * (seed % 4 == 0)]
    if seed % 2:
        return [*common, "--cpus", "8", "--offline", chance.choice(("exit", "park"))]
    return [*common, "--cpus", chance.choice(("2", "4", "8")), "--workload", "storm", "--seconds", "2",
            "--memory", chance.choice(("32M", "64M", "256M")), "--hotplug", "random:0.05",
            "--offline", chance.choice(("exit", "park"))]


@pytest.mark.timeout(110)
@pytest.mark.parametrize("seed", range(min(LAUNCHES, 6)))
def test_a_launch_is_ok(launch: Callable[..., Launched], seed: int) -> None:
    run = launch(*options(seed))
    code, said = run.end(100)
    assert behaves(code, said), (options(seed), said)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_launches_are_ok(tmp_path: Path) -> None:
    """CPUEMU_TEST_LAUNCHES of them, one after the other."""
    for seed in range(100, 100 + max(LAUNCHES, 100)):
        command = [sys.executable, "-m", "cpuemu", "launch", "--json", "--run-dir", str(tmp_path / str(seed)),
                   *options(seed)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert result.stdout, (command, result.stderr)
        said = json.loads(result.stdout)
        assert behaves(result.returncode, said), (command, said)
