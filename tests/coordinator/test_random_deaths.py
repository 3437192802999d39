"""kill -9 of anybody, also while another process is stopped: the end comes within five seconds, the verdict is true."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launched import Launched, is_zombie, wait_for

pytestmark = pytest.mark.timeout(60)

ENDS = {"cpu": ("cpu-died", 1), "zygote": ("host-error", 70), "coordinator": ("host-error", 70)}


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 200))])
def test_any_death(launch: Callable[..., Launched], sockets: Path, seed: int) -> None:
    chance = random.Random(seed)
    run = launch("--cpus", "4", "--workload", "storm", "--seconds", "30", "--hotplug", "random:0.02",
                 "--seed", str(seed), "--memory", chance.choice(["48M", "128M"]),
                 "--offline", chance.choice(["exit", "park"]),
                 "--preempt", chance.choice(["none", "voluntary", "full"]))
    tree = wait_for(lambda: [pid for pid, title in run.tree() if title.startswith("cpuemu cpu")], 20, "a CPU")
    time.sleep(chance.uniform(0, 1.2))
    everybody = {pid: title for pid, title in run.tree() if title.startswith("cpuemu ") and not is_zombie(pid)}
    everybody[run.process.pid] = "cpuemu launcher"
    victim = chance.choice(sorted(everybody))
    role = everybody[victim].removeprefix("cpuemu ").partition(" gen")[0]
    others = sorted(set(everybody) - {victim, run.process.pid})
    stopped = chance.choice(others) if others and chance.random() < 0.5 else 0
    if stopped:
        run.signal(stopped, signal.SIGSTOP)
    killed = time.monotonic()
    run.signal(victim, signal.SIGKILL)
    what = f"{role} is killed" + (f", {everybody[stopped]} is stopped" if stopped else "")
    code, said = run.end(6)
    wait_for(lambda: all(is_zombie(pid) for pid in {*everybody, *tree}), 6, f"everybody's end: {what}")
    assert time.monotonic() - killed < 5, what
    if role == "launcher":
        return  # it cannot say anything; its sockets go with the next launch if the coordinator was stopped too
    assert (said["verdict"], code) == ENDS[role.split()[0]], (what, said, run.log)
    assert said["findings"] == [], what
    assert not list(sockets.iterdir()), what
