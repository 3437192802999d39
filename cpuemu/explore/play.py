"""A schedule that a person chooses, step by step; what is taken back is run again without it.

A machine cannot be stopped between two steps and looked at from another process for as long as somebody thinks.  So it
always runs to its end, without a surprise after what was chosen, and is looked at on its way: a step that goes the way
it went costs nothing, and what would happen if nobody did anything more is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cpuemu.explore.actors import actor_name
from cpuemu.explore.failure import Failure, failure_of
from cpuemu.explore.shrink import Size, size
from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.prefix import Prefix
from cpuemu.explore.witness import Move, Stand, describe, stands, value
from cpuemu.explore.worlds import Result, Worlds
from cpuemu.kernel.wait_records import Look
from cpuemu.layout import NOBODY, CallFunctionData, Machine
from cpuemu.scenarios.base import Scenario


@dataclass(frozen=True)
class View:
    """The machine between two steps.  ``actors``: numbers of those who can move; ``able``: what each would do."""

    actors: list[int]
    able: list[Move]
    stands: list[Stand]
    locks: list[str]
    queues: list[str]


def look(machine: Machine, enabled: Sequence[Event]) -> str:
    """What a View is made of."""
    eye = Look(machine)
    return json.dumps({
        "actors": [event.actor for event in enabled], "able": [asdict(describe(eye, event)) for event in enabled],
        "stands": [asdict(each) for each in stands(eye)], "locks": _locks(machine), "queues": _queues(eye)})


def _locks(machine: Machine) -> list[str]:
    return [f"{lock.name}: cpu {(lock.word & 0xFFFF) - 1}" for lock in machine.locks
            if lock.word & 0xFFFF and (lock.word & 0xFFFF) <= machine.dims.cpus]


def _queues(eye: Look) -> list[str]:
    """Blocks of smp_call_function_many that are not done, and csds that wait to be run."""
    machine, told = eye.machine, []
    for block in machine.cfds:
        if block.refs or block.flags:
            mask = value(machine, block.addr(CallFunctionData.cpumask)) or 0
            cpus = ",".join(str(cpu) for cpu in eye.bits([mask]))
            told.append(f"cfd[{block.index}]: cpumask {{{cpus}}}, refs {block.refs}")
    for queue in machine.single_queues:
        if queue.head != NOBODY:
            told.append(f"call_single_queue[{queue.index}]: csd {queue.head}")
    return told


class Play:
    """``moves``: actors, as far as chosen; ``marks``: how many there were before each choice.  ``with`` ends it."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.worlds = scenario, Worlds(scenario, 1, watch=look)
        self.moves: list[int] = []
        self.marks: list[int] = []
        self.result: Result
        self._run()

    def __enter__(self) -> Play:
        return self

    def __exit__(self, *reason: object) -> None:
        self.worlds.__exit__(*reason)

    def _run(self) -> None:
        self.result, = self.worlds.run([(Prefix(self.moves), 0)])
        self.path: list[int] = self.result.search
        self.views = [_view(each) for each in self.result.watched]

    @property
    def view(self) -> View:
        return self.views[len(self.moves)]

    @property
    def over(self) -> bool:
        """Nobody can move any more, or something was found."""
        return len(self.moves) >= len(self.path)

    def move(self, actor: int) -> None:
        """One step.  Context: it can move."""
        self.marks.append(len(self.moves))
        self._step(actor)

    def go_on(self, actor: int) -> None:
        """Steps, as long as it can move."""
        self.marks.append(len(self.moves))
        while not self.over and actor in self.view.actors:
            self._step(actor)

    def onward(self) -> None:
        """To the end, as it goes if nobody chooses."""
        self.marks.append(len(self.moves))
        self.moves = list(self.path)

    def _step(self, actor: int) -> None:
        at = len(self.moves)
        self.moves.append(actor)
        if self.path[at] != actor:
            self._run()

    def undo(self) -> bool:
        """Take the last choice back; whether there was one."""
        if not self.marks:
            return False
        self.moves = self.moves[:self.marks.pop()]
        if self.path[:len(self.moves)] != self.moves:
            self._run()
        return True

    def names(self) -> list[str]:
        """The steps up to here, by name."""
        return [actor_name(actor, self.scenario.cpus) for actor in self.moves]

    def preemptions(self) -> int:
        """Of the steps up to here."""
        return sum(actor != before and before in view.actors
                   for before, actor, view in zip(self.moves, self.moves[1:], self.views[1:], strict=False))

    def size(self) -> Size:
        """Context: over."""
        return size(self.scenario, self.result)

    def failure(self) -> Failure:
        """Context: over, and it failed."""
        return failure_of(self.scenario, "play", 0, self.result)


def _view(told: str) -> View:
    parts: dict[str, Any] = json.loads(told)
    return View(parts["actors"], [Move(**each) for each in parts["able"]], [Stand(**each) for each in parts["stands"]],
                parts["locks"], parts["queues"])
