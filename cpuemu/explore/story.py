"""A failure told as a story: who did what to which word, where interrupts were taken, how it ended."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from itertools import groupby, pairwise
from typing import Any

from cpuemu.errors import UserError
from cpuemu.explore.failure import Failure
from cpuemu.explore.witness import Move, Stand, Witness
from cpuemu.explore.worlds import run_worlds
from cpuemu.kernel.uapi import Operation
from cpuemu.layout import Vector
from cpuemu.scenarios.base import Scenario, Task

SCHEDULER = ("rq->lock", "need_resched")
"""In the names of words that the scheduler needs, and hardly ever a story; nor are its interrupts."""


@dataclass(frozen=True)
class Scene:
    """One step.  ``preempts``: the actor that moved before could have gone on.  ``key``: at the object where it ends.

    ``aside``: nothing that others could see, or the scheduler's business.
    """

    step: int
    move: Move
    preempts: bool = False
    key: bool = False
    aside: bool = False


@dataclass(frozen=True)
class Story:
    """``ends``: where the CPUs stand; ``waits``: of a deadlock, who waits for whom; ``key``: what it is about."""

    scenario: Scenario
    verdict: str
    message: str
    scenes: list[Scene]
    ends: list[Stand]
    waits: list[str]
    key: str

    @property
    def head(self) -> str:
        """What ran, and how much it took."""
        scenario, taken = self.scenario, sum(scene.move.does == "takes" for scene in self.scenes)
        preemptions = sum(scene.preempts for scene in self.scenes)
        return (f"{scenario.name}: {scenario.cpus} CPUs, profile {scenario.profile}, preempt {scenario.preempt}; "
                f"steps {len(self.scenes)}, interrupts taken {taken}, preemptions {preemptions}")

    @property
    def programs(self) -> list[str]:
        """What each task does, and the hotplug requests; of a workload nothing is known."""
        plans = self.scenario.plans() if self.scenario.tasks else []
        tasks = [f"{plan.comm}, cpu {task.cpu}: {_program(task)}"
                 for plan, task in zip(plans, self.scenario.present, strict=True)]
        return [*tasks, *([f"requests: {', '.join(self.scenario.hotplug)}"] if self.scenario.hotplug else [])]

    @property
    def data(self) -> dict[str, Any]:
        """As plain data: docs/shrinking.md says what each of it means."""
        return {"verdict": self.verdict, "message": self.message, "key": self.key, "waits": self.waits,
                "programs": self.programs,
                "steps": [{"step": each.step, "preempts": each.preempts, "key": each.key, "aside": each.aside,
                           **asdict(each.move)} for each in self.scenes],
                "ends": [asdict(each) for each in self.ends]}


def _program(task: Task) -> str:
    """Its operations, those that are the same together."""
    told = [(name, sum(1 for _ in same)) for name, same in groupby(map(_operation, task.does))]
    once = ", ".join(name if count == 1 else f"{count} × {name}" for name, count in told)
    if task.times == 1:
        return once
    return f"{task.times} × {once}" if len(task.does) == 1 else f"{task.times} × ({once})"


def _operation(operation: Operation) -> str:
    """As the scenario's file has it, but for what need not be said."""
    given = [f"{getattr(operation, each.name)}" if each.default is MISSING else
             f"{each.name}={getattr(operation, each.name)}" for each in fields(operation)
             if each.default is MISSING or getattr(operation, each.name) != each.default]
    return type(operation).__name__ + (f"({', '.join(given)})" if given else "")


def story_of(failure: Failure) -> Story:
    """The failure once more, watched.  Raises UserError where it does not come back."""
    follow = failure.follow()
    witness = Witness([step.actor for step in follow.steps])
    result = next(run_worlds(failure.scenario, [(follow, failure.seed)], 1, watch=witness))
    if not failure.same(result):
        raise UserError(f"the failure does not come back as it was ({result.verdict} after {result.steps} steps)")
    told = [json.loads(each) for each in result.watched]
    moves = [replace(Move(**each["move"]), after=later["after"]) for each, later in pairwise(told)]
    touched: defaultdict[str, set[int | None]] = defaultdict(set)
    for move in moves:
        touched[_object(move.word)].add(move.cpu)
    words = [move.word for move in moves]
    waits = result.message.split("; ") if result.verdict == "deadlock" else []
    stands = [Stand(**each) for each in told[-1]["stands"]]
    about = [stand.waits for stand in stands] if waits else words[-1:]
    keys = sorted({_object(word) for word in about} - {""})
    scenes = []
    for at, move in enumerate(moves):
        before = moves[at - 1].actor if at else move.actor
        preempts = move.actor != before and before in told[at]["able"]
        scenes.append(Scene(at, move, preempts, _object(move.word) in keys,
                            _aside(move, len(touched[_object(move.word)]))))
    return Story(failure.scenario, result.verdict, result.message, scenes, stands, waits, ", ".join(keys))


def _aside(move: Move, touched: int) -> bool:
    """``touched``: by how many CPUs the object is."""
    if move.does == "strikes":
        return False
    if move.vector:
        return move.vector == Vector.RESCHEDULE.name.lower()
    return not move.word or touched == 1 or any(each in move.word for each in SCHEDULER)


def _object(word: str) -> str:
    """What a word is a part of: "cfd_data[2]" of "cfd_data[2].refs"."""
    return word.rpartition(".")[0] or word


def columns(story: Story) -> Sequence[str]:
    """One for each CPU, and one for the coordinator if it moves."""
    cpus = [f"cpu {cpu}" for cpu in range(story.scenario.cpus)]
    plugs = any(scene.move.cpu is None for scene in story.scenes)
    return [*cpus, "coordinator"] if plugs else cpus
