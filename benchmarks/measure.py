"""A row of the table: figures of ours and theirs taken in turn, a goal, and whether it is reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class Missing(Exception):
    """A part that cannot be run here: one sentence that says what is missing."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.  ``quick``: as little as shows that it works; such figures say nothing."""

    repeat: int
    directory: Path
    quick: bool = False

    def rounds(self, usual: int) -> int:
        return max(2, usual // 100) if self.quick else usual


@dataclass(frozen=True)
class Goal:
    """At most so many times theirs (``ratio``), or at most so much in the row's unit (``value``)."""

    ratio: float | None = None
    value: float | None = None

    def text(self, unit: str) -> str:
        if self.ratio is not None:
            return f"≤ {self.ratio:g} ×"
        return f"≤ {self.value:g} {unit}" if self.value is not None else ""


NO_GOAL = Goal()


@dataclass
class Row:
    """One line of the table.  ``ours`` and ``theirs``: the median of each turn, in the order they were taken."""

    name: str
    unit: str
    ours: list[float]
    theirs: list[float] = field(default_factory=list)
    goal: Goal = NO_GOAL
    note: str = ""
    missing: str = ""
    """Why theirs, or the whole row, could not be measured."""

    @property
    def ratios(self) -> list[float]:
        """Turn by turn: load that comes and goes weighs on both sides of a pair alike."""
        return [mine / other for mine, other in zip(self.ours, self.theirs, strict=False) if other > 0]

    @property
    def reached(self) -> bool | None:
        """None where there is no goal, or nothing to hold against it."""
        if self.goal.ratio is not None and self.ratios:
            return statistics.median(self.ratios) <= self.goal.ratio
        if self.goal.value is not None and self.ours:
            return statistics.median(self.ours) <= self.goal.value
        return None


@dataclass(frozen=True)
class Benchmark:
    """Rows that are measured together.  ``measure`` raises Missing where nothing of it can be run."""

    name: str
    what: str
    measure: Callable[[Settings], Iterator[Row]]


def in_turn(repeat: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[list[float], list[float]]:
    """A B A B …: the figures of both."""
    mine, others = [], []
    for _ in range(repeat):
        mine.append(ours())
        others.append(theirs())
    return mine, others


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
