"""Counters: pages on each CPU's lists, free pages of each zone beside its watermarks."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from cpuemu.events import Event
from cpuemu.layout import NOBODY, Machine, Wmark
from cpuemu.report.perfetto.packets import Packets, Track
from cpuemu.report.records import Record

STEPS: dict[int, int] = {Event.MM_PAGE_ALLOC: -1, Event.MM_PAGE_FREE: 1, Event.MM_PAGE_ALLOC_ZONE_LOCKED: 1,
                         Event.MM_PAGE_PCPU_DRAIN: -1}
"""What a page of order 0 does to a CPU's list."""
QUANTUM_NS = 20_000
"""A counter is drawn at most this often: a storm moves a page every few hundred nanoseconds."""


@dataclass
class Counter:
    """A number over time.  ``shown``: what was drawn last, and when; ``value`` may be newer."""

    packets: Packets
    track: Track
    value: int | None = None
    at_ns: int = 0
    shown: int | None = None
    shown_ns: int = 0

    def set(self, time_ns: int, value: int) -> None:
        if time_ns - self.shown_ns >= QUANTUM_NS:
            self.draw()
        self.value, self.at_ns = value, time_ns
        if self.shown is None:
            self.draw()

    def draw(self) -> None:
        if self.value is not None and self.value != self.shown:
            self.packets.count(self.track, self.at_ns, self.value)
            self.shown, self.shown_ns = self.value, self.at_ns


class Pages:
    """Page events as counters.

    ``cpuemu_zone_pages`` says now and then what moves between lists have left; between two of them single pages come
    to a CPU's list and leave it.
    """

    events = (Event.MM_PAGE_ALLOC, Event.MM_PAGE_FREE, Event.CPUEMU_ZONE_PAGES, Event.MM_PAGE_ALLOC_ZONE_LOCKED,
              Event.MM_PAGE_PCPU_DRAIN, Event.MM_PAGE_ALLOC_EXTFRAG, Event.CPUEMU_PAGE_HELD)

    def __init__(self, packets: Packets, machine: Machine, zones: Track, cpus: list[Track]) -> None:
        self.packets = packets
        self.starts = [zone.start_pfn for zone in machine.zones]
        names = [zone.name for zone in machine.zones]
        self.free = [Counter(packets, packets.counter(f"{name} free", zones, 4 * number, f"zone {name}"))
                     for number, name in enumerate(names)]
        self.pcp = [[Counter(packets, packets.counter(f"pcp pages {name}", cpu, number, f"pcp {name}"))
                     for number, name in enumerate(names)] for cpu in cpus]
        self.marks = [(packets.counter(f"{zone.name} {mark.name.lower()}", zones, 4 * zone.index + 1 + at,
                                       f"zone {zone.name}"), zone.wmark[mark])
                      for zone in machine.zones for at, mark in enumerate((Wmark.HIGH, Wmark.LOW, Wmark.MIN))]
        self.last_ns = 0
        self.tell = self._first

    def _first(self, record: Record) -> None:
        self._watermarks(record.time_ns)
        self.tell = self._tell
        self._tell(record)

    def _tell(self, record: Record) -> None:
        event, args = record.event, record.args
        self.last_ns = record.time_ns
        if event == Event.CPUEMU_ZONE_PAGES:
            zone, free, cpu, count = args
            if zone < len(self.free) and cpu < len(self.pcp):
                self.free[zone].set(record.time_ns, free)
                self.pcp[cpu][zone].set(record.time_ns, count)
        elif args[1] == 0 and args[0] != NOBODY and (change := STEPS.get(event)):
            cpu = args[3] if event == Event.MM_PAGE_PCPU_DRAIN and args[3] < len(self.pcp) else record.cpu
            counter = self.pcp[cpu][max(0, bisect.bisect_right(self.starts, args[0]) - 1)]
            if counter.value is not None:
                counter.set(record.time_ns, counter.value + change)

    def end(self) -> None:
        for counter in (*self.free, *(each for cpu in self.pcp for each in cpu)):
            counter.draw()
        if self.last_ns:
            self._watermarks(self.last_ns)

    def _watermarks(self, time_ns: int) -> None:
        for track, value in self.marks:
            self.packets.count(track, time_ns, value)
