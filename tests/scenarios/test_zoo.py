"""The zoo: every bug is what it says, found by the oracles alone, and gone in the kernel that is mended."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpuemu import patches
from cpuemu.scenarios.base import Bug
from cpuemu.scenarios.load import bugs, mending, module_of, story_of
from tests.explore.test_machine import cpuemu
from tests.launched import ROOT
from tools.document_zoo import PAGE, median_of, page

pytestmark = pytest.mark.timeout(110)

BUGS = bugs()
each_bug = pytest.mark.parametrize("bug", BUGS, ids=[f"{bug.number}-{bug.name}" for bug in BUGS])
MOST_LINES = 15
TELLING = ("Seen", "Mechanism", "Commit", "Fix", "Here")


def zoo(place: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    run = cpuemu(place, "zoo", *arguments, "--json")
    assert run.returncode == code, run.stdout + run.stderr
    said: dict[str, Any] = json.loads(run.stdout)
    return said


@each_bug
def test_a_bug_differs_from_its_mending_in_few_lines_of_the_kernel(bug: Bug) -> None:
    assert bool(bug.broken) != bool(bug.fixed), "one of the two is the tree as it is"
    assert 0 < patches.changed_lines(mending(bug)) <= MOST_LINES
    for change in patches.changes(bug.broken or bug.fixed):
        compile(change.after, change.path, "exec")
    assert (bug.commit or bug.constructed) and bug.release and bug.expects
    told = story_of(bug)
    assert told.startswith(f"{bug.number}: ") and all(f"\n{word}:" in told for word in TELLING), told


@each_bug
def test_a_bugs_file_is_data(bug: Bug) -> None:
    """No function, loop, branch or check: it says what is there, and nothing about how it goes wrong."""
    tree = ast.parse(inspect.getsource(module_of(bug)))
    kinds = {type(node) for node in ast.walk(tree)}
    assert not kinds & {ast.FunctionDef, ast.Lambda, ast.For, ast.While, ast.If, ast.Assert, ast.Raise, ast.Try,
                        ast.ClassDef}
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} - {"__future__"}
    assert names <= {"cpuemu.kernel.uapi", "cpuemu.scenarios.base", "cpuemu.layout"}


def test_the_list(tmp_path: Path) -> None:
    said = zoo(tmp_path)["bugs"]
    assert [each["number"] for each in said] == [bug.number for bug in BUGS]
    assert zoo(tmp_path, "list")["bugs"] == said
    run = cpuemu(tmp_path, "zoo")
    assert run.returncode == 0 and all(bug.name in run.stdout for bug in BUGS)
    number = BUGS[0].number
    assert cpuemu(tmp_path, "zoo", "show", number).stdout.startswith(f"{number}: ")
    assert cpuemu(tmp_path, "zoo", "diff", BUGS[0].name).stdout == mending(BUGS[0])
    run = cpuemu(tmp_path, "zoo", "diff", "dodo")
    assert run.returncode == 2 and f"it has {number} ({BUGS[0].name})" in run.stderr


def test_a_run_finds_the_broken_kernel_and_believes_the_mended_one(tmp_path: Path) -> None:
    found, = zoo(tmp_path, "run", "9", "--schedules", "21", "--fixed-schedules", "14")["bugs"]
    assert found["as_expected"] and 0 < found["broken"]["first"] <= found["broken"]["schedules"] == 26
    assert (found["fixed"]["failures"], found["fixed"]["schedules"]) == (0, 19)


def test_a_clone_that_was_never_built_hides_nothing(tmp_path: Path) -> None:
    """Whoever installed cpuemu from a clone still stands in it."""
    (tmp_path / "cpuemu").mkdir()
    (tmp_path / "cpuemu" / "__init__.py").write_text("raise ImportError('not this one')\n")
    command = [sys.executable, "-P", "-m", "cpuemu", "zoo", "run", "--pinned", "13b"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False,
                         env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.returncode == 0 and run.stdout.endswith("1 of 1 as expected\n"), run.stdout + run.stderr


def test_processes_that_nobody_conducts(tmp_path: Path) -> None:
    found, = zoo(tmp_path, "run", "9", "--free", "3")["bugs"]
    assert found["free"]["found"] >= 1 and found["free"]["operations"] > 100


@each_bug
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_it_is_found_by_the_oracles_and_by_nothing_else(bug: Bug, tmp_path: Path) -> None:
    found, = zoo(tmp_path, "run", bug.number, "--schedules", "300", "--fixed-schedules", "300")["bugs"]
    assert found["as_expected"], found
    run = cpuemu(tmp_path, "explore", f"zoo:{bug.number}/broken", "--no-oracles", "--schedules", "140", "--json")
    said = json.loads(run.stdout)
    assert {signature.partition(":")[0] for signature in said["signatures"]} <= {"limit"}, said["signatures"]


def test_the_page_is_what_the_files_say() -> None:
    text = PAGE.read_text()
    assert page(text) == text, "python -m tools.document_zoo"


def test_a_median_of_schedules() -> None:
    assert [median_of(share) for share in (1, 0.5, 0.3, 0.01)] == [1, 1, 2, 69]
