"""The story of a failure: a column for each CPU, in the names of the kernel."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cpuemu.explore.failure import failure_of, placement
from cpuemu.explore.pinned import parse
from cpuemu.explore.story import Story, story_of
from cpuemu.explore.story_text import text
from cpuemu.kernel.uapi import Alloc, Call, CallAll, Free
from cpuemu.scenarios.base import Scenario, Task
from tests.explore.test_machine import CALLERS, cpuemu
from tests.explore.test_pinned import LINE

pytestmark = pytest.mark.timeout(110)


@pytest.fixture(scope="module")
def race() -> Story:
    """What was seen in 2012, made small."""
    base = Scenario("Callers", workload=CALLERS, source=CALLERS)
    pinned = parse(LINE.format(placement()))
    return story_of(failure_of(pinned.scenario(base), "pinned", 0, pinned.run(base)))


def test_it_tells_the_race_in_the_order_in_which_it_happened(race: Story) -> None:
    told = [(scene.move.cpu, scene.move.does, scene.move.word or scene.move.source, scene.move.before, scene.move.after)
            for scene in race.scenes if scene.move.word == "cfd[2].cpumask" or scene.move.does == "takes"]
    assert told == [
        (2, "writes", "cfd[2].cpumask", 0, 0b011),
        (1, "takes", "cpu 0", told[1][3], told[1][4]),
        (1, "reads", "cfd[2].cpumask", 0b011, 0b011),
        (1, "writes", "cfd[2].cpumask", 0b011, 0b001),
        (0, "takes", "cpu 1", told[4][3], told[4][4]),
        (0, "reads", "cfd[2].cpumask", 0b001, 0b001),
        (0, "writes", "cfd[2].cpumask", 0b001, 0),
        (2, "reads", "cfd[2].cpumask", 0, 0),
    ]
    assert race.key == "cfd[2]" and race.scenes[-1].key and race.scenes[-1].move.stack[0] == "smp_call_function_many"
    assert [stand.waits for stand in race.ends[:2]] == ["cfd[0].flags", "cfd[1].flags"]


@pytest.mark.parametrize("width", [80, 100, 120, 40])
def test_it_fits(race: Story, width: int) -> None:
    lines = list(text(race, width))
    assert max(map(len, lines)) <= width
    assert next(text(race, 200)) == ("Callers: 3 CPUs, profile v3.2, preempt none; steps 64, interrupts taken 2, "
                                     "preemptions 1")
    assert any("✗ empty-ipi-mask" in line for line in lines)
    assert len(list(text(race, width, everything=True))) > len(lines) + 20


def test_each_cpu_has_its_column(race: Story) -> None:
    lines = list(text(race, 120))
    head = next(line for line in lines if line.lstrip().startswith("cpu 0"))
    places = {cpu: head.index(f"cpu {cpu}") for cpu in range(3)}
    for cpu, line in ((1, r"31 +⇒ call_function from cpu 0"), (0, r"53 ⇒ call_function from cpu 1"),
                      (2, r" +\* ipi_mask: cfd\[2\].cpumask = {}")):
        found = next(each for each in lines if re.fullmatch(rf" *{line}", each))
        assert re.search(r"[⇒*]", found).start() == places[cpu]  # type: ignore[union-attr]


NO_ACKNOWLEDGEMENT = """\
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -1,1 +1,2 @@
     cpu.point(P_CSD_UNLOCK, flags, Kind.WRITE)
+    return
"""


def test_a_deadlock_says_who_waits_for_whom(tmp_path: Path) -> None:
    (tmp_path / "broken.diff").write_text(NO_ACKNOWLEDGEMENT)
    run = cpuemu(tmp_path, "explore", CALLERS, "--patch", "broken.diff", "--strategy", "random", "--schedules", "1",
                 "--until-failure", "--json")
    file, = json.loads(run.stdout)["files"]
    run = cpuemu(tmp_path, "replay", file, "--times", "2")
    assert run.stdout.splitlines()[-1] == "verdict: the same 2 times of 2", run.stderr
    run = cpuemu(tmp_path, "replay", file, "--story", COLUMNS="100")
    assert run.returncode == 0, run.stderr
    assert all(f"waits for cfd[{cpu}].flags" in run.stdout for cpu in range(3))
    assert "cpu 0 (Callers/0) waits in csd_lock_wait for cfds[0].flags since" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 100
    said = json.loads(cpuemu(tmp_path, "replay", file, "--story", "--json").stdout)
    assert (said["verdict"], len(said["waits"]), len(said["ends"])) == ("deadlock", 3, 3)
    assert {"step", "actor", "cpu", "point", "word", "before", "after", "key"} <= said["steps"][0].keys()


def test_the_coordinator_has_a_column_too(tmp_path: Path) -> None:
    """A CPU that leaves with a call on its queue; rows of the walk are told by their names."""
    run = cpuemu(tmp_path, "explore", "zoo:4", "--schedules", "400", "--until-failure", "--save", "saved", "--json")
    file, = json.loads(run.stdout)["files"]
    lines = cpuemu(tmp_path, "replay", file, "--story", COLUMNS="120").stdout.splitlines()
    place = next(line for line in lines if line.endswith("coordinator")).index("coordinator")
    told = [line[place:] for line in lines if line[place:].startswith(("begins", "goes on"))]
    assert told[0] == "begins a request" and any(line.startswith("goes on: take_cpu_down, 3 of ") for line in told)
    assert max(map(len, lines)) <= 120
    assert lines[1:4] == ["4/0, cpu 0: 3 × Call(1, wait=False)", "requests: offline 1", ""], lines[:4]


def test_what_tasks_do(race: Story) -> None:
    does = (*(Alloc(),) * 3, Call(1), Alloc(2), Free())
    scenario = Scenario("mine", (Task(0, does), Task(1, (CallAll(), Free()), 4)), cpus=2, skipped=("0.3",))
    assert replace(race, scenario=scenario).programs == [
        "mine/0, cpu 0: 3 × Alloc, Alloc(order=2), Free", "mine/1, cpu 1: 4 × (CallAll, Free)"]
    assert race.programs == [], "of a workload nothing is known"
