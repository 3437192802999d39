"""Random walk: at each decision, every enabled actor with the same probability.  The baseline of every table."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cpuemu.explore.strategies.base import Event


class RandomWalk:
    name = "random"

    def begin(self, actors: int, random: Random) -> None:
        self.random = random

    def choose(self, enabled: Sequence[Event]) -> Event:
        return enabled[self.random.randrange(len(enabled))]

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        pass
