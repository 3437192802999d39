"""Whoever dies, the rest ends within five seconds, with a verdict that names it, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from cpuemu.coordinator.host_time import process_state
from cpuemu.layout import Lock
from cpuemu.report.image import open_image
from cpuemu.report.state import state_text
from tests.launched import Launched, is_zombie, wait_for
from tests.verdicts import found_only_a_death

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
    assert found_only_a_death(said), said
    assert open_image(run.run_dir).machine.header.nr_cpus == 4


@pytest.mark.parametrize("name", ["zone->lock/", "rq->lock/"])
def test_kill_9_of_a_cpu_that_holds_a_lock(launch: Callable[..., Launched], name: str) -> None:
    run = launch("--cpus", "4", "--workload", "pressure", "--memory", "24M", "--seconds", "30").running()
    machine = run.image.machine
    cpu, lock = wait_for(lambda: _stop_with_lock(run, name), 20, f"a CPU stopped with {name} held")
    word = lock.word
    run.kill(f"cpu {cpu}")
    code, said = run.end(5)
    assert (said["verdict"], code, said["who"]) == ("cpu-died", 1, f"cpu {cpu}"), (said, run.log)
    held = said["notes"][0].partition("holding ")[2]  # other locks too, when it was caught inside the OOM killer
    assert f"{lock.name} (" in held, said
    assert found_only_a_death(said), said
    assert lock.word & 0x7FFFFFFF == word & 0x7FFFFFFF, "nobody steals it"
    text = "\n".join(state_text(open_image(run.run_dir)))
    assert f"  {lock.name}: held by cpu {cpu} gen {machine.cpus[cpu].generation}" in text
    assert f"verdict cpu-died (cpu {cpu})" in text


def _stop_with_lock(run: Launched, name: str) -> tuple[int, Lock] | None:
    """Stop a CPU that RAM shows with a lock; when it has given it back meanwhile, let it go on, and None."""
    locks = [lock for lock in run.image.machine.locks if lock.name.startswith(name)]
    for lock in locks * 1000:  # held for microseconds: looked for without a pause
        owner = (lock.word & 0xFFFF) - 1
        if owner >= 0:
            run.kill(f"cpu {owner}", signal.SIGSTOP)
            _wait_until_stopped(run.image.machine.cpus[owner].pid)
            if (lock.word & 0xFFFF) - 1 == owner:
                return owner, lock
            run.kill(f"cpu {owner}", signal.SIGCONT)
    return None


def _wait_until_stopped(pid: int) -> None:
    wait_for(lambda: process_state(pid) == "T", 2, "it is stopped")


def test_kill_9_of_the_launcher(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM).running()
    tree = [pid for pid, _ in run.tree()]
    assert len(tree) >= 3
    run.kill("launcher")
    wait_for(lambda: not any(_alive(pid) for pid in tree), 5, "all are gone")
    verdict = open_image(run.run_dir).verdict  # the coordinator's: nobody else is left
    assert (verdict["verdict"], verdict["who"]) == ("host-error", "launcher")
    assert "the launcher died while the machine was RUNNING" in verdict["notes"][0]


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


def test_kill_9_of_a_cpu_that_nobody_has_noted(launch: Callable[..., Launched]) -> None:
    code, said = launch(*STORM, module="tests.dead_at_birth").end(20)
    assert (said["verdict"], code, said["who"]) == ("cpu-died", 1, "cpu 1"), said
    assert "killed by SIGKILL" in said["notes"][0]


def test_a_process_that_does_not_end_at_power_off(launch: Callable[..., Launched]) -> None:
    """It is named and killed; no kernel is to blame."""
    code, said = launch("--cpus", "3", "--workload", "storm:200", "--memory", "64M", module="tests.undead").end(20)
    assert (said["verdict"], code, said["findings"]) == ("host-error", 70, []), said
    assert said["notes"] == ["the machine is off, and processes do not end: cpu 1 gen 1"]


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
