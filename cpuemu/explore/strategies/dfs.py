"""Exhaustive search with at most c preemptions a schedule and without any reduction, fewest preemptions first.

Musuvathi, Qadeer: "Iterative context bounding for systematic testing of multithreaded programs", PLDI 2007.  A
preemption is a change of actor while the one that ran could go on.  Nothing is skipped as equivalent: a reduction under
a bound is unsound (Coons, Musuvathi, McKinley, OOPSLA 2013).

The tree of schedules is cut by prefixes.  A path follows one prefix, then goes on with whoever ran, and notes at each
of its new decisions what else could have been chosen: each of these is a prefix of its own.  So every schedule is run
once, and paths can run at the same time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import NamedTuple, TypedDict

from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.replay import Diverged


class Branch(NamedTuple):
    """At a path's decision ``at``, ``actors`` could have been chosen too; then it would have had ``preemptions``."""

    at: int
    actors: list[int]
    preemptions: int


class Told(TypedDict):
    """What a path says of itself.  ``weight``: its share of the tree, as chance would walk it (Knuth 1975)."""

    choices: list[int]
    branches: list[Branch]
    weight: float


class Path:
    """One schedule of the tree: ``prefix``, then the default.  ``bound``: the most preemptions, None for no bound."""

    def __init__(self, prefix: Sequence[int] = (), bound: int | None = None) -> None:
        self.name = "dfs" if bound is None else f"dfs:{bound}"
        self.prefix, self.bound = list(prefix), bound

    def begin(self, actors: int, random: Random) -> None:
        self.choices: list[int] = []
        self.branches: list[Branch] = []
        self.weight = 1.0
        self.preempted = 0
        self.last: int | None = None

    def choose(self, enabled: Sequence[Event]) -> Event:
        able = [event.actor for event in enabled]
        goes_on = self.last in able
        candidates = self._candidates(able)
        self.weight /= len(candidates)
        at = len(self.choices)
        if at < len(self.prefix):
            chosen = self.prefix[at]
        else:
            chosen, *others = candidates
            if others:
                self.branches.append(Branch(at, others, self.preempted + goes_on))
        self.choices.append(chosen)
        for event in enabled:
            if event.actor == chosen:
                return event
        raise Diverged(at, chosen, enabled)

    def _candidates(self, able: list[int]) -> list[int]:
        if self.last not in able:
            return able  # it waits or has ended: whoever goes on is no preemption
        if self.bound is not None and self.preempted >= self.bound:
            return [self.last]
        return [self.last, *(actor for actor in able if actor != self.last)]

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        if self.last is not None and event.actor != self.last:
            self.preempted += any(other.actor == self.last for other in enabled)
        self.last = event.actor

    def end(self, events: Sequence[Event], pending: Sequence[Sequence[Event]]) -> None:
        pass

    def told(self) -> Told:
        return Told(choices=self.choices, branches=self.branches, weight=self.weight)


class Frontier:
    """Prefixes that are still to be run, by their preemptions.

    ``done``: Knuth's estimate of the share of the tree that was run; 1 when all was.
    """

    def __init__(self) -> None:
        self.waiting: dict[int, list[tuple[Sequence[int], int, int]]] = defaultdict(list)
        self.waiting[0].append(((), 0, -1))
        self.under_way = 0
        self.done = 0.0

    def take(self, most: int) -> list[list[int]]:
        """Up to so many prefixes of the fewest preemptions; all that were taken before have been added."""
        assert not self.under_way
        if not self.waiting:
            return []
        fewest = min(self.waiting)
        paths = self.waiting[fewest]
        taken = [paths.pop() for _ in range(min(most, len(paths)))]
        if not paths:
            del self.waiting[fewest]
        self.under_way = len(taken)
        return [[*choices[:at], actor] if actor >= 0 else [] for choices, at, actor in taken]

    def add(self, told: Told) -> None:
        """A path that was taken has been run."""
        self.under_way -= 1
        self.done += told["weight"]
        choices = tuple(told["choices"])
        for at, actors, preemptions in told["branches"]:
            self.waiting[preemptions] += [(choices, at, actor) for actor in reversed(actors)]

    @property
    def exhausted(self) -> bool:
        """The whole tree has been run."""
        return not self.waiting and not self.under_way

    @property
    def next_preemptions(self) -> int:
        """Every schedule with fewer preemptions than this has been run.  Context: not exhausted, nothing under way."""
        return min(self.waiting)
