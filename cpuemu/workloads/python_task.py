"""``FILE.py:CLASS``: a user's own program.

    from cpuemu.kernel.uapi import Alloc, Exit, Free

    class Burst:
        tasks = 4                      # tasks, spread over the CPUs; default: one a CPU
        operations = 1000              # operations of each task; 0: until it returns Exit()

        def next(self, task):          # asked once an operation, on whatever CPU the task runs
            if len(task.held) < 50 and not task.failed:
                return Alloc(order=task.random(3))
            return Free(task.random(len(task.held)))

Each CPU's process has its own instance: what must last stands in ``task.vars`` (eight words in RAM).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from cpuemu.kernel.uapi import UserProgram
from cpuemu.layout import Program
from cpuemu.workloads.base import InputError, Request, TaskPlan, Workload

DEFAULT_OPERATIONS = 10_000
MAX_TASKS = 4096
MODULE = "cpuemu_user_workload"


def python_workload(spec: str, request: Request) -> Workload:
    """The class looked up and asked how many tasks it wants.  Raises InputError."""
    chosen = _class(spec)
    count = request.tasks or _number(chosen, "tasks", request.cpus, spec)
    operations = request.operations if request.operations is not None else _number(chosen, "operations",
                                                                                  DEFAULT_OPERATIONS, spec)
    if not 0 < count <= MAX_TASKS:
        raise InputError(f"--workload {spec}: tasks is {count}, it must be 1 to {MAX_TASKS}")
    name = spec.rpartition(":")[2]
    tasks = [TaskPlan(f"{name[:11]}/{number}", Program.PYTHON, number % request.cpus, operations)
             for number in range(count)]  # fmt: skip
    path, _, cls = spec.rpartition(":")
    return Workload(name, tasks, python_path=f"{Path(path).resolve()}:{cls}")


def program(spec: str) -> UserProgram:
    """An instance, in the process of a CPU."""
    instance: UserProgram = _class(spec)()
    return instance


def _class(spec: str) -> type[Any]:
    path, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier():
        raise InputError(f"--workload {spec}: name the class too, as in {spec.split(':')[0]}:MyWorkload")
    chosen = getattr(_module(Path(path), spec), name, None)
    if not isinstance(chosen, type):
        raise InputError(f"--workload {spec}: there is no class {name} in {path}")
    if not callable(getattr(chosen, "next", None)):
        raise InputError(f"--workload {spec}: class {name} has no method next(self, task)")
    return chosen


def _module(path: Path, spec: str) -> ModuleType:
    if not path.is_file():
        raise InputError(f"--workload {spec}: there is no file {path}")
    found = importlib.util.spec_from_file_location(MODULE, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"--workload {spec}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _number(chosen: type[Any], name: str, default: int, spec: str) -> int:
    value = getattr(chosen, name, default)
    if not isinstance(value, int) or value < 0:
        raise InputError(f"--workload {spec}: {name} is {value!r}, it must be a number")
    return value
