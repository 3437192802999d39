"""A failure is made smaller, and stays the same failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from random import Random

import pytest

from cpuemu.errors import UserError
from cpuemu.explore import shrink
from cpuemu.explore.failure import failure_of, read
from cpuemu.explore.schedule import Schedule
from cpuemu.explore.shrink import Shrinking
from cpuemu.explore.strategies.base import Event, Strategy
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.worlds import Result, result_of
from cpuemu.kernel.uapi import Alloc, CallAll, Free, Operation
from cpuemu.kernel.user_mode import P_RETURN
from cpuemu.scenarios.base import Scenario, Task
from tests.explore.test_machine import CALLERS, cpuemu
from tests.launched import ROOT, wait_for

pytestmark = pytest.mark.timeout(110)

LENGTH = 12


class Toy:
    """CPUs that count, without a machine: it fails when CPU 0 is interrupted at 5 after CPU 1 has come to 7.

    Interrupted at 4 after CPU 1 has come to 9, it fails, too, in fewer steps; but that is another failure.
    """

    def __init__(self, cpus: int) -> None:
        self.cpus, self.at = cpus, [0] * cpus
        self.pending, self.failed = False, False

    def enabled(self) -> list[Event]:
        able = [Event(cpu, 8, True, at % 3) for cpu, at in enumerate(self.at) if at < LENGTH]
        if self.pending and self.at[0] < LENGTH:
            able.append(Event(self.cpus + 1, 8, True, host=0))
        return able

    def let(self, actor: int) -> None:
        if actor < self.cpus:
            self.at[actor] += 1
            self.pending |= actor == self.cpus - 1 and self.at[actor] % 4 == 1
        else:
            self.pending = False
            self.failed = (self.at[0] == 5 and sum(self.at[1:2]) >= 7) or (self.at[0] == 4 and sum(self.at[1:2]) >= 9)

    def run(self, strategy: Strategy, seed: int) -> Result:
        schedule = Schedule()
        strategy.begin(5 * self.cpus + 1, Random(seed))
        while not self.failed and (able := self.enabled()):
            schedule.step(able, strategy, self.let)
        if self.failed:
            schedule.verdict, schedule.message = "failed", f"{'toy' if self.at[0] == 5 else 'other'}: at {self.at[0]}"
        return result_of(schedule)


class Toys:
    """Toys in the place of worlds; as there, ``jobs`` of them are under way at a time."""

    def __init__(self, scenario: Scenario, jobs: int, interrupted: Sequence[float] = ()) -> None:
        self.scenario, self.jobs = scenario, jobs

    def __enter__(self) -> Toys:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, runs: Iterable[tuple[Strategy, int]]) -> Generator[Result]:
        ahead: list[Result] = []
        for strategy, seed in runs:
            if len(ahead) == self.jobs:
                yield ahead.pop(0)
            ahead.append(Toy(self.scenario.cpus).run(strategy, seed))
        yield from ahead


@pytest.mark.parametrize("seed", range(5))
def test_what_it_does_not_need_is_left_out(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(shrink, "Worlds", Toys)
    scenario = Scenario("toy", workload="toy", cpus=5)
    drawn = ((number, Toy(5).run(RandomWalk(), number)) for number in range(seed * 1000, seed * 1000 + 999))
    number, result = next((number, result) for number, result in drawn if result.message.startswith("toy"))
    failure = failure_of(scenario, "random", number, result)
    told: list[shrink.Size] = []
    small, other = (Shrinking(failure, 3000, jobs=jobs, tell=lambda each: told.append(each.size)).run()
                    for jobs in (1, 3))
    assert small == other, "however many run at a time"
    assert told == sorted(told[:len(told) // 2], reverse=True) * 2, "it never grows"
    assert (small.scenario.cpus, small.deliveries, small.preemptions, small.steps) == (2, 1, 1, 18)
    assert small.schedule.count("irq0.call") == 1 and sum(line.startswith("0") for line in small.schedule) == 5


class Programs(Toys):
    """CPUs that do their operations, a step each: it fails when CPU 1 calls after CPU 0 has, with a page in hand."""

    def run(self, runs: Iterable[tuple[Strategy, int]]) -> Generator[Result]:
        for strategy, seed in runs:
            schedule, failed = Schedule(), False
            left = [list(task.does) for task in self.scenario.present]
            done: list[tuple[int, Operation]] = []

            def let(cpu: int, left: list[list[Operation]] = left, done: list[tuple[int, Operation]] = done) -> None:
                done.append((cpu, left[cpu].pop(0)))

            strategy.begin(self.scenario.cpus, Random(seed))
            while not failed and any(left):
                able = [Event(cpu, 8, True, P_RETURN) for cpu, program in enumerate(left) if program]
                schedule.step(able, strategy, let)
                failed = done[-1] == (1, CallAll()) and (0, CallAll()) in done and (1, Alloc()) in done
            if failed:
                schedule.verdict, schedule.message = "failed", "programs: both have called"
            yield result_of(schedule)


def test_operations_that_it_does_not_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrink, "Worlds", Programs)
    does = (Alloc(), CallAll(), Free())
    scenario = Scenario("programs", (Task(0, does, 3), Task(1, does, 2)), cpus=2, faults=("ipi-doubled 3",))
    number, result = next((number, result) for number in range(99)
                          if (result := next(Programs(scenario, 1).run([(RandomWalk(), number)]))).bad)
    small = Shrinking(failure_of(scenario, "random", number, result), 500).run()
    assert small.scenario.present == (Task(0, (CallAll(),)), Task(1, (Alloc(), CallAll())))
    assert (small.scenario.faults, small.steps, small.preemptions) == ((), 3, 0)


def test_a_failure_that_does_not_come_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrink, "Worlds", Toys)
    scenario = Scenario("toy", workload="toy", cpus=2)
    result = next(result for number in range(999) if (result := Toy(2).run(RandomWalk(), number)).bad)
    failure = failure_of(scenario, "random", 1, Result(**{**vars(result), "message": "another"}))
    with pytest.raises(UserError, match="does not come back as it was"):
        Shrinking(failure, 100).run()


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """Of four CPUs that call each other."""
    cpuemu(tmp_path, "explore", CALLERS, "--cpus", "4", "--strategy", "random", "--until-failure", "--save", "saved")
    return tmp_path / "saved" / "Callers-1.json"


def test_ctrl_c_keeps_the_smallest_yet(found: Path) -> None:
    """An empty mask takes three CPUs, and no four."""
    small, whole = found.with_name("Callers-1-small.json"), read(found)
    process = subprocess.Popen([sys.executable, "-m", "cpuemu", "replay", str(found), "--shrink"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=found.parent.parent,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_for(small.exists, 60, "a smaller one is on disk while it goes on")
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "CPUs 4 → 3, " in out and "; interrupted)" in out, errors
    kept = read(small)
    assert (kept.scenario.cpus, kept.signature) == (3, whole.signature) and kept.preemptions < whole.preemptions
    assert not list(small.parent.glob(".*")), "nothing half-written is left"
    run = cpuemu(found.parent.parent, "replay", str(small), "--times", "3")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "verdict: the same 3 times of 3"), run.stderr


def test_what_cannot_be_shrunk_or_told(tmp_path: Path, found: Path) -> None:
    for what, arguments in (("shrink", ("--continue-with", "random")),
                            ("story", ("--profile", "v3.4", "--continue-with", "random"))):
        run = cpuemu(tmp_path, "replay", str(found), f"--{what}", *arguments)
        assert run.returncode == 2 and f"--{what} takes a schedule as it is" in run.stderr, run.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_race_of_2012_and_no_more_than_that(found: Path) -> None:
    small = Shrinking(read(found), schedules=1000, jobs=2).run()
    assert (small.scenario.cpus, small.deliveries) == (3, 2), "two interrupts that empty the third one's mask"
    assert small.preemptions <= 3


OPERATIONS = """
from cpuemu.kernel.uapi import Alloc, CallAll, Free
from cpuemu.scenarios.base import Scenario, Task

