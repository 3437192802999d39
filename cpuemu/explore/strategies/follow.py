"""Follow: recorded steps, each the actor and the point at which it stands.  The first that does not fit is told.

Every step is compared, also those that nobody decides: so what is told is where two machines part, not where it can no
longer be overlooked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple, TypedDict

from cpuemu.explore.species import point_name
from cpuemu.explore.strategies.base import Event, Strategy
from cpuemu.explore.strategies.replay import Diverged


class Step(NamedTuple):
    """Who moves, and from which point; an empty ``point`` is any."""

    actor: int
    point: str = ""

    def fits(self, event: Event) -> bool:
        return event.actor == self.actor and self.point in ("", point_name(event.site))


class Parted(Diverged):
    """A machine is not where the recorded one was.  ``step``: the first that differs, from 0."""

    def __init__(self, step: int, sentence: str) -> None:
        Exception.__init__(self, f"step {step}: {sentence}")
        self.step = step


class Told(TypedDict):
    """What became of it.  ``parted``: the first difference, as (step, sentence), or nothing."""

    parted: tuple[int, str] | None


class Follow:
    """``name_of``: what an actor is called.  ``go_on``: who chooses once it has parted; without one it is raised."""

    def __init__(self, steps: Sequence[Step], name_of: Callable[[int], str], go_on: Strategy | None = None) -> None:
        self.steps, self.name_of, self.go_on = list(steps), name_of, go_on
        self.name = f"replay, then {go_on.name}" if go_on else "replay"

    def begin(self, actors: int, random: Random) -> None:
        self.at = 0
        self.parted: Parted | None = None
        if self.go_on:
            self.go_on.begin(actors, random)

    def choose(self, enabled: Sequence[Event]) -> Event:
        if self.parted is None:
            if self.at < len(self.steps):
                for event in enabled:
                    if self.steps[self.at].fits(event):
                        return event
            self._part(enabled)
        assert self.go_on is not None, "without it, parting is raised"
        return self.go_on.choose(enabled)

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        if self.parted is None:
            if self.at >= len(self.steps) or not self.steps[self.at].fits(event):
                self._part(enabled)
            else:
                self.at += 1
        if self.go_on:
            self.go_on.executed(event, enabled)

    def end(self, events: Sequence[Event], pending: Sequence[Sequence[Event]]) -> None:
        if self.parted is None and self.at < len(self.steps):
            self._part([])

    def told(self) -> Told:
        return Told(parted=(self.parted.step, str(self.parted)) if self.parted else None)

    def _part(self, enabled: Sequence[Event]) -> None:
        wanted = "the recorded schedule is over"
        if self.at < len(self.steps):
            step = self.steps[self.at]
            wanted = f"{self._place(step.actor, step.point)} was to move"
        able = ", ".join(self._place(event.actor, point_name(event.site)) for event in enabled)
        self.parted = Parted(self.at, f"{wanted}, and {f'those who can are: {able}' if able else 'it is over'}")
        if self.go_on is None:
            raise self.parted

    def _place(self, actor: int, point: str) -> str:
        name = self.name_of(actor)
        who = f"cpu {name}" if name.isdigit() else name
        return f"{who} at {point}" if point and name.isdigit() else who
