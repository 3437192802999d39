"""A scenario is a test in somebody else's suite: what it prints when it fails, and that it passes when it should."""

from __future__ import annotations

import re
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from cpuemu import testing
from cpuemu.errors import UserError
from cpuemu.scenarios.base import Scenario
from tests.explore.test_machine import CALLERS
from tests.explore.test_pinned import LINE
from tests.launched import ROOT

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(110)

SUITE = '''
from cpuemu.kernel.uapi import CallAll
from cpuemu.scenarios.base import Scenario, Task
from cpuemu.testing import explore

CALLS = Scenario("calls", tasks=tuple(Task(cpu, (CallAll(),), 2) for cpu in range(3)))


def test_v34_sends_to_whom_it_meant(cpuemu_explore):
    said = cpuemu_explore(CALLS, schedules=7, profile="v3.4")
    assert (said["failures"], said["schedules"]) == (0, 12)


def test_v32_does(cpuemu_explore):
    cpuemu_explore("test_theirs.py:CALLS", schedules=200, strategy="random", shrink=40)
'''


def test_in_somebody_elses_suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(test_theirs=SUITE)
    pytester.makeini("[pytest]\n")
    loaded = any(each.name == "cpuemu" for each in entry_points(group="pytest11"))
    run = pytester.runpytest_subprocess(*(() if loaded else ("-p", "cpuemu.pytest_plugin")), "-q", timeout=100)
    run.assert_outcomes(passed=1, failed=1)
    told = "\n".join(line.removeprefix("E").strip() for line in run.outlines)
    assert "AssertionError: 1 of " in told and "failed: empty-ipi-mask (known: 13b)" in told
    assert "✗ empty-ipi-mask" in told and "⇒ call_function from cpu" in told, "the story"
    line = re.search(r"pinned:  (calls cpus=3 .* -> empty-ipi-mask)", told)
    again = re.search(r"again:   cpuemu replay (\S+-small\.json)", told)
    assert line and again and Path(again[1]).is_file()
    assert testing.replay(line[1], f"{pytester.path}/test_theirs.py:CALLS")["met"]


def test_a_pinned_schedule_in_a_test() -> None:
    line = LINE.format("0" * 12)
    assert testing.replay(line, CALLERS)["met"]
    said = testing.replay(line, CALLERS, profile="v3.4", continue_with="onward")
    assert (said["met"], said["verdict"]) == (False, "ok")


@pytest.mark.parametrize(("scenario", "options", "sentence"), [
    ("nobody.py", {}, "nobody.py"),
    (CALLERS, {"profile": "v9"}, "--profile v9: unknown"),
    (CALLERS, {"strategy": "luck"}, "--strategy luck: unknown"),
    (Scenario("lost", workload=CALLERS), {}, "scenario lost: held by no module"),
])
def test_what_cannot_be_explored_is_told_in_a_sentence(tmp_path: Path, scenario: str | Scenario,
                                                       options: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        testing.explore(scenario, save=tmp_path / "saved", **options)  # type: ignore[arg-type]
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_nothing_is_left_of_a_test_that_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = testing.explore(CALLERS, schedules=2, cpus=2, strategy=("pos", "pct:2"))
    assert (said["failures"], set(said["strategies"])) == (0, {"pos", "pct:2", "profile"})
    assert not list(tmp_path.iterdir())
