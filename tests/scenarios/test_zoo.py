"""The zoo: every bug is found in its broken variant, by the oracles and by nothing else, and never in the fixed one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cpuemu import patches
from cpuemu.kernel.oracles import RULES
from cpuemu.scenarios.base import Bug
from cpuemu.scenarios.load import bugs
from tests.explore.test_machine import cpuemu

QUICK = ("9",)
"""Found in so few schedules that every run of the tests looks for them."""

ENDINGS = {*RULES, "deadlock"}


def explored(place: Path, *arguments: str) -> dict[str, Any]:
    run = cpuemu(place, "explore", *arguments, "--json")
    assert run.stdout, run.stderr
    said: dict[str, Any] = json.loads(run.stdout)
    return said


def names(bug: Bug, said: dict[str, Any]) -> set[str]:
    """What failed schedules ended with: rules, or deadlock."""
    endings = [signature.removeprefix("failed: ") for signature in said["signatures"]]
    return {ending.split(":")[0].split(" (known")[0] for ending in endings}


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.number)
def test_a_bug_is_data(bug: Bug) -> None:
    assert bool(bug.broken) != bool(bug.fixed), "one of the variants is the tree as it is"
    assert 1 <= patches.changed_lines(bug.broken or bug.fixed) <= 15
    assert bug.expects and set(bug.expects) <= ENDINGS
    assert patches.changes(bug.broken or bug.fixed, bug.number), "it fits this kernel"
    assert bug.release and (bug.commit or bug.constructed)


@pytest.mark.timeout(110)
@pytest.mark.parametrize("number", QUICK)
def test_a_quick_one_is_found_and_its_fix_is_silent(tmp_path: Path, number: str) -> None:
    _found(tmp_path, number, "200")
    _silent(tmp_path, number, "56")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.number)
def test_every_one_is_found_and_its_fix_is_silent(tmp_path: Path, bug: Bug) -> None:
    _found(tmp_path, bug.number, "10000")
    _silent(tmp_path, bug.number, "2000")


def _found(place: Path, number: str, schedules: str) -> None:
    bug = next(bug for bug in bugs() if bug.number == number)
    said = explored(place, f"zoo:{number}", "--schedules", schedules, "--until-failure")
    assert said["failures"] and names(bug, said) <= set(bug.expects), said["signatures"]
    for file in said["files"][:1]:
        assert cpuemu(place, "replay", file, "--times", "3").returncode == 0


def _silent(place: Path, number: str, schedules: str) -> None:
    """The fixed variant; and the broken one when nobody looks, but that it may stand still."""
    said = explored(place, f"zoo:{number}/fixed", "--schedules", schedules)
    assert said["failures"] == 0, said["signatures"]
    said = explored(place, f"zoo:{number}", "--schedules", "56", "--no-oracles")
    assert set(map(_first, said["signatures"])) <= {"deadlock", "limit"}, said["signatures"]


def _first(signature: str) -> str:
    return signature.split(":")[0]
