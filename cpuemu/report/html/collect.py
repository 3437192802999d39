"""One pass over the trace: everything that a report draws, in bounded collections.

Context: constant memory but for what is kept; a run of millions of events takes seconds.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cpuemu.events import Event, Ring
from cpuemu.kernel.hung_task import Edge
from cpuemu.layout import Machine
from cpuemu.report.html import facts, interrupts, lives
from cpuemu.report.html.graph import Waits, waits_of
from cpuemu.report.html.interrupts import ARROWS_LIMIT, Interrupts, Way
from cpuemu.report.html.levels import BUCKETS_LIMIT, Levels, untraced
from cpuemu.report.html.lives import EVENTS_LIMIT, Lives, named_pages
from cpuemu.report.html.timeline import SLICES_LIMIT, Timeline
from cpuemu.report.image import Image
from cpuemu.report.records import Record, records, ring_states
from cpuemu.report.text import line_of

MARKS_LIMIT = 2_000
"""Marks of events on the timeline."""
MARKED = {Event.CPUEMU_FAULT: "fault", Event.CPUEMU_IPI_LOST: "fault", Event.CPUEMU_OOM_MOMENT: "oom",
          Event.MARK_VICTIM: "oom"}


@dataclass
class Collected:
    """All that the trace says, ready to be written down.  Times in ns since power-on."""

    image: Image
    timeline: Timeline
    interrupts: Interrupts
    levels: Levels
    lives: Lives
    waits: Waits
    marks: list[tuple[int, int, str, str]] = field(default_factory=list)
    marks_in_all: int = 0
    events: Tally[int] = field(default_factory=Tally)
    firsts: dict[tuple[int, int], int] = field(default_factory=dict)
    """When the first record of a CPU's ring was written."""
    end: int = 0


def collect(image: Image, room: float = 1.0) -> Collected:
    """Read the whole trace once.  ``room``: the share of every limit that is used."""
    told = facts.findings(image)
    found = Collected(
        image, Timeline(image, int(SLICES_LIMIT * room)), Interrupts(image.machine.dims.cpus, int(ARROWS_LIMIT * room)),
        Levels(image, int(BUCKETS_LIMIT * room)),
        Lives(named_pages(each.message for each in told), image.machine.dims.pages, int(EVENTS_LIMIT * room)),
        waits_of(image))
    power_on = image.machine.header.boot_ns
    takes = _takes(found)
    for record in records(image):
        at = max(0, record.time_ns - power_on)
        event = record.event
        found.events[event] += 1
        ring = record.cpu, record.ring
        if ring not in found.firsts:
            found.firsts[ring] = at
            found.timeline.begins(record, at)
        for take in takes.get(event, ()):
            take(record, at)
        found.end = at
    found.end = max([found.end, *(int(each.seconds * 1e9) for each in told)])
    for each in told:
        if each.seconds:
            found.marks.append((int(each.seconds * 1e9), -1 if each.cpu is None else each.cpu, "finding",
                                f"{each.rule}: {each.message}"))
    _end(found)
    return found


def _takes(found: Collected) -> dict[int, list[Callable[[Record, int], None]]]:
    """Who wants which events.  Most are of pages, and most of what is done is done for those."""
    line = line_of(found.image)

    def mark(record: Record, at: int) -> None:
        found.marks_in_all += 1
        if len(found.marks) < MARKS_LIMIT:
            found.marks.append((at, record.cpu, MARKED[Event(record.event)], line(record).partition(": ")[2]))

    takes: dict[int, list[Callable[[Record, int], None]]] = {}
    for wanted in (found.timeline.takes, found.levels.takes, dict.fromkeys(interrupts.EVENTS, found.interrupts.take),
                   dict.fromkeys(lives.LIVES, found.lives.take), dict.fromkeys(MARKED, mark)):
        for event, take in wanted.items():
            takes.setdefault(event, []).append(take)
    return takes


def _end(found: Collected) -> None:
    slow, _ = complete_since(found)
    found.interrupts.end(slow, _pending(found.image.machine))
    for edge in found.waits.edges:
        cpu = _cpu_of(found.image, edge)
        if cpu is not None and edge.since_ns:
            since = max(0, edge.since_ns - found.image.machine.header.boot_ns)
            kind, number = edge.waiter
            found.timeline.waits(number if kind == "task" else None, cpu, since, found.end, edge.text)
    found.timeline.end(found.end)


def _pending(machine: Machine) -> set[tuple[Way, int]]:
    """Interrupts that were raised and not taken when the machine stopped, with their tickets."""
    return {(Way((word & 0xFFFF) - 1, cpu.index, vector), word >> 16)
            for cpu in machine.cpus for vector, word in enumerate(cpu.pending) if word}


def _cpu_of(image: Image, edge: Edge) -> int | None:
    """The CPU on whose lane a wait is drawn: that of a task which keeps it, or of an interrupt handler."""
    kind, number = edge.waiter
    if kind != "task":
        return number if kind == "irq" else None
    task = image.machine.tasks[number]
    return task.cpu if task.busy and task.cpu < image.machine.dims.cpus else None


def complete_since(found: Collected) -> tuple[dict[int, int], dict[int, int]]:
    """Since when the records of each CPU's slow ring, and of its ring of pages, have no gap."""
    complete: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for state in ring_states(found.image):
        whole = complete[0] if state.ring == Ring.SLOW else complete[1]
        whole[state.cpu] = found.firsts.get((state.cpu, state.ring), 0) if state.overwritten else 0
    return complete


# --- what a reader must know about the numbers -------------------------------------------------------------


def notes_of(found: Collected) -> Iterator[str]:
    """A sentence for each way in which the report is not the whole truth."""
    image = found.image
    if facts.is_running(image):
        yield ("The machine was running while this was written: what is shown is one moment of it, and levels of "
               "memory may be off by what happened meanwhile.")
    lost = Tally[int]()
    for state in ring_states(image):
        lost.update(state.overwritten)
    if lost:
        yield (f"{lost.total():,} of {lost.total() + found.events.total():,} events had been overwritten in the rings: "
               "the beginning is missing where the charts are empty. cpuemu launch --trace all keeps everything.")
    seen = Tally(found.events)
    seen.update(lost)
    after = untraced(image, seen)
    if after and found.events and not facts.is_running(image):
        yield (f"{after:,} page operations came after the rings were frozen: free pages and pages on lists may be off "
               "by so many.")
    slices = found.timeline.slices
    if slices.width:
        yield (f"The timeline has {slices.size:,} slices for {slices.added:,}: those shorter than "
               f"{_duration(slices.width)} that stand beside each other are drawn as one.")
    if found.interrupts.width:
        yield (f"Arrows of interrupts between the same two CPUs within {_duration(found.interrupts.width)} are drawn "
               "as one.")
    if found.interrupts.missed_in_all > len(found.interrupts.missed):
        yield (f"{found.interrupts.missed_in_all:,} interrupts were not taken; the first "
               f"{len(found.interrupts.missed):,} are drawn.")
    if found.marks_in_all > MARKS_LIMIT:
        yield f"Of {found.marks_in_all:,} faults and OOM moments the first {MARKS_LIMIT:,} are marked."


def _duration(ns: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"
