"""Prefix: steps that somebody has chosen, then onward; told what all steps were."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.onward import Onward
from cpuemu.explore.strategies.replay import Diverged


class Prefix:
    """``actors``: who moves at each of the first steps, decided or not."""

    name = "prefix"

    def __init__(self, actors: Sequence[int]) -> None:
        self.actors = list(actors)

    def begin(self, actors: int, random: Random) -> None:
        self.path: list[int] = []
        self.onward = Onward()
        self.onward.begin(actors, random)

    def choose(self, enabled: Sequence[Event]) -> Event:
        at = len(self.path)
        if at >= len(self.actors):
            return self.onward.choose(enabled)
        for event in enabled:
            if event.actor == self.actors[at]:
                return event
        raise Diverged(at, self.actors[at], enabled)

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        self.path.append(event.actor)
        self.onward.executed(event, enabled)

    def end(self, events: Sequence[Event], pending: Sequence[Sequence[Event]]) -> None:
        pass

    def told(self) -> list[int]:
        return self.path
