"""A schedule that ran: its decisions, its steps, what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cpuemu.explore.strategies.base import Event


@dataclass
class Schedule:
    """``choices``: the actor of each decision; ``events``: every step, decided or forced.

    ``verdict``: "ok", "failed", "deadlock" or "limit"; ``message``: what was found, by whom.
    """

    verdict: str = "ok"
    message: str = ""
    choices: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    pending: list[tuple[Event, ...]] = field(default_factory=list)
    """Before each step, and at the end: what every actor that is not done does next, enabled or not."""

    @property
    def bad(self) -> bool:
        return self.verdict != "ok"
