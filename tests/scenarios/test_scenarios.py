"""Scenarios: data that explore and launch run; CPUs that go and come as decisions; patched kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cpuemu.errors import UserError
from cpuemu.kernel.uapi import Alloc, CallAll, Free
from cpuemu.scenarios.base import Scenario, Task, spans
from cpuemu.scenarios.load import load_scenario, of_record, record_of
from tests.explore.test_machine import CALLERS, cpuemu
from tests.launched import ROOT

pytestmark = pytest.mark.timeout(110)

PLUGGED = f"{ROOT}/tests/scenarios/plugged.py"
REREADS = """\
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -1,1 +1,1 @@
-    private = bool(cpu.header.private_ipi_mask)
+    private = False
"""


def explored(place: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    run = cpuemu(place, "explore", *arguments, "--json")
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


def test_a_cpu_goes_and_comes_by_decision(tmp_path: Path) -> None:
    code, said = explored(tmp_path, PLUGGED, "--schedules", "28")
    assert (code, said["failures"]) == (0, 0)
    assert said["orders"] > 20, "when it goes is the schedule's choice"
    run = cpuemu(tmp_path, "explore", PLUGGED, "--self-check", "3")
    assert run.returncode == 0, run.stdout


LATE = """
from cpuemu.kernel.uapi import Call
from cpuemu.scenarios.base import Scenario, Task
SCENARIO = Scenario("late", (Task(0, (Call(1), Call(2))),), cpus=3, maxcpus=2, hotplug=("online 2",))
"""


def test_a_cpu_that_was_not_brought_up_comes_later(tmp_path: Path) -> None:
    """It is called before or after: the call of a CPU that is not there is none."""
    (tmp_path / "late.py").write_text(LATE)
    code, said = explored(tmp_path, "late.py", "--strategy", "random", "--schedules", "20")
    assert (code, said["failures"]) == (0, 0)
    assert said["orders"] > 10


def test_a_scenario_is_a_workload_that_runs_free(tmp_path: Path) -> None:
    run = cpuemu(tmp_path, "launch", "--cpus", "3", "--workload", f"{PLUGGED}:SCENARIO", "--seconds", "0.3",
                 "--hotplug", "1", "--profile", "v3.4", "--json")
    said = json.loads(run.stdout)
    assert (run.returncode, said["verdict"]) == (0, "ok"), run.stdout
    assert said["counts"]["ipi_sent"] > 2 and said["counts"]["alloc"] > 2


def test_what_a_file_keeps_of_a_scenario_leads_back_to_it() -> None:
    scenario = load_scenario(PLUGGED, cpus=4, left_out=(1,), hotplug=("offline 3",))
    assert of_record(json.loads(json.dumps(record_of(scenario)))) == scenario
    assert [plan.home for plan in scenario.plans()] == [0] and scenario.requests == [(3, False)]


CALL = Task(0, (CallAll(),))


@pytest.mark.parametrize(("parts", "sentence"), [
    ({}, "give it tasks, or a workload"),
    ({"tasks": (CALL,), "workload": "storm"}, "give it tasks, or a workload"),
    ({"tasks": (CALL,), "cpus": 17}, "17 CPUs"),
    ({"tasks": (Task(3, (CallAll(),)),)}, "at home on CPU 3"),
    ({"tasks": (Task(0, ()),)}, "does nothing"),
    ({"tasks": (CALL,), "left_out": (0,)}, "all of its tasks are left out"),
    ({"tasks": (CALL,), "skipped": ("0.0",)}, "task 0 does nothing"),
    ({"tasks": (CALL,), "skipped": ("0.1",)}, "skipped '0.1'; say TASK.PLACE"),
    ({"tasks": (CALL,), "skipped": ("1.0",)}, "skipped '1.0'"),
    ({"tasks": (CALL,), "skipped": ("first",)}, "skipped 'first'"),
    ({"workload": "storm", "skipped": ("0.0",)}, "skipped '0.0'"),
    ({"tasks": (CALL,), "hotplug": ("offline 0",)}, "CPU 0 stays"),
    ({"tasks": (CALL,), "hotplug": ("go 1",)}, 'say "offline N"'),
    ({"tasks": (CALL,), "maxcpus": 0}, "maxcpus is 0"),
])
def test_what_cannot_be_a_scenario(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        Scenario("mine", **parts)
    assert str(refused.value).startswith("scenario mine: ") and sentence in str(refused.value)


def test_operations_that_are_skipped() -> None:
    """Counted over all rounds: a task that does two things three times has six places."""
    scenario = Scenario("mine", tasks=(Task(0, (Alloc(), Free()), 3), CALL), skipped=("0.1-2", "0.4"))
    assert scenario.present == (Task(0, (Alloc(), Free(), Free())), CALL)
    assert [plan.end for plan in scenario.plans()] == [3, 1]
    assert spans(0, scenario.skips(0)) == scenario.skipped and not scenario.skips(1)


def test_an_operation_that_is_none_is_told_as_the_scenarios_mistake(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from cpuemu.scenarios.base import Scenario, Task\n"
                                      "SCENARIO = Scenario('mine', tasks=(Task(0, ('jump',)),), cpus=2)\n")
    code, said = explored(tmp_path, "mine.py", "--schedules", "1")
    assert code == 1 and "'jump', which is no operation" in next(iter(said["signatures"]))


def test_a_hang_comes_back_in_the_same_words(tmp_path: Path) -> None:
    code, said = explored(tmp_path, "zoo:7", "--schedules", "100", "--until-failure")
    assert code == 1 and next(iter(said["signatures"])).startswith("deadlock: "), said
    run = cpuemu(tmp_path, "replay", said["files"][0], "--times", "2")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "verdict: the same 2 times of 2"), run.stdout


def test_a_patched_kernel_is_the_one_that_runs(tmp_path: Path) -> None:
    (tmp_path / "rereads.diff").write_text(REREADS)
    arguments = (CALLERS, "--profile", "v3.4", "--strategy", "random", "--schedules", "100", "--until-failure")
    code, said = explored(tmp_path, *arguments, "--patch", "rereads.diff")
    assert code == 1 and next(iter(said["signatures"])).startswith("failed: empty-ipi-mask")
    (tmp_path / "rereads.diff").unlink()
    run = cpuemu(tmp_path, "replay", said["files"][0], "--times", "2")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "verdict: the same 2 times of 2"), run.stderr
    run = cpuemu(tmp_path, "explore", CALLERS, "--patch", "rereads.diff")
    assert run.returncode == 2 and "rereads.diff: cannot be read" in run.stderr


def test_what_the_oracles_find_can_be_thrown_away(tmp_path: Path) -> None:
    code, said = explored(tmp_path, CALLERS, "--strategy", "random", "--schedules", "30", "--no-oracles")
    assert (code, said["failures"]) == (0, 0), "one in five fails, for whoever looks"
