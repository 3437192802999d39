"""Scenarios by the names that a user gives: a file, a class of a file, a bug of the zoo.

A specification is FILE.py (with SCENARIO), FILE.py:NAME (a scenario, or a workload's class), or zoo:NUMBER, with
/fixed and /small behind it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from cpuemu import patches, scenarios
from cpuemu.errors import UserError
from cpuemu.scenarios.base import Bug, Scenario
from cpuemu.workloads.python_task import attribute

ZOO = "zoo:"
NAME = "SCENARIO"
MODULE = "bug_"
KEPT = ("source", "cpus", "memory", "profile", "preempt", "policy", "hotplug", "maxcpus", "absent", "patch", "faults",
        "left_out", "skipped", "stepped", "oracles")


def load_scenario(spec: str, **changed: Any) -> Scenario:
    """The scenario of a specification, parts of it ``changed`` (None: as it is).  Raises UserError."""
    scenario = _load(spec)
    return replace(scenario, source=spec, **{name: value for name, value in changed.items() if value is not None})


def record_of(scenario: Scenario) -> dict[str, Any]:
    """What a file keeps of it: where it is from, and all that may be changed."""
    return {name: getattr(scenario, name) for name in KEPT}


def of_record(record: dict[str, Any]) -> Scenario:
    """The scenario of a file's record.  Raises UserError, KeyError on a record that is none."""
    parts = {name: record[name] for name in KEPT}
    for name in ("hotplug", "absent", "faults", "left_out", "skipped"):
        parts[name] = tuple(parts[name])
    return replace(_load(parts["source"]), **parts)


def boot_kernel(scenario: Scenario) -> None:
    """Apply the scenario's patch: once in a process, before anything of the kernel is imported.  Raises UserError."""
    if scenario.patch:
        patches.apply(scenario.patch, f"scenario {scenario.name}: patch")


def boot_kernel_of(path: Path) -> None:
    """The same with the patch that a schedule's file names.  A file that is none is told by whoever reads it."""
    try:
        patch = json.loads(path.read_text())["scenario"]["patch"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if patch:
        patches.apply(patch, str(path))


def _load(spec: str) -> Scenario:
    if spec.startswith(ZOO):
        name, *parts = spec.removeprefix(ZOO).split("/")
        small = parts[-1:] == ["small"]
        variants = parts[:-1] if small else parts
        if variants not in ([], ["broken"], ["fixed"]):
            raise UserError(f"{spec}: a bug's variants are {ZOO}{name}/broken and {ZOO}{name}/fixed, some with a small "
                            "machine behind it: /small")
        return bug_named(name).variant(variants != ["fixed"], small)
    if ".py" not in spec:  # a workload's name: whoever loads it says what is wrong with it
        return Scenario(spec, workload=spec)
    named = spec if not spec.endswith(".py") else f"{spec}:{NAME}"
    found = attribute(named)
    if isinstance(found, Bug):
        return found.variant(True)
    if isinstance(found, Scenario):
        return found
    name = named.rpartition(":")[2]
    if not isinstance(found, type):
        raise UserError(f"{spec}: {name} is neither a Scenario nor a workload's class")
    return Scenario(name, workload=spec)


def bugs() -> list[Bug]:
    """The zoo, by number."""
    found = [importlib.import_module(f"{scenarios.__name__}.{each.name}").BUG
             for each in pkgutil.iter_modules(scenarios.__path__) if each.name.startswith(MODULE)]
    return sorted(found, key=lambda bug: (int("".join(filter(str.isdigit, bug.number))), bug.number))


def bug_named(name: str) -> Bug:
    """By number or name.  Raises UserError."""
    known = bugs()
    for bug in known:
        if name in (bug.number, bug.name):
            return bug
    raise UserError(f"the zoo has no bug {name!r}; it has {', '.join(f'{bug.number} ({bug.name})' for bug in known)}")


def module_of(bug: Bug) -> ModuleType:
    """The module that holds it."""
    return importlib.import_module(f"{scenarios.__name__}.{MODULE}{bug.number}")


def title_of(bug: Bug) -> str:
    """One line of what it is."""
    return story_of(bug).partition("\n")[0].removeprefix(f"{bug.number}: ").rstrip(".")


def story_of(bug: Bug) -> str:
    """Its biography."""
    return inspect.cleandoc(module_of(bug).__doc__ or "") + "\n"


def mending(bug: Bug) -> str:
    """What makes the fixed kernel of the broken one, as a unified diff.  Raises UserError when it does not fit."""
    name = f"zoo {bug.number}"
    if bug.fixed:
        return "".join(change.diff() for change in patches.changes(bug.fixed, name))
    return "".join(change.diff(backwards=True) for change in patches.changes(bug.broken, name))


def file_of(spec: str) -> Path | None:
    """The user's file that a specification names, None where it names none."""
    if ".py" not in spec:
        return None
    return Path(spec if spec.endswith(".py") else spec.rpartition(":")[0])
