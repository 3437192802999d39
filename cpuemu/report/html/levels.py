"""Free pages of each zone and pages on each CPU's lists over time, out of page events and the numbers at the end.

Each event says by how many pages a level changed; what stands in RAM at the end says what the levels came to.  So they
are known from there backwards, as far as no page event is missing: where a ring has been overwritten, the levels begin
after the gap.  A level is kept as (time bucket, lowest, highest, last); the buckets double in width until they fit.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cpuemu.events import Event
from cpuemu.layout import MAX_ORDER, Counter
from cpuemu.report.html.slices import FIRST_WIDTH_NS
from cpuemu.report.image import Image
from cpuemu.report.records import Record

BUCKETS_LIMIT = 40_000
"""Buckets of all levels together."""
NO_PFN = 0xFFFFFFFF
"""Of an allocation that failed."""


@dataclass(slots=True)
class Bucket:
    """A level in one bucket, relative to where it was at the first event."""

    number: int
    low: int
    high: int
    last: int


@dataclass
class Levels:
    """``takes`` by event, in order of time; then ``zone`` and ``cpu`` tell the levels in pages."""

    image: Image
    limit: int = BUCKETS_LIMIT
    width: int = FIRST_WIDTH_NS
    size: int = 0
    zones: list[list[Bucket]] = field(default_factory=list)
    cpus: list[list[Bucket]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        machine = self.image.machine
        self.starts = [zone.start_pfn for zone in machine.zones]
        self.zones = [[Bucket(0, 0, 0, 0)] for _ in range(machine.dims.zones)]
        self.cpus = [[Bucket(0, 0, 0, 0)] for _ in range(machine.dims.cpus)]

    @property
    def takes(self) -> dict[int, Callable[[Record, int], None]]:
        """What to do with each event; an allocation that failed has no page."""
        return {
            Event.MM_PAGE_ALLOC: self._alloc, Event.MM_PAGE_FREE: self._free,
            Event.MM_PAGE_ALLOC_ZONE_LOCKED: self._from_buddy, Event.MM_PAGE_PCPU_DRAIN: self._drain,
            Event.MM_COMPACTION_ISOLATE_FREEPAGES: self._isolate,
        }

    def _alloc(self, record: Record, at: int) -> None:
        if not record.args[1] and record.args[0] != NO_PFN:
            self._add(self.cpus[record.cpu], at, -1)

    def _free(self, record: Record, at: int) -> None:
        pfn, order = record.args[:2]
        if 0 < order < MAX_ORDER:
            self._add(self.zones[self._zone(pfn)], at, 1 << order)
        elif not order:
            self._add(self.cpus[record.cpu], at, 1)

    def _from_buddy(self, record: Record, at: int) -> None:
        pfn, order, _, refill = record.args
        if order >= MAX_ORDER:
            return
        self._add(self.zones[self._zone(pfn)], at, -(1 << order))
        if refill:
            self._add(self.cpus[record.cpu], at, 1)

    def _drain(self, record: Record, at: int) -> None:
        self._add(self.zones[self._zone(record.args[0])], at, 1)
        if record.args[3] < len(self.cpus):  # not always the CPU that drains: CPU_DEAD empties another's lists
            self._add(self.cpus[record.args[3]], at, -1)

    def _isolate(self, record: Record, at: int) -> None:
        self._add(self.zones[self._zone(record.args[0])], at, -record.args[3])

    def zone(self, number: int, since: int) -> Iterator[tuple[int, int, int, int]]:
        """(time ns, lowest, highest, last) of a zone's pages on its free lists, from a moment on."""
        zone = self.image.machine.zones[number]
        return self._known(self.zones[number], sum(count << order for order, count in enumerate(zone.nr_free)), since)

    def cpu(self, number: int, since: int) -> Iterator[tuple[int, int, int, int]]:
        """The same of the pages on a CPU's lists."""
        machine = self.image.machine
        count = sum(machine.pcp(number, zone).count for zone in range(machine.dims.zones))
        return self._known(self.cpus[number], count, since)

    def _known(self, buckets: list[Bucket], final: int, since: int) -> Iterator[tuple[int, int, int, int]]:
        offset = final - buckets[-1].last
        known = bisect.bisect_right(buckets, since, key=lambda each: each.number * self.width)
        before = buckets[max(0, known - 1)].last + offset
        yield since, before, before, before
        for each in buckets[known:]:
            yield each.number * self.width, each.low + offset, each.high + offset, each.last + offset

    def _zone(self, pfn: int) -> int:
        return max(0, bisect.bisect_right(self.starts, pfn) - 1)

    def _add(self, buckets: list[Bucket], at: int, pages: int) -> None:
        last = buckets[-1]
        level = last.last + pages
        number = at // self.width
        if number <= last.number:
            last.low, last.high, last.last = min(last.low, level), max(last.high, level), level
            return
        buckets.append(Bucket(number, min(last.last, level), max(last.last, level), level))
        self.size += 1
        while self.size > self.limit:
            self._widen()

    def _widen(self) -> None:
        self.width *= 2
        self.size = 0
        for levels in (self.zones, self.cpus):
            for index, buckets in enumerate(levels):
                kept = [buckets[0]]
                kept[0].number //= 2
                for each in buckets[1:]:
                    each.number //= 2
                    if each.number == kept[-1].number:
                        last = kept[-1]
                        last.low, last.high, last.last = min(last.low, each.low), max(last.high, each.high), each.last
                    else:
                        kept.append(each)
                levels[index] = kept
                self.size += len(kept)


TRACED = {Event.MM_PAGE_FREE: Counter.FREE, Event.MM_PAGE_ALLOC_ZONE_LOCKED: Counter.REFILL,
          Event.MM_PAGE_PCPU_DRAIN: Counter.DRAIN}
"""Events that the machine counts too: what it counted and did not trace came after its rings were frozen."""


def untraced(image: Image, seen: dict[int, int]) -> int:
    """Page operations that no ring has a record of; ``seen``: records by event, the overwritten ones too."""
    counted = sum(cpu.counters[counter] for cpu in image.machine.cpus for counter in TRACED.values())
    return max(0, counted - sum(seen.get(event, 0) for event in TRACED))
