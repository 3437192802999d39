"""A strategy, and faults beside it: at each step where one could strike, it does so with a small probability.

As actors among the others they would all strike in the first steps; so their steps are spread over the schedule, and
the strategy itself chooses, and its guarantees hold, among those who were there without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cpuemu.explore.strategies.base import Event, Strategy

CHANCES = 2
"""Of a fault that could strike anywhere: how often it would in a schedule."""


class Struck:
    """``steps``: how long a schedule is, 0: no fault strikes; ``first``: the first actor that is a fault."""

    def __init__(self, strategy: Strategy, steps: int, first: int) -> None:
        self.name, self.strategy, self.first = strategy.name, strategy, first
        self.chance = CHANCES / steps if steps else 0.0

    def begin(self, actors: int, random: Random) -> None:
        self.random = random
        self.strategy.begin(self.first, random)

    def choose(self, enabled: Sequence[Event]) -> Event:
        faults = [event for event in enabled if event.actor >= self.first]
        if faults and self.random.random() < self.chance:
            return faults[self.random.randrange(len(faults))]
        others = enabled[:len(enabled) - len(faults)]
        return self.strategy.choose(others) if len(others) > 1 else others[0]

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        if event.actor < self.first:
            self.strategy.executed(event, [each for each in enabled if each.actor < self.first])
