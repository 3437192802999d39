"""Scenarios as tests of somebody else's suite: an exploration that fails is an AssertionError that tells the story.

Each runs in a process of its own: a scenario may want another kernel than the one before, and a test's process may hold
threads, which do not go together with a fork.
"""

from __future__ import annotations

import inspect
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpuemu.errors import UserError
from cpuemu.itself import run_itself

if TYPE_CHECKING:
    from cpuemu.scenarios.base import Scenario

__all__ = ["explore", "replay"]

WRONG = 2
WIDTH = 100


def explore(scenario: str | Scenario, *, schedules: int = 100, strategy: str | Sequence[str] = (), seed: int = 1,
            jobs: int = 2, shrink: int = 300, save: str | Path | None = None, **machine: Any) -> dict[str, Any]:
    """Explore ``schedules`` schedules; what ``cpuemu explore --json`` says of them.

    ``scenario``: as the command takes it, or a Scenario that some module holds.  ``strategy``: one or several, as
    ``--strategy``.  ``shrink``: how many schedules may be spent on making a failure small.  ``save``: where failures
    stay; default a directory of their own that is kept when there is one.  ``machine``: cpus, memory, profile, preempt,
    policy, patch (a file).

    Raises AssertionError with the story of the first failure and the line that pins it, UserError for what cannot be
    explored.
    """
    place = Path(save) if save is not None else Path(tempfile.mkdtemp(prefix="cpuemu-test-"))
    words = ["--schedules", str(schedules), "--seed", str(seed), "--jobs", str(jobs), "--until-failure",
             "--save", str(place), "--json"]
    for name in [strategy] if isinstance(strategy, str) else strategy:
        words += ["--strategy", name]
    for key, value in machine.items():
        words += [f"--{key}", str(value)]
    said: dict[str, Any] = json.loads(_cpuemu("explore", _spec(scenario), *words))
    if said["failures"]:
        raise AssertionError(_told(said, shrink))
    if save is None:
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
    return said


def replay(line: str, scenario: str | Scenario, **machine: Any) -> dict[str, Any]:
    """Run a pinned schedule; what ``cpuemu replay --pinned --json`` says: ``met`` when it ended as it was pinned.

    ``machine``: profile, preempt, patch (a file), continue_with.  Raises UserError where it can no longer be followed.
    """
    words = [word for key, value in machine.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    found: dict[str, Any] = json.loads(_cpuemu("replay", "--pinned", line, _spec(scenario), "--json", *words))
    return found


def _told(said: dict[str, Any], shrink: int) -> str:
    file = said["files"][0]
    small = json.loads(_cpuemu("replay", file, "--shrink", "--schedules", str(shrink), "--json"))["file"]
    signature = next(iter(said["signatures"]))
    return "\n".join([
        f"{said['failures']} of {said['schedules']} schedules failed", signature, "",
        _cpuemu("replay", small, "--story"),
        f"pinned:  {_cpuemu('replay', small, '--one-line').strip()}",
        f"again:   cpuemu replay {small}",
    ])


def _cpuemu(*words: str) -> str:
    """What it prints.  Raises UserError for what it says of wrong input."""
    run = run_itself(words, COLUMNS=str(WIDTH))
    if run.returncode == WRONG:
        raise UserError(run.stderr.strip().rpartition("\n")[2].removeprefix("cpuemu: "))
    if not run.stdout:
        raise RuntimeError(f"cpuemu {' '.join(words)} ended with status {run.returncode}: {run.stderr}")
    return run.stdout


def _spec(scenario: str | Scenario) -> str:
    """As the command takes it.  Raises UserError."""
    if isinstance(scenario, str):
        return scenario
    if scenario.source:
        return scenario.source
    for module in list(sys.modules.values()):
        for name, found in list(vars(module).items()) if inspect.ismodule(module) else ():
            if found is scenario and getattr(module, "__file__", None):
                return f"{module.__file__}:{name}"
    raise UserError(f"scenario {scenario.name}: held by no module; give it a name in one, or give FILE.py:NAME")