SCENARIO = Scenario("pages", tasks=tuple(Task(cpu, (Alloc(), CallAll(), Free()), 2) for cpu in range(3)))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_operations_that_it_does_not_need_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "pages.py").write_text(OPERATIONS)
    cpuemu(tmp_path, "explore", "pages.py", "--schedules", "200", "--until-failure", "--strategy", "random", "--save",
           "saved", "--fault", "ipi-doubled:2")
    run = cpuemu(tmp_path, "replay", "saved/pages-1.json", "--shrink", "--schedules", "200", "--json")
    said = json.loads(run.stdout)
    assert (said["before"]["operations"], said["before"]["allowances"]) == (18, 2)
    assert (said["after"]["operations"], said["after"]["allowances"]) == (3, 0), "of each CPU one call"
    line = cpuemu(tmp_path, "replay", "saved/pages-1-small.json", "--one-line").stdout
    assert " skipped=0." in line
    run = cpuemu(tmp_path, "replay", "--pinned", line.strip(), "pages.py")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "verdict: as pinned"), run.stderr


SCENARIO = """
from cpuemu.kernel.uapi import Alloc, CallAll, Free
from cpuemu.scenarios.base import Scenario, Task

SCENARIO = Scenario("busy", tasks=(Task(0, (Alloc(), Free())), Task(0, (CallAll(),), 2), Task(1, (CallAll(),), 2),
                    Task(2, (CallAll(),), 2), Task(3, (Alloc(), CallAll(), Free()))), cpus=4,
                    hotplug=("offline 3", "online 3"))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tasks_and_requests_that_it_does_not_need_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text(SCENARIO)
    cpuemu(tmp_path, "explore", "busy.py", "--schedules", "200", "--until-failure", "--save", "saved")
    run = cpuemu(tmp_path, "replay", "saved/busy-1.json", "--shrink", "--schedules", "300", "--json")
    after = json.loads(run.stdout)["after"]
    assert (after["cpus"], after["tasks"], after["requests"]) == (3, 3, 0)
    run = cpuemu(tmp_path, "replay", "saved/busy-1-small.json")
    assert run.returncode == 0, run.stderr
