"""A failure is a file: scenario, strategy and seed, every decision and every step, and what they lead to.

Steps are written by name, the actor and the point at which it stood; so where a machine parts from the recorded one can
be named, and a schedule can be read.  ``placement`` names the kernel code that they are steps of, where its points are
and what they declare; ``program`` the file that the tasks run.  What does not fit is told, and tried only when somebody
asks for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
from collections.abc import Generator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import cpuemu
from cpuemu.errors import UserError
from cpuemu.explore.actors import actor_name, actor_named
from cpuemu.explore.species import INTERRUPT
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.follow import Follow, Step
from cpuemu.explore.worlds import Result
from cpuemu.layout import TAG
from cpuemu.patches import applied
from cpuemu.scenarios.base import Scenario
from cpuemu.scenarios.load import file_of, of_record, record_of
from cpuemu.sites import NAMES

FORMAT = 3


@dataclass(frozen=True)
class Failure:
    """``schedule``: every step, as "ACTOR POINT", of an interrupt "ACTOR".  ``trace``: hash of all, event for event."""

    scenario: Scenario
    strategy: str
    seed: int
    verdict: str
    message: str
    signature: str
    steps: int
    deliveries: int
    preemptions: int
    trace: str
    choices: list[int]
    schedule: list[str]
    placement: str
    program: str
    cpuemu: str = cpuemu.__version__
    format: int = FORMAT

    def follow(self, go_on: Strategy | None = None) -> Follow:
        """The strategy that takes the same steps; where it cannot, ``go_on`` chooses, or the first is told."""
        return Follow(list(self._steps()), partial(actor_name, cpus=self.scenario.cpus), go_on)

    def _steps(self) -> Generator[Step]:
        for line in self.schedule:
            name, _, point = line.partition(" ")
            actor = actor_named(name, self.scenario.cpus)
            if actor is None:
                raise UserError(f"a step of {name!r}, and nobody is called so on {self.scenario.cpus} CPUs")
            yield Step(actor, point or INTERRUPT)

    def same(self, result: Result) -> bool:
        """Whether this is it, event for event."""
        return ((result.trace, result.verdict, result.message, result.choices)
                == (self.trace, self.verdict, self.message, self.choices))

    def misfit(self) -> str:
        """Why its steps may mean something else here: a sentence, empty where they mean the same."""
        if self.placement != placement():
            return (f"made by another version of the kernel code (cpuemu {self.cpuemu}, points {self.placement}; here "
                    f"{cpuemu.__version__}, {placement()}): its decisions mean something else here; explore again")
        if self.program != program(self.scenario):
            return (f"{file_of(self.scenario.source)} has changed since: the decisions are those of another program; "
                    "explore again")
        return ""


def placement() -> str:
    """Of the code that is here."""
    importlib.import_module("workers.entry")  # by name: cpuemu never imports workers; it completes the table of sites
    return hashlib.sha256("\n".join([f"{TAG:x}", applied(), *sorted(NAMES)]).encode()).hexdigest()[:12]


def failure_of(scenario: Scenario, strategy: str, seed: int, result: Result) -> Failure:
    return Failure(scenario, strategy, seed, result.verdict, result.message, result.signature, result.steps,
                   result.deliveries, result.preemptions, result.trace, result.choices, schedule_of(scenario, result),
                   placement(), program(scenario))


def schedule_of(scenario: Scenario, result: Result) -> list[str]:
    """The steps of one that failed, by name."""
    return [actor_name(actor, scenario.cpus) + (f" {point}" if point != INTERRUPT else "")
            for actor, point in result.ran]


def program(scenario: Scenario) -> str:
    """Of the user's file, empty for a workload of our own.  Raises UserError."""
    file = file_of(scenario.source)
    if file is None:
        return ""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); a schedule needs its program") from None


def save(failure: Failure, path: Path) -> None:
    """Whole or not at all, whenever we are killed.  Raises UserError."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new.open("w") as file:
            file.write(_text({**vars(failure), "scenario": record_of(failure.scenario)}))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another place with --save") from None


def _text(content: dict[str, Any]) -> str:
    """JSON, a line for each key, and one for each step: to be read, and to be compared line by line."""
    lines = [f"{json.dumps(key)}: {_steps(value) if key == 'schedule' else json.dumps(value)}"
             for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _steps(schedule: list[str]) -> str:
    return "[\n " + ",\n ".join(map(json.dumps, schedule)) + "\n]"


def read(path: Path) -> Failure:
    """Raises UserError on a file that is none, was cut short, or is of another format."""
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a schedule file of cpuemu explore") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that explore has saved") from None
    content = _content(path, text)
    if content.get("format", FORMAT) != FORMAT:
        raise UserError(f"{path}: a schedule of format {content['format']}, this cpuemu reads format {FORMAT}")
    try:
        return Failure(**{**content, "scenario": of_record(content["scenario"])})
    except (KeyError, TypeError, ValueError):
        missing = {each.name for each in fields(Failure)} - content.keys()
        what = f"lacks {', '.join(sorted(missing))}" if missing else "has something else in it"
        raise UserError(f"{path}: not a schedule file of cpuemu explore: it {what}") from None


def _content(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        if text.startswith('{\n"scenario":'):
            raise UserError(f"{path}: cut short after {text.count(chr(10))} lines: not a whole schedule file; take the "
                            "file that explore has saved") from None
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a schedule file of cpuemu explore")
    return content
