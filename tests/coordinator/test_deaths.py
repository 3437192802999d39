"""Whoever dies, the rest ends within five seconds, with a verdict that names it, and nothing is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from cpuemu.report.image import open_image
from tests.launched import Launched, is_zombie, wait_for

pytestmark = pytest.mark.timeout(60)

STORM = ("--cpus", "4", "--workload", "storm", "--memory", "64M", "--seconds", "30", "--hotplug", "random:0.05")


@pytest.mark.parametrize(("role", "verdict", "status"), [
    ("cpu 0", "cpu-died", 1), ("cpu 2", "cpu-died", 1), ("zygote", "host-error", 70), ("coordinator", "host-error", 70),
])
def test_kill_9(launch: Callable[..., Launched], role: str, verdict: str, status: int) -> None:
    run = launch(*STORM).running()
    victim = wait_for(lambda: _pid(run, role), 5, f"{role} is there")
    killed = time.monotonic()
    os.kill(victim, 9)
    code, said = run.end()
    assert time.monotonic() - killed < 5
    assert (said["verdict"], code) == (verdict, status), (said["notes"], said["findings"], run.log)
    assert said["who"] == role
    assert said["findings"] == []
    assert open_image(run.run_dir).machine.header.nr_cpus == 4


def test_kill_9_of_the_launcher(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM).running()
    tree = [pid for pid, _ in run.tree()]
    assert len(tree) >= 3
    run.kill("launcher")
    wait_for(lambda: not any(_alive(pid) for pid in tree), 5, "all are gone")
    assert open_image(run.run_dir).machine.header.nr_cpus == 4


def test_kill_9_of_the_launcher_with_a_stopped_coordinator(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM).running()
    tree = [pid for pid, _ in run.tree()]
    run.kill("coordinator", 19)
    run.kill("launcher")
    wait_for(lambda: not any(_alive(pid) for pid in tree), 5, "all are gone")


def test_kill_9_of_a_cpu_while_another_is_stopped(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM[:-2]).running()
    run.kill("cpu 1", 19)
    run.kill("cpu 2")
    code, said = run.end(5)
    assert (said["verdict"], code, said["who"]) == ("cpu-died", 1, "cpu 2"), said


def test_a_cpu_ended_by_sigterm_died(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM[:-2]).running()
    run.kill("cpu 2", 15)
    code, said = run.end(5)
    assert (said["verdict"], code, said["who"]) == ("cpu-died", 1, "cpu 2")


def _pid(run: Launched, role: str) -> int:
    try:
        return run.pid(role)
    except StopIteration:
        return 0


def _alive(pid: int) -> bool:
    return not is_zombie(pid)
