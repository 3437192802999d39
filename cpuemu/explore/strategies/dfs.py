"""Exhaustive search, depth first, with at most c preemptions a schedule and without any reduction.

Musuvathi, Qadeer: "Iterative context bounding for systematic testing of multithreaded programs", PLDI 2007.  A
preemption is a change of actor while the one that ran could go on.  Nothing is skipped as equivalent: a reduction under
a bound is unsound (Coons, Musuvathi, McKinley, OOPSLA 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from cpuemu.explore.strategies.base import Event


@dataclass
class _Decision:
    """One decision of the schedule under way: whom it may choose, and whom it chose."""

    actors: list[int]
    at: int = 0


class Dfs:
    """``preemptions``: c, None for no bound.  ``exhausted`` after a schedule: all have been run."""

    def __init__(self, preemptions: int | None = None) -> None:
        self.name = "dfs" if preemptions is None else f"dfs:{preemptions}"
        self.bound = preemptions
        self.path: list[_Decision] = []
        self.exhausted = False
        self.schedules = 0

    def begin(self, actors: int, random: Random) -> None:
        if self.schedules:
            self._next_path()
        self.schedules += 1
        self.depth = self.preempted = 0
        self.last: int | None = None

    def _next_path(self) -> None:
        """The deepest decision that has an alternative takes it; what came after it is new ground."""
        while self.path and self.path[-1].at + 1 == len(self.path[-1].actors):
            self.path.pop()
        if self.path:
            self.path[-1].at += 1

    def choose(self, enabled: Sequence[Event]) -> Event:
        if self.depth == len(self.path):
            self.path.append(_Decision(self._candidates([event.actor for event in enabled])))
        decision = self.path[self.depth]
        self.depth += 1
        chosen = decision.actors[decision.at]
        return next(event for event in enabled if event.actor == chosen)

    def _candidates(self, actors: list[int]) -> list[int]:
        if self.last not in actors:
            return actors  # it waits or has ended: whoever goes on is no preemption
        if self.bound is not None and self.preempted >= self.bound:
            return [self.last]
        return [self.last, *(actor for actor in actors if actor != self.last)]

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        if self.last is not None and event.actor != self.last:
            self.preempted += any(other.actor == self.last for other in enabled)
        self.last = event.actor

    def end(self, events: Sequence[Event], pending: Sequence[Sequence[Event]]) -> None:
        """The schedule is over: whether it was the last one."""
        self.exhausted = all(decision.at + 1 == len(decision.actors) for decision in self.path)
