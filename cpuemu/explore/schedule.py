"""A schedule that ran: its decisions, its steps, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from cpuemu.arch.gate import Kind
from cpuemu.explore.strategies.base import Event, Strategy


@dataclass
class Schedule:
    """``choices``: the actor of each decision; ``events``: every step, decided or forced.

    ``verdict``: "ok", "failed", "deadlock", "livelock" or "limit"; ``message``: what was found; ``stack``: where.
    """

    verdict: str = "ok"
    message: str = ""
    stack: str = ""
    choices: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    pending: list[tuple[Event, ...]] = field(default_factory=list)
    """Before each step, and at the end: what every actor that is not done does next, enabled or not."""
    preemptions: int = 0
    """Steps of another actor than moved before, when that one could have gone on."""

    @property
    def bad(self) -> bool:
        return self.verdict != "ok"

    def step(self, enabled: Sequence[Event], strategy: Strategy, let: Callable[[int], None]) -> None:
        """One of ``enabled`` moves.  Where there is only one, nothing is decided, and nothing drawn."""
        event = enabled[0]
        if len(enabled) > 1:
            event = strategy.choose(enabled)
            self.choices.append(event.actor)
        if self.events and event.actor != (last := self.events[-1].actor):
            self.preemptions += any(other.actor == last for other in enabled)
        let(event.actor)
        strategy.executed(event, enabled)
        self.events.append(event)

    def too_long(self, limit: int) -> bool:
        """Whether it must end here; then its verdict says so."""
        if len(self.events) < limit:
            return False
        self.verdict, self.message = "limit", f"not over after {limit} steps"
        return True


@cache
def event_of(actor: int, declared: tuple[int, int, int, bool] | None) -> Event | None:
    """What an actor does next, of what it declared; there are few of them, and each comes often."""
    if declared is None:
        return None
    word, kind, site, waits = declared
    lock = kind == Kind.LOCK
    return Event(actor, word, kind == Kind.WRITE or lock, site, lock, waits)
