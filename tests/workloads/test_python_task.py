"""A user's own workload: loaded, and every mistake told in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpuemu.kernel.uapi import ProgramError
from cpuemu.layout import HELD_PAGES, Program
from cpuemu.workloads.base import InputError, Request
from cpuemu.workloads.load import load
from cpuemu.workloads.python_task import program

pytestmark = pytest.mark.timeout(60)

GOOD = """
import dataclasses
import beside
from cpuemu.kernel.uapi import Alloc, Exit

@dataclasses.dataclass
class Mine:
    tasks = 5
    operations = 300
    count: int = 0

    def next(self, task):
        self.count += 1
        return Alloc(beside.ORDER) if self.count < 3 else Exit()

NUMBER = 3
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("ORDER = 2\n")
    path = tmp_path / "my_file.py"
    path.write_text(GOOD)
    return path


def test_tasks_and_operations_are_the_class_s(good: Path) -> None:
    workload = load(f"{good}:Mine", Request(2))
    assert workload.name == "Mine"
    assert [(task.comm, task.home, task.end) for task in workload.tasks[:3]] == [
        ("Mine/0", 0, 300), ("Mine/1", 1, 300), ("Mine/2", 0, 300),
    ]
    assert len(workload.tasks) == 5
    assert all(task.program == Program.PYTHON and task.held_limit == HELD_PAGES for task in workload.tasks)
    assert workload.python_path == f"{good}:Mine"


def test_the_command_line_wins(good: Path) -> None:
    workload = load(f"{good}:Mine", Request(2, tasks=2, operations=7))
    assert [task.end for task in workload.tasks] == [7, 7]


def test_each_process_has_its_own_instance(good: Path) -> None:
    first, second = program(f"{good}:Mine"), program(f"{good}:Mine")
    assert first is not second
    assert repr(first.next(None)) == "Alloc(order=2, migratetype=<MigrateType.MOVABLE: 2>)"  # type: ignore[arg-type]


def test_nothing_is_left_beside_the_file(good: Path) -> None:
    before = set(good.parent.iterdir())
    load(f"{good}:Mine", Request(2))
    assert set(good.parent.iterdir()) == before


@pytest.mark.parametrize(("body", "told"), [
    ("1 / 0", r"next\(\) failed: line 4: ZeroDivisionError: division by zero"),
    ("7", r"next\(\) returned 7, which is no operation"),
    ("None", "returned None"),
    ("Alloc(order=11)", r"orders are 0 to 10"),
    ("Alloc(migratetype=4)", "arguments that cannot be"),
    ("Sleep(-1)", "arguments that cannot be"),
    ("Free('x')", "arguments that cannot be"),
])
def test_mistakes_while_it_runs(tmp_path: Path, body: str, told: str) -> None:
    path = tmp_path / "my_file.py"
    path.write_text(f"from cpuemu.kernel.uapi import *\nclass Mine:\n  def next(self, task):\n    return {body}\n")
    with pytest.raises(ProgramError, match=told):
        program(f"{path}:Mine").next(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "name", "told"), [
    (GOOD, "Yours", r"has no class 'Yours'; it has Mine"),
    (GOOD, "NUMBER", "NUMBER in .* is no class"),
    (GOOD, "", "say which class of the file it is, as in my_file.py:MyWorkload"),
    ("x = = 1", "Mine", r"cannot be loaded: line 1: SyntaxError"),
    ("\nimport there_is_no_such_module", "Mine", "line 2: ModuleNotFoundError: No module named"),
    ("import sys\nsys.exit(3)", "Mine", "line 2: SystemExit: 3"),
    ("class Mine: pass", "Mine", r"class Mine has no method next\(self, task\)"),
    ("class Mine:\n  def next(self): pass", "Mine", "must take one argument"),
    ("class Mine:\n  next = 3", "Mine", "has no method next"),
    ("class Mine:\n  def __init__(self):\n    1 / 0\n  def next(self, task): pass", "Mine",
     r"Mine\(\) failed: line 3: ZeroDivisionError"),
    ("class Mine:\n  tasks = 'many'\n  def next(self, task): pass", "Mine", "tasks is 'many'"),
    ("class Mine:\n  tasks = 0\n  def next(self, task): pass", "Mine", "give 1 to 4096"),
    ("class Mine:\n  operations = -1\n  def next(self, task): pass", "Mine", "operations is -1"),
])
def test_mistakes(tmp_path: Path, text: str, name: str, told: str) -> None:
    path = tmp_path / "my_file.py"
    path.write_text(text)
    (tmp_path / "beside.py").write_text("ORDER = 2\n")
    with pytest.raises(InputError, match=told) as raised:
        load(f"{path}:{name}" if name else str(path), Request(2))
    assert "\n" not in str(raised.value)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        load(f"{tmp_path}/none.py:Mine", Request(2))
    (tmp_path / "directory.py").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        load(f"{tmp_path}/directory.py:Mine", Request(2))
