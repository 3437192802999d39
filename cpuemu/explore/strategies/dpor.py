"""Exhaustive search that runs one schedule of each equivalence class: dynamic partial-order reduction with sleep sets.

Flanagan, Godefroid: "Dynamic partial-order reduction for model checking software", POPL 2005; sleep sets: Godefroid,
LNCS 1032, 1996.  Two schedules are equivalent when they differ only in the order of steps that do not conflict.  After
each schedule its races are looked for: a step, and another actor's later one that conflicts with it and is not ordered
behind it otherwise; before the first of them the other actor gets its turn in a later schedule.

There is no bound of preemptions here: a reduction under a bound loses final states.

A step conflicts with another by the word that it has declared, and a delivery with all steps of its CPU: it changes
what that CPU does next.  What code touches between two points is not looked at, and neither is time.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypedDict

from cpuemu.explore.strategies.base import Event

Clock = dict[int, int]
"""Of an actor: how many steps of each actor happened before what it does next."""


class Told(TypedDict):
    """What one schedule says of the search: ``search`` is the strategy itself, ``done`` the share that it estimates."""

    search: bytes
    redundant: bool
    exhausted: bool
    done: float


def dependent(one: Event, other: Event) -> bool:
    """Whether the order of the two can matter."""
    return one.conflicts(other) or (one.actor != other.actor and one.line == other.line)


@dataclass
class _Node:
    """A state on the path under way.  ``sleep``: what need not be run from here, it would lead to a known class."""

    enabled: list[Event]
    chosen: int
    sleep: dict[int, Event]
    backtrack: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)


class Dpor:
    """``exhausted`` after a schedule: every class has been run.  ``redundant``: this one belongs to a known class."""

    name = "dpor"

    def __init__(self) -> None:
        self.path: list[_Node] = []
        self.exhausted = self.redundant = False
        self.started = False

    def begin(self, actors: int, random: Random) -> None:
        if self.started:
            self._next_path()
        self.started = True
        self.depth, self.redundant = 0, False

    def _next_path(self) -> None:
        while self.path and not self._open(self.path[-1]):
            self.path.pop()
        if self.path:
            node = self.path[-1]
            node.done.add(node.chosen)
            node.chosen = min(self._open(node))

    @staticmethod
    def _open(node: _Node) -> set[int]:
        """Actors that are still to move first from here."""
        return node.backtrack - node.done - {node.chosen} - set(node.sleep)

    def choose(self, enabled: Sequence[Event]) -> Event:
        node = self._here(enabled)
        return next(event for event in enabled if event.actor == node.chosen)

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        node = self._here(enabled)
        self.redundant = self.redundant or event.actor in node.sleep
        self.depth += 1

    def _here(self, enabled: Sequence[Event]) -> _Node:
        if self.depth == len(self.path):
            sleep = self._asleep(self.path[-1]) if self.path else {}
            chosen = next((event.actor for event in enabled if event.actor not in sleep), enabled[0].actor)
            self.path.append(_Node(list(enabled), chosen, sleep, {chosen}))
        return self.path[self.depth]

    @staticmethod
    def _asleep(parent: _Node) -> dict[int, Event]:
        """What was run from the parent already, or slept there, and commutes with the step that led here."""
        step = next(event for event in parent.enabled if event.actor == parent.chosen)
        before = parent.sleep | {event.actor: event for event in parent.enabled if event.actor in parent.done}
        return {actor: event for actor, event in before.items() if actor != step.actor and not dependent(event, step)}

    def end(self, events: Sequence[Event], pending: Sequence[Sequence[Event]]) -> None:
        """The schedule is over: look for its races.  ``pending``: before each step and at the end, by actor."""
        clocks = clocks_of(events)
        for step, waiting in enumerate(pending):
            for event in waiting:
                self._race(events[:step], clocks, event)
        self.exhausted = not any(self._open(node) for node in self.path)

    def told(self) -> Told:
        return Told(search=pickle.dumps(self), redundant=self.redundant, exhausted=self.exhausted, done=self.done)

    @property
    def done(self) -> float:
        """Knuth's estimate, of the tree as far as it is known: it grows while races are found."""
        share = 1.0
        for node in reversed(self.path):
            children = node.backtrack | node.done | {node.chosen}
            share = (len(node.done) + share) / max(1, len(children - set(node.sleep)))
        return min(share, 1.0)

    def _race(self, events: Sequence[Event], clocks: Sequence[tuple[Clock, int]], event: Event) -> None:
        """Whether ``event``, which comes next, races with an earlier step: the last one that it could have preceded."""
        known: Clock = {}
        for earlier in reversed(range(len(events))):
            if events[earlier].actor == event.actor:
                known = clocks[earlier][0]
                break
        for earlier in reversed(range(len(events))):
            other = events[earlier]
            if (dependent(other, event) and _may_be_together(other, event)
                    and clocks[earlier][1] > known.get(other.actor, 0)):
                node = self.path[earlier]
                able = {each.actor for each in node.enabled}
                node.backtrack |= {event.actor} if event.actor in able else able
                return


def _may_be_together(one: Event, other: Event) -> bool:
    """Nobody can take a lock in a state in which somebody else could give it back."""
    return not (one.lock and other.lock and one.waits != other.waits)


def clocks_of(events: Sequence[Event]) -> list[tuple[Clock, int]]:
    """Of each step: the steps of every actor that it comes behind, itself included, and its number among its own."""
    actors: dict[int, Clock] = {}
    lines: dict[int, Clock] = {}
    written: dict[int, Clock] = {}
    accessed: dict[int, Clock] = {}
    found = []
    for event in events:
        clock = dict(actors.get(event.actor, {}))
        _join(clock, lines.get(event.line, {}))
        clock[event.actor] = clock.get(event.actor, 0) + 1
        lines[event.line] = clock
        if event.word:
            _join(clock, (accessed if event.write else written).get(event.word, {}))
            _join(accessed.setdefault(event.word, {}), clock)
            if event.write:
                written[event.word] = dict(accessed[event.word])
        actors[event.actor] = clock
        found.append((clock, clock[event.actor]))
    return found


def _join(clock: Clock, other: Clock) -> None:
    for actor, steps in other.items():
        clock[actor] = max(clock.get(actor, 0), steps)


def happens_before(events: Sequence[Event]) -> frozenset[tuple[int, int, tuple[tuple[int, int], ...]]]:
    """What equivalent schedules have in common: each step with all that it comes behind."""
    return frozenset((event.actor, number, tuple(sorted(clock.items())))
                     for event, (clock, number) in zip(events, clocks_of(events), strict=True))
