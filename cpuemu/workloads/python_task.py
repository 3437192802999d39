"""A user's own program: ``my_file.py:MyWorkload``.

The class needs ``next(self, task)``, which returns an operation of cpuemu.kernel.uapi; ``tasks`` and ``operations`` may
say how many tasks there are and how many operations each does.  The class is loaded twice: here, to find every mistake
before a machine is started, and in each CPU's process.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cpuemu.kernel.uapi import (
    Alloc,
    Breakpoint,
    Call,
    CallAll,
    CallAny,
    CallMany,
    Exit,
    Free,
    Io,
    Kexec,
    Nmi,
    Operation,
    PercpuPagelistFraction,
    ProgramError,
    Reschedule,
    Sleep,
    SoftOffline,
    StopMachine,
    Synchronize,
    UserProgram,
    UserTask,
)
from cpuemu.layout import HELD_PAGES, MAX_ORDER, MigrateType, Program
from cpuemu.workloads.base import InputError, Request, TaskPlan, Workload

EXAMPLE = "my_file.py:MyWorkload"
TASKS_A_CPU = 1
MAX_TASKS = 4096
MODULE = "cpuemu_user_workload"


def python_workload(spec: str, request: Request) -> Workload:
    """Tasks that run the user's program.  Raises InputError on every mistake that shows before it runs."""
    path, name = split(spec)
    made = instance(spec)
    if isinstance(made, Planned):
        return Workload(name, made.plans(request.operations), python_path=f"{path.resolve()}:{name}")
    tasks = request.tasks if request.tasks is not None else _number(made, "tasks", spec, TASKS_A_CPU * request.cpus)
    operations = request.operations or _number(made, "operations", spec, 0)
    held_limit = _number(made, "held_limit", spec, HELD_PAGES)
    if not 1 <= tasks <= MAX_TASKS:
        raise InputError(f"--workload {spec}: {name}.tasks is {tasks}; give 1 to {MAX_TASKS}")
    plans = [TaskPlan(f"{name[:11]}/{number}"[:15], Program.PYTHON, number % request.cpus, operations,
                      held_limit=min(held_limit, HELD_PAGES))
             for number in range(tasks)]
    return Workload(name, plans, python_path=f"{path.resolve()}:{name}")


@runtime_checkable
class Planned(Protocol):
    """A program that says itself what tasks there are: a scenario."""

    def plans(self, operations: int | None = None) -> list[TaskPlan]:
        """``operations``: of each, 0 until they are stopped, None: as many as it says itself."""

    def next(self, task: UserTask) -> Operation: ...


class Guarded:
    """A user's program whose mistakes are told as its own: it raises ProgramError and nothing else."""

    def __init__(self, user: UserProgram, path: Path) -> None:
        self._user, self._path = user, path

    def next(self, task: UserTask) -> Operation:
        try:
            operation = self._user.next(task)
        except Exception as error:
            raise ProgramError(f"next() failed: {_told(error, self._path)}") from None
        match operation:
            case Alloc(int(order), int(kind)) if 0 <= order < MAX_ORDER and 0 <= kind < MigrateType.PCPTYPES:
                return operation
            case Sleep(int(microseconds)) if microseconds >= 0:
                return operation
            case Free(int()) | Call(int(), bool()) | CallAll() | Io(int()) | Reschedule(int()) | Nmi(int()):
                return operation
            case Breakpoint() | StopMachine() | Kexec() | Synchronize() | Exit():
                return operation
            case PercpuPagelistFraction(int()) | SoftOffline():
                return operation
            case CallAny(tuple(cpus)) | CallMany(tuple(cpus), bool()) if all(isinstance(cpu, int) for cpu in cpus):
                return operation
        raise ProgramError(f"next() returned {operation!r}, which is no operation of cpuemu.kernel.uapi, or one with "
                           f"arguments that cannot be (orders are 0 to {MAX_ORDER - 1})")


def program(spec: str) -> Guarded:
    """The program of one process.  Raises InputError."""
    return Guarded(instance(spec), split(spec)[0])


def attribute(spec: str) -> Any:
    """What stands under the name in the user's file.  Raises InputError."""
    path, name = split(spec)
    module = _module(path, spec)
    found = getattr(module, name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == MODULE]
        raise InputError(f"--workload {spec}: {path} has no class {name!r}" +
                         (f"; it has {', '.join(classes)}" if classes else ""))
    return found


def instance(spec: str) -> UserProgram:
    """An object of the user's class, or a scenario.  Raises InputError."""
    path, name = split(spec)
    made = attribute(spec)
    made = getattr(made, "scenario", made)  # a bug of the zoo: what its tasks do
    if isinstance(made, Planned) and not inspect.isclass(made):
        inner = getattr(made, "workload", None)
        return instance(inner) if inner else made
    if not inspect.isclass(made):
        raise InputError(f"--workload {spec}: {name} in {path} is no class")
    if not callable(getattr(made, "next", None)):
        raise InputError(f"--workload {spec}: class {name} has no method next(self, task)")
    try:
        user: Any = made()
    except Exception as error:
        raise InputError(f"--workload {spec}: {name}() failed: {_told(error, path)}") from None
    try:
        inspect.signature(user.next).bind(None)
    except TypeError:
        raise InputError(f"--workload {spec}: {name}.next must take one argument, the task: next(self, task)") from None
    return user  # type: ignore[no-any-return]


def split(spec: str) -> tuple[Path, str]:
    """The file and the class."""
    path, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier():
        raise InputError(f"--workload {spec}: say which class of the file it is, as in {EXAMPLE}")
    return Path(path), name


def _module(path: Path, spec: str) -> Any:
    if not path.is_file():
        raise InputError(f"--workload {spec}: {path} is {'a directory' if path.is_dir() else 'not there'}")
    made = importlib.util.spec_from_file_location(MODULE, path)
    if made is None or made.loader is None:
        raise InputError(f"--workload {spec}: {path} is not a Python file")
    module = importlib.util.module_from_spec(made)
    sys.modules[MODULE] = module  # dataclasses look their module up
    # What lies beside the file can be imported, as when it is run; a file of bytecode is not left there.
    beside, writes = str(path.resolve().parent), sys.dont_write_bytecode
    if beside not in sys.path:
        sys.path.append(beside)
    sys.dont_write_bytecode = True
    try:
        made.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"--workload {spec}: {path} cannot be loaded: {_told(error, path)}") from None
    finally:
        sys.dont_write_bytecode = writes
    return module


def _told(error: BaseException, path: Path) -> str:
    """An exception in one line, with the line of the user's file where it came from."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    said = " ".join(str(error).split())
    return (f"line {lines[-1]}: " if lines else "") + type(error).__name__ + (f": {said}" if said else "")


def _number(made: UserProgram, name: str, spec: str, default: int) -> int:
    value = getattr(made, name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"--workload {spec}: {name} is {value!r}; give a number that is not negative")
    return value
