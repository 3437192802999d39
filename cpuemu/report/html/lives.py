"""What happened to pages: the events that a reader can look up by page frame number.

A report cannot hold every page event of a long run.  It holds the last ones, and of pages that a finding names all of
them.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cpuemu.events import Event
from cpuemu.layout import MAX_ORDER
from cpuemu.layout import Page as PageWords
from cpuemu.report.image import Image
from cpuemu.report.records import Record

EVENTS_LIMIT = 120_000
"""Page events in a report."""
RUNS_LIMIT = 300_000
"""Runs of equal page records in a report: more are left out, the pages' ends are then not told."""

_PAGE = struct.Struct("<BBBBIII")
_NAMED = re.compile(r"\b(?:page|pfn)[ =](0x[0-9a-f]+|\d+)", re.IGNORECASE)


class Moment(NamedTuple):
    """One event of a block of 2**order pages that begins at ``pfn``."""

    at: int
    cpu: int
    event: int
    pfn: int
    order: int
    task: int


LIVES = (Event.MM_PAGE_ALLOC, Event.MM_PAGE_FREE, Event.MM_PAGE_ALLOC_ZONE_LOCKED, Event.MM_PAGE_PCPU_DRAIN)


@dataclass
class Lives:
    """``take`` every record of LIVES in order of time.  ``named``: pages of which nothing is left out."""

    named: frozenset[int]
    pages: int
    limit: int = EVENTS_LIMIT
    total: int = 0
    last: deque[Moment] = field(default_factory=deque)
    kept: list[Moment] = field(default_factory=list)

    def take(self, record: Record, at: int) -> None:
        pfn, order = record.args[:2]
        if pfn >= self.pages or order >= MAX_ORDER:  # of an allocation that failed, or damaged
            return
        self.total += 1
        self.last.append(Moment(at, record.cpu, record.event, pfn, order, record.task))
        if len(self.last) > self.limit:
            old = self.last.popleft()
            if any(old.pfn <= each < old.pfn + (1 << old.order) for each in self.named):
                self.kept.append(old)

    def moments(self) -> list[Moment]:
        """In order of time."""
        return [*self.kept, *self.last]


def named_pages(sentences: Iterable[str]) -> frozenset[int]:
    """The pages that findings speak of."""
    return frozenset(int(found, 0) for sentence in sentences for found in _NAMED.findall(sentence))


def page_runs(image: Image) -> list[tuple[int, int, int, int]] | None:
    """Every page's record at the end, as runs of equal ones: (pages, state, order, owner); None when too many."""
    runs: list[list[int]] = []
    for state, order, owner in _records(image):
        if runs and runs[-1][1:] == [state, order, owner]:
            runs[-1][0] += 1
        else:
            runs.append([1, state, order, owner])
            if len(runs) > RUNS_LIMIT:
                return None
    return [(run[0], run[1], run[2], run[3]) for run in runs]


def _records(image: Image) -> Iterator[tuple[int, int, int]]:
    base = image.machine.placed["mem_map"].base
    assert _PAGE.size == PageWords.SIZE
    pages = image.memory.view[base : base + image.machine.dims.pages * _PAGE.size]
    for state, order, _, _, owner, _, _ in _PAGE.iter_unpack(pages):
        yield state, order, owner
