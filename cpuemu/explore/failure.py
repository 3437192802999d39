"""A failure is a file: scenario, strategy and seed, every decision, and what they lead to.

Decisions are actors: the CPUs from 0, then each CPU's vectors in turn.  ``placement`` names the kernel code that they
are decisions of, where its points are and what they declare; ``program`` the file that the tasks run.  A file of
another placement or program is refused, not tried.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path

from cpuemu.errors import UserError
from cpuemu.explore.strategies.replay import Replay
from cpuemu.explore.worlds import Result, run_world
from cpuemu.layout import TAG
from cpuemu.patches import applied
from cpuemu.scenarios.base import Scenario
from cpuemu.scenarios.load import file_of, of_record, record_of
from cpuemu.sites import NAMES

FORMAT = 1


@dataclass(frozen=True)
class Failure:
    """``trace``: hash of all steps, event for event."""

    scenario: Scenario
    strategy: str
    seed: int
    verdict: str
    message: str
    steps: int
    trace: str
    choices: list[int]
    placement: str
    program: str
    format: int = FORMAT

    def replayed(self) -> Result:
        """The same schedule again.  Raises UserError where it cannot be followed."""
        return run_world(self.scenario, Replay(self.choices), self.seed)


def placement() -> str:
    """Of the code that is here."""
    importlib.import_module("workers.entry")  # by name: cpuemu never imports workers; it completes the table of sites
    return hashlib.sha256("\n".join([f"{TAG:x}", applied(), *sorted(NAMES)]).encode()).hexdigest()[:12]


def failure_of(scenario: Scenario, strategy: str, seed: int, result: Result) -> Failure:
    return Failure(scenario, strategy, seed, result.verdict, result.message, result.steps, result.trace, result.choices,
                   placement(), program(scenario))


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
    """Raises UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**vars(failure), "scenario": record_of(failure.scenario)}, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another place with --save") from None


def read(path: Path) -> Failure:
    """Raises UserError on a file that is none, is cut short, or belongs to other code."""
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise UserError(f"{path}: a schedule of format {content['format']}, this cpuemu reads format {FORMAT}")
        failure = Failure(**{**content, "scenario": of_record(content["scenario"])})
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that explore has saved") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a whole schedule file of cpuemu explore") from None
    if failure.placement != placement():
        raise UserError(f"{path}: made by another version of the kernel code (points {failure.placement}, here "
                        f"{placement()}): its decisions mean something else here; explore again")
    if failure.program != program(failure.scenario):
        raise UserError(f"{path}: {file_of(failure.scenario.source)} has changed since: the decisions are "
                        "those of another program; explore again")
    return failure
