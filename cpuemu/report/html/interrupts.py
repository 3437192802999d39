"""Interrupts sent and taken: an arrow for each, and how many each CPU sent to each other.

A raise and an entry are one interrupt when sender, target, vector and ticket agree.  A raise without an entry was not
taken, or the entry has been overwritten in the target's ring: it counts as not taken if the ring reaches back far
enough, or if RAM says that it is pending.  When there are too many arrows, those of one pair and vector that begin in
one time bucket become one; an interrupt that was not taken always keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cpuemu.events import Event
from cpuemu.layout import Vector
from cpuemu.report.html.slices import FIRST_WIDTH_NS, ROOM_AFTER
from cpuemu.report.records import Record

EVENTS = (Event.IPI_RAISE, Event.IPI_ENTRY)
ARROWS_LIMIT = 20_000
MISSES_LIMIT = 2_000
"""Interrupts not taken that get an arrow of their own: a machine that loses more has said it already."""


class Way(NamedTuple):
    """From where to where, as which vector."""

    source: int
    target: int
    vector: int


@dataclass(slots=True)
class Arrow:
    """Times in ns since power-on; ``count`` interrupts, of which the slowest took ``longest`` ns."""

    start: int
    end: int
    count: int = 1
    longest: int = 0

    def __post_init__(self) -> None:
        self.longest = self.end - self.start

    def join(self, other: Arrow) -> None:
        self.count += other.count
        if other.start < self.start:
            self.start, self.end = other.start, other.end
        self.longest = max(self.longest, other.longest)


@dataclass
class Interrupts:
    """``take`` every record of EVENTS in order of time, then ``end``."""

    cpus: int
    limit: int = ARROWS_LIMIT
    width: int = 0
    sent: dict[Way, int] = field(default_factory=dict)
    arrows: dict[tuple[Way, int], Arrow] = field(default_factory=dict)
    missed: list[tuple[int, Way]] = field(default_factory=list)
    missed_in_all: int = 0
    _raised: dict[tuple[Way, int], int] = field(default_factory=dict)
    _number: int = 0

    def take(self, record: Record, at: int) -> None:
        other, vector, low, high = record.args
        if other >= self.cpus or vector >= Vector.NR:
            return
        ticket = low | high << 32
        if record.event == Event.IPI_RAISE:
            way = Way(record.cpu, other, vector)
            self.sent[way] = self.sent.get(way, 0) + 1
            self._raised[way, ticket] = at
            return
        way = Way(other, record.cpu, vector)
        raised = self._raised.pop((way, ticket), None)
        if raised is not None:
            self._add(way, Arrow(raised, max(raised, at)))

    def end(self, reaches_back: dict[int, int], pending: set[tuple[Way, int]]) -> None:
        """``reaches_back``: since when the records of each target are complete; ``pending``: with their tickets, what
        RAM says was raised and not taken."""
        missed = sorted((at, key[0]) for key, at in self._raised.items()
                        if key in pending or at >= reaches_back.get(key[0].target, 0))
        self.missed, self.missed_in_all = missed[:MISSES_LIMIT], len(missed)

    def _add(self, way: Way, arrow: Arrow) -> None:
        self._put(self.arrows, way, arrow)
        while len(self.arrows) > self.limit:
            self.width = self.width * 2 or FIRST_WIDTH_NS
            kept: dict[tuple[Way, int], Arrow] = {}
            for (each, _), one in self.arrows.items():
                self._put(kept, each, one)
            self.arrows = kept
            if len(kept) <= self.limit * ROOM_AFTER or self.width >= 1 << 62:
                break

    def _put(self, arrows: dict[tuple[Way, int], Arrow], way: Way, arrow: Arrow) -> None:
        self._number += 1
        key = (way, arrow.start // self.width if self.width else -self._number)
        if key in arrows:
            arrows[key].join(arrow)
        else:
            arrows[key] = arrow
