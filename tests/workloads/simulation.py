"""A replay on paper: the rules of the replay, written down a second time, without anything of the machine.

Streams take their operations in an arbitrary order.  An operation waits: a free for its allocation; everything for the
slowest stream, when it is ``window`` lines ahead of it; everything more than ``window`` lines after a hotplug event for
that event; and the event for all lines before it.  Every wait must be for an earlier line, and in the end all is done.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from cpuemu.workloads.base import Workload

END = 1 << 32
ALLOC, FREE = 0, 1


@dataclass(frozen=True)
class Step:
    """One operation as it stands in memory."""

    line: int
    slot: int
    kind: int
    order: int
    pieces: int


@dataclass
class Simulation:
    """``run`` raises AssertionError where the plan could not be replayed."""

    workload: Workload
    window: int
    seed: int
    pages: dict[int, int] = field(default_factory=dict)
    """By slot: pages it has."""
    freed: dict[int, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.streams = [list(steps(stream.ops)) for stream in self.workload.streams]
        self.at = [0] * len(self.streams)
        self.events = [event.line for event in self.workload.hotplug]
        self.next_event = 0
        self.lines = {step.slot: step.line for stream in self.streams for step in stream if step.kind == ALLOC}
        for slot, (_, order) in enumerate(self.workload.held):
            self.pages[slot] = 1 << order
        self.draw = random.Random(self.seed)

    def run(self) -> None:
        """Whoever can go on, goes on; at random."""
        while True:
            able = [number for number in range(len(self.streams)) if self._able(number)]
            event = self.next_event < len(self.events) and self._next_line() >= self.events[self.next_event]
            if not able and not event:
                break
            choice = self.draw.choice([*able, -1] if event else able)
            if choice < 0:
                self.next_event += 1
            else:
                self._do(choice)
        assert all(at == len(stream) for at, stream in zip(self.at, self.streams, strict=True)), "a stream is stuck"
        assert self.next_event == len(self.events), "a hotplug event is stuck"

    def _able(self, number: int) -> bool:
        step = self._next(number)
        if step is None:
            return False
        slowest = self._next_line()
        if step.line > slowest + self.window:
            assert slowest < step.line
            return False
        if self.next_event < len(self.events) and step.line > self.events[self.next_event] + self.window:
            assert self.events[self.next_event] < step.line
            return False
        if step.kind == FREE and step.slot not in self.pages:
            assert step.slot in self.lines, f"line {step.line} frees what nobody allocates"
            assert self.lines[step.slot] < step.line, f"line {step.line} waits for line {self.lines[step.slot]}"
            return False
        return True

    def _do(self, number: int) -> None:
        step = self._next(number)
        assert step is not None
        self.at[number] += 1
        if step.kind == ALLOC:
            assert step.slot not in self.pages, f"line {step.line}: slot {step.slot} is in use"
            self.pages[step.slot] = 1 << step.order
        elif step.kind == FREE:
            freed = self.freed.setdefault(step.slot, set())
            first = step.pieces << step.order
            gone = set(range(first, first + (1 << step.order)))
            assert gone <= set(range(self.pages[step.slot])), f"line {step.line} frees more than was allocated"
            assert not gone & freed, f"line {step.line} frees a page twice"
            freed |= gone

    def left(self) -> int:
        """Pages that nobody has freed."""
        return sum(self.pages.values()) - sum(len(pages) for pages in self.freed.values())

    def _next(self, number: int) -> Step | None:
        stream, at = self.streams[number], self.at[number]
        return stream[at] if at < len(stream) else None

    def _next_line(self) -> int:
        return min((step.line for number in range(len(self.streams)) if (step := self._next(number))), default=END)


def steps(data: bytes) -> Iterator[Step]:
    """The operations of a stream, in the declared layout; its lines must rise."""
    last = 0
    for line, slot, kind, order, _, pieces, _, _ in struct.iter_unpack("<IIBBBBHH", data):
        assert line >= last, "lines of a stream go back"
        last = line
        yield Step(line, slot, kind, order, pieces)
