"""The trace of a run: the rings of all CPUs, and the files of --trace all, merged by time in constant memory.

The machine may be running.  A record counts only if its sequence number is that of its place when it was copied, and
if its writer, by then, had not come round to its place again.
"""

from __future__ import annotations

import bisect
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from cpuemu.events import NR_KINDS, RECORD, RECORD_SIZE, Ring, RingHeader, ring_base, ring_file_size, ring_header
from cpuemu.report.image import BufferMemory, Image

CHUNK, FEWEST, IN_MEMORY = 512, 64, 1 << 16
"""Records copied from a ring at a time: at most, at least, and of all rings together."""
SEQUENCE_AT = 8
"""Byte offset of the sequence number in a record."""


class Record(NamedTuple):
    """One event; the order of the fields is the order of a merge."""

    time_ns: int
    cpu: int
    ring: int
    position: int
    event: int
    flags: int
    task: int
    args: tuple[int, int, int, int]


_time = attrgetter("time_ns")


@dataclass
class RingState:
    """What a ring's header says; ``file``: where --trace all has written its records."""

    cpu: int
    ring: Ring
    size: int
    written: int
    overwritten: dict[int, int]
    file: Path


def ring_sizes(image: Image) -> tuple[int, int]:
    """Records in each CPU's two rings, (0, 0) where the file is missing or makes no sense."""
    if image.rings is None:
        return 0, 0
    sizes = []
    for ring in (Ring.PAGES, Ring.SLOW):
        place = ring_header(0, ring)
        sizes.append(RingHeader(image.rings, place).size if place + RingHeader.SIZE <= image.rings.size else 0)
    both = (sizes[0], sizes[1])
    whole = all(size and size & (size - 1) == 0 for size in both)
    return both if whole and ring_file_size(image.machine.dims.cpus, both) <= image.rings.size else (0, 0)


def ring_states(image: Image) -> list[RingState]:
    """Every ring of every CPU; none, and a sentence in ``image.problems``, where the file makes no sense."""
    sizes = ring_sizes(image)
    if image.rings is None:
        return []
    if not sizes[0]:
        problem = f"{image.directory / 'rings'}: damaged or cut short; there is no trace to read"
        if problem not in image.problems:
            image.problems.append(problem)
        return []
    states = []
    for cpu in range(image.machine.dims.cpus):
        for ring in (Ring.PAGES, Ring.SLOW):
            head = RingHeader(image.rings, ring_header(cpu, ring))
            lost = {event: count for event, count in enumerate(head.overwritten) if count and event < NR_KINDS}
            file = image.directory / f"cpu{cpu}.ring{int(ring)}.trace"
            states.append(RingState(cpu, ring, sizes[ring], head.written, lost, file))
    return states


def records(image: Image, cpus: Container[int] | None = None, rings: Container[int] | None = None) -> Iterator[Record]:
    """Every record of these CPUs' rings (default: all) that can be read, by time.

    A chunk of each ring is in memory.  What is not later than the end of every chunk can be sorted and told: no ring
    has anything earlier left.
    """
    sizes = ring_sizes(image)
    states = [state for state in ring_states(image) if (cpus is None or state.cpu in cpus)
              and (rings is None or state.ring in rings)]
    count = min(CHUNK, max(FEWEST, IN_MEMORY // max(1, len(states))))
    sources = [_one(image, state, sizes, count) for state in states]
    chunks: list[list[Record]] = [[] for _ in sources]
    while True:
        chunks = [chunk or next(source, []) for chunk, source in zip(chunks, sources, strict=True)]
        ends = [chunk[-1].time_ns for chunk in chunks if chunk]
        if not ends:
            return
        end = min(ends)
        window: list[Record] = []
        for number, chunk in enumerate(chunks):
            if chunk and chunk[0].time_ns <= end:
                told = bisect.bisect_right(chunk, end, key=_time)
                window += chunk[:told]
                chunks[number] = chunk[told:]
        if not window:  # damaged: a chunk ends before it begins; it is told as it is, so that there is an end
            number = next(number for number, chunk in enumerate(chunks) if chunk and chunk[-1].time_ns == end)
            window, chunks[number] = chunks[number], []
        window.sort()
        yield from window


def last_records(image: Image, cpus: Iterable[int], until_ns: int, count: int) -> list[Record]:
    """The last ``count`` records of some CPUs' rings that are not later than a moment, by time."""
    sizes = ring_sizes(image)
    chosen = set(cpus)
    found: list[Record] = []
    for state in ring_states(image):
        if state.cpu in chosen:
            found += _last(image, state, sizes, until_ns, count)
    return sorted(found)[-count:]


def _last(image: Image, state: RingState, sizes: tuple[int, int], until_ns: int, count: int) -> list[Record]:
    assert image.rings is not None
    base = ring_base(image.machine.dims.cpus, sizes, state.cpu, state.ring)

    def at(position: int) -> tuple[int, ...]:
        return RECORD.unpack_from(image.rings.view, base + (position & state.size - 1) * RECORD_SIZE)  # type: ignore

    first = max(0, state.written - state.size)
    end = bisect.bisect_right(range(first, state.written), until_ns, key=lambda position: at(position)[0])
    places = range(max(first, first + end - count), first + end)
    return [_record(fields, state, position) for position in places
            if (fields := at(position))[1] == position + 1 & 0xFFFFFFFF]


def _one(image: Image, state: RingState, sizes: tuple[int, int], chunk: int) -> Iterator[list[Record]]:
    """One ring's records, some at a time: those in its file first, then those that stand only in the ring."""
    streamed = 0
    if state.file.exists():
        for found in _file(state, chunk):
            streamed = found[-1].position + 1
            yield found
    assert image.rings is not None
    base = ring_base(image.machine.dims.cpus, sizes, state.cpu, state.ring)
    head = RingHeader(image.rings, ring_header(state.cpu, state.ring))
    position = max(streamed, state.written - state.size)
    while position < state.written:
        slot = position & state.size - 1
        count = min(chunk, state.written - position, state.size - slot)
        place = base + slot * RECORD_SIZE
        copy = bytes(image.rings.view[place : place + count * RECORD_SIZE])
        stable = head.written - state.size  # a record above it has not been touched since
        found = []
        for number, fields in enumerate(RECORD.iter_unpack(copy)):
            whole = position + number > stable or _unchanged(image.rings, place + number * RECORD_SIZE, fields[1])
            if fields[1] == position + number + 1 & 0xFFFFFFFF and whole:
                found.append(_record(fields, state, position + number))
        if found:
            yield found
        position += count


def _unchanged(rings: BufferMemory, place: int, sequence: int) -> bool:
    return rings.load(place + SEQUENCE_AT, 4) == sequence


def _file(state: RingState, chunk: int) -> Iterator[list[Record]]:
    """Records streamed to a file; what its writer has not finished, or a full disk cut short, is left out."""
    position = 0
    with state.file.open("rb") as stream:
        while data := stream.read(RECORD_SIZE * chunk):
            whole = len(data) // RECORD_SIZE * RECORD_SIZE
            found = [_record(fields, state, number)
                     for number, fields in enumerate(RECORD.iter_unpack(data[:whole]), position)
                     if fields[1] == number + 1 & 0xFFFFFFFF]
            if found:
                yield found
            position += whole // RECORD_SIZE
            if whole < len(data):  # the file may grow under us: never go on in the middle of a record
                return


def _record(fields: tuple[int, ...], state: RingState, position: int) -> Record:
    time_ns, _, event, flags, task, a, b, c, d = fields
    return tuple.__new__(Record, (time_ns, state.cpu, state.ring, position, event, flags, task, (a, b, c, d)))
