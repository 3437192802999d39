"""Machines that behave are told so: launches of every profile and preemption model, also on an overloaded host.

A finding is right only when the profile's release really has that defect: it then carries its number, and is counted.
"""

from __future__ import annotations

import collections
import itertools
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.busy_host import busy_loops
from tests.launched import ROOT, Launched
from tests.matrix import JOBS, LAUNCHES
from tests.verdicts import behaves

PROFILES = ("v3.2", "gorman-2012", "v3.4")
MODELS = ("none", "voluntary", "full")
OFFLINE = ("exit", "park")
LOADS: tuple[Mapping[str, tuple[str, ...]], ...] = (
    {"--workload": ("replay",), "--cpus": ("8",)},
    {"--workload": ("storm",), "--cpus": ("2", "4", "8", "16"), "--memory": ("32M", "64M", "256M"),
     "--seconds": ("1",), "--hotplug": ("random:0.05", "random:0.01", "1")},
    {"--workload": ("pressure",), "--cpus": ("4", "8"), "--memory": ("64M",), "--seconds": ("1",),
     "--hotplug": ("none", "random:0.05")},
)
KINDS = list(itertools.product(MODELS, PROFILES, OFFLINE, LOADS))
random.Random(0).shuffle(KINDS)


def options(seed: int) -> list[str]:
    """Seed after seed another kind of launch, all of them in turn; what is left is drawn."""
    chance = random.Random(seed)
    model, profile, offline, load = KINDS[seed % len(KINDS)]
    words = ["--seed", str(seed), "--preempt", model, "--profile", profile, "--offline", offline,
             *["--checked"] * ((seed + seed // len(KINDS)) % 4 == 0)]
    return words + [word for name, choices in load.items() for word in (name, chance.choice(choices))]


@pytest.mark.timeout(110)
@pytest.mark.parametrize("seed", range(min(LAUNCHES, 6)))
def test_a_launch_is_ok(launch: Callable[..., Launched], seed: int) -> None:
    run = launch(*options(seed))
    code, said = run.end(100)
    assert behaves(code, said), (options(seed), said)


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("loops", [0, 2])
def test_many_launches_are_ok(tmp_path: Path, loops: int) -> None:
    """CPUEMU_TEST_LAUNCHES of them, CPUEMU_TEST_JOBS at a time; ``loops``: busy loops a core beside them."""
    seen: collections.Counter[str] = collections.Counter()
    alarms = []
    began = time.monotonic()
    with busy_loops(loops) as count, ThreadPoolExecutor(JOBS) as pool:
        for seed, (code, said) in pool.map(lambda seed: (seed, launched(tmp_path / str(seed), options(seed))),
                                           range(1000, 1000 + LAUNCHES)):
            seen.update(names(code, said))
            if behaves(code, said):
                shutil.rmtree(tmp_path / str(seed))
            else:
                alarms.append((options(seed), code, said))
                print(f"FALSE ALARM {options(seed)} exit {code}: {said['findings'] or said['notes']}", flush=True)
    print(f"{LAUNCHES} launches, {JOBS} at a time, beside {count} busy loops in {time.monotonic() - began:.0f} s: "
          + ", ".join(f"{number} {name}" for name, number in sorted(seen.items())))
    assert not alarms


def launched(run_dir: Path, words: list[str]) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "cpuemu", "launch", "--json", "--run-dir", str(run_dir), *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.stdout, (command, result.stderr)
    return result.returncode, json.loads(result.stdout)


def names(code: int, said: dict[str, Any]) -> Iterator[str]:
    """What one launch counts as."""
    if said["verdict"] == "known-defect" and code == 1:
        yield from sorted({f"known-defect {each['known']} on {said['profile']}" for each in said["findings"]})
    else:
        yield str(said["verdict"])
