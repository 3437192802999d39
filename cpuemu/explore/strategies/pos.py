"""POS: every pending event has a random priority of its own, drawn anew when it raced with the one that ran.

Yuan, Yang, Gu: "Partial order aware concurrency sampling", CAV 2018.  Better than PCT where many short conflicts
matter; worse where one actor must be held back for long, because each of its events draws again.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cpuemu.explore.strategies.base import Event


class Pos:
    """``resample`` False is the paper's BasicPOS: priorities are kept through races."""

    def __init__(self, resample: bool = True) -> None:
        self.name = "pos" if resample else "basic-pos"
        self.resample = resample

    def begin(self, actors: int, random: Random) -> None:
        self.random = random
        self.priority: dict[int, float] = {}
        """Of each actor's pending event; kept while the event is disabled."""

    def choose(self, enabled: Sequence[Event]) -> Event:
        for event in enabled:
            if event.actor not in self.priority:
                self.priority[event.actor] = self.random.random()
        return max(enabled, key=lambda event: self.priority[event.actor])

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        self.priority.pop(event.actor, None)
        if self.resample:
            for other in enabled:
                if other.conflicts(event):
                    self.priority.pop(other.actor, None)
