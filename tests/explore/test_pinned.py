"""A schedule in one line of text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpuemu.errors import UserError
from cpuemu.explore.actors import coordinator
from cpuemu.explore.failure import placement
from cpuemu.explore.pinned import parse, runs_of
from cpuemu.kernel.uapi import CallAll
from cpuemu.layout import Vector
from cpuemu.scenarios.base import Scenario, Task
from tests.explore.test_machine import CALLERS, cpuemu
from tests.explore.traces import CALLERS as SCENARIO

pytestmark = pytest.mark.timeout(110)

STEPS = "0*20 2*10 irq1.call 1*21 irq0.call 0*9 2*2"
LINE = f"Callers cpus=3 profile=v3.2 preempt=none points={{}}: {STEPS} -> empty-ipi-mask"
"""What Gilad Ben-Yossef saw in 2012: while CPU 2 has published its block and not yet looked at its mask, the interrupts
of CPU 0 and CPU 1 make the other one walk the queue, and clear its bit."""


def test_the_race_of_2012_is_one_line(tmp_path: Path) -> None:
    line = LINE.format(placement())
    run = cpuemu(tmp_path, "replay", "--pinned", line, CALLERS)
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "verdict: as pinned"), run.stderr
    assert run.stdout.startswith("failed: empty-ipi-mask (known: 13b): ")
    run = cpuemu(tmp_path, "replay", "--pinned", line, CALLERS, "--profile", "v3.4")
    assert run.returncode == 2 and "a schedule of profile v3.2, and v3.4 is asked for" in run.stderr
    run = cpuemu(tmp_path, "replay", "--pinned", line, CALLERS, "--profile", "v3.4", "--continue-with", "onward",
                 "--json")
    said = json.loads(run.stdout)
    assert (run.returncode, said["met"], said["verdict"]) == (1, False, "ok")
    assert said["continued"]["parted"].startswith("step 64: the recorded schedule is over, and those who can are: cpu "
                                                  "2 at apic:raise, "), "where v3.2 sends to nobody, v3.4 sends"


@pytest.mark.parametrize(("change", "sentence"), [
    (("2*10", "2*1"), "pinned line of Callers: step 40: cpu 1 was to move, and those who can are: "),
    (("0*20", "7*20"), "lets '7' move, and nobody is called so on 3 CPUs"),
    (("Callers ", "13b "), "the pinned line is of scenario 13b, and Callers is given"),
    (("cpus=3", "cpus=99"), "99 CPUs; a scenario has 1 to 16"),
    (("cpus=3", "cpus=many"), "not a pinned schedule: cpus=many"),
    (("cpus=3", "luck=3"), "'luck' is nothing that it can say"),
    (("cpus=3 ", ""), "it lacks cpus, profile, preempt or points"),
    (("2*10", "2**10"), "word 2 of its steps is '2**10'"),
    ((" -> empty-ipi-mask", ""), "this one seems to be cut short"),
    ((LINE, "0*3"), "not a pinned schedule: one is SCENARIO cpus=N"),
])
def test_a_line_that_does_not_fit(change: tuple[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(LINE.replace(*change).format(placement())).run(Scenario("Callers", workload=SCENARIO.workload))
    assert sentence in str(refused.value)


def test_a_line_of_other_code_says_so_when_it_no_longer_fits() -> None:
    base = Scenario("Callers", workload=SCENARIO.workload)
    assert parse(LINE.format("0" * 12)).run(base).bad, "as long as it fits, nobody minds"
    with pytest.raises(UserError, match="it was pinned to other kernel code"):
        parse(LINE.format("0" * 12).replace("2*10", "2*1")).run(base)


def test_a_line_is_read_as_it_was_written() -> None:
    line = (f"so_busy cpus=2 profile=v3.4 preempt=full hotplug=offline+1,online+1 left_out=0,2 points={placement()}: "
            "0*3 plug irq1.call 0 -> deadlock")
    pinned = parse(line)
    assert pinned.line == line and list(runs_of(["0", "0", "1", "0"])) == [("0", 2), ("1", 1), ("0", 1)]
    scenario = pinned.scenario(Scenario("so busy", tasks=(Task(0, (CallAll(),)),) * 3, cpus=4))
    assert (scenario.cpus, scenario.hotplug, scenario.left_out) == (2, ("offline 1", "online 1"), (0, 2))
    assert [step.actor for step in pinned.steps(2)] == [
        0, 0, 0, coordinator(2), 2 + Vector.NR + Vector.CALL_FUNCTION, 0]


def test_a_failure_is_pinned(tmp_path: Path) -> None:
    run = cpuemu(tmp_path, "explore", CALLERS, "--strategy", "random", "--until-failure", "--save", "saved", "--json")
    file, = json.loads(run.stdout)["files"]
    line = cpuemu(tmp_path, "replay", file, "--one-line").stdout
    assert line.count("\n") == 1
    run = cpuemu(tmp_path, "replay", "--pinned", line, CALLERS)
    assert run.stdout.splitlines()[-1] == "verdict: as pinned", run.stderr
