"""What a CPU did from one moment to another, in a bounded number of slices.

A run that has more of them than fit is thinned while it is read: slices of one row that are shorter than the width of
a bucket, and begin in the same one, become one slice that knows how many it stands for.  The width doubles until all
fit.  What is longer than a bucket stays as it was: a hang is never thinned away.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

FIRST_WIDTH_NS = 1 << 10
"""The first bucket is about a microsecond wide."""
ROOM_AFTER = 0.75
"""Thinning ends when so much of the limit is left in use: the next one is then not due at once."""


class Row(enum.IntEnum):
    """The three rows of a CPU's lane."""

    TASK = 0  # who has the CPU
    WORK = 1  # what its task is about: reclaim, a drain, compaction, a wait
    IRQ = 2  # interrupts taken


class Kind(enum.IntEnum):
    """The colours of slices; their order is the order of the legend."""

    WORKLOAD = 0
    KTHREAD = 1
    IDLE = 2
    OFFLINE = 3
    LENT = 4
    RECLAIM = 5
    DRAIN = 6
    COMPACTION = 7
    WAIT = 8
    CALL = 9
    RESCHEDULE = 10
    PLATFORM = 11
    NMI = 12
    GOING = 13
    COMING = 14
    PREPARE = 15
    DISABLE_IRQ = 16
    RUN = 17
    EXIT = 18


KIND_NAMES = {
    Kind.WORKLOAD: "workload task", Kind.KTHREAD: "kernel thread", Kind.IDLE: "idle", Kind.OFFLINE: "offline",
    Kind.LENT: "lent to a kept process", Kind.RECLAIM: "direct reclaim", Kind.DRAIN: "drain of all CPUs",
    Kind.COMPACTION: "compaction", Kind.WAIT: "busy wait", Kind.CALL: "function call interrupt",
    Kind.RESCHEDULE: "reschedule interrupt", Kind.PLATFORM: "platform interrupt", Kind.NMI: "NMI",
    Kind.GOING: "going offline",
    Kind.COMING: "coming online", Kind.PREPARE: "PREPARE", Kind.DISABLE_IRQ: "DISABLE_IRQ", Kind.RUN: "RUN",
    Kind.EXIT: "EXIT",
}

VECTOR_KINDS = (Kind.RESCHEDULE, Kind.CALL, Kind.CALL, Kind.PLATFORM, Kind.NMI)
"""By vector."""

HOTPLUG_LANE, STOP_LANE = -2, -1
"""The lanes above those of CPU 0, 1, …"""


class Place(NamedTuple):
    """Where a slice is drawn."""

    lane: int
    row: int


@dataclass(slots=True)
class Slice:
    """Times in ns since power-on.  ``count`` slices, which took ``busy`` ns together; kind and label of the longest."""

    start: int
    end: int
    kind: int
    label: int
    count: int = 1
    busy: int = 0
    longest: int = 0

    def __post_init__(self) -> None:
        self.busy = self.longest = self.end - self.start

    def join(self, other: Slice) -> None:
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        self.count += other.count
        self.busy += other.busy
        if other.longest > self.longest:
            self.kind, self.label, self.longest = other.kind, other.label, other.longest


@dataclass
class Slices:
    """At most ``limit`` of them, unless that many are long.  ``width``: of a bucket, ns; 0 while nothing is thinned."""

    limit: int
    width: int = 0
    size: int = 0
    added: int = 0
    rows: dict[Place, list[Slice]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    def add(self, place: Place, start: int, end: int, kind: Kind, label: str) -> None:
        number = self.labels.setdefault(label, len(self.labels))
        row = self.rows.setdefault(place, [])
        self.added += 1
        self.size += self._put(row, Slice(start, max(start, end), kind, number))
        while self.size > self.limit and self._thin():
            pass

    def _put(self, row: list[Slice], new: Slice) -> int:
        """By how many the row grew."""
        if row and self.width and _short(row[-1], self.width) and _short(new, self.width) and (
                row[-1].start // self.width == new.start // self.width):
            row[-1].join(new)
            return 0
        row.append(new)
        return 1

    def _thin(self) -> bool:
        """Double the width; False when that is beyond anything that a run can need."""
        self.width = self.width * 2 or FIRST_WIDTH_NS
        self.size = 0
        for place, row in self.rows.items():
            kept: list[Slice] = []
            for each in row:
                self._put(kept, each)
            self.rows[place] = kept
            self.size += len(kept)
        return self.size > self.limit * ROOM_AFTER and self.width < 1 << 62


def _short(each: Slice, width: int) -> bool:
    return each.end - each.start < width
