"""Replay: a recorded list of actors, one a decision.  The first that cannot be followed is told, with both sides."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cpuemu.explore.strategies.base import Event


class Diverged(Exception):
    """The recorded schedule does not fit what runs: another program, another placement of points."""

    def __init__(self, decision: int, wanted: int | None, enabled: Sequence[Event]) -> None:
        who = ", ".join(str(event.actor) for event in enabled)
        what = f"actor {wanted} is to move" if wanted is not None else "the schedule is over"
        super().__init__(f"decision {decision}: {what}, and those who can are: {who}")
        self.decision, self.wanted, self.enabled = decision, wanted, list(enabled)


class Replay:
    """``choices``: the actor of each decision (steps with one enabled actor are none)."""

    name = "replay"

    def __init__(self, choices: Sequence[int]) -> None:
        self.choices = list(choices)

    def begin(self, actors: int, random: Random) -> None:
        self.decision = 0

    def choose(self, enabled: Sequence[Event]) -> Event:
        wanted = self.choices[self.decision] if self.decision < len(self.choices) else None
        for event in enabled:
            if event.actor == wanted:
                self.decision += 1
                return event
        raise Diverged(self.decision, wanted, enabled)

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        pass
