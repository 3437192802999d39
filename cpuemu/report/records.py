"""The trace of a run: the rings of all CPUs, and the files of --trace all, merged by time in constant memory.

A record counts only if its sequence number is the one of its place, before and after it was copied: the machine may
be running.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cpuemu.events import NR_KINDS, RECORD, RECORD_SIZE, Ring, RingHeader, ring_base, ring_file_size, ring_header
from cpuemu.report.image import Image


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


@dataclass
class RingState:
    """What a ring's header says."""

    cpu: int
    ring: Ring
    size: int
    written: int
    overwritten: dict[int, int]


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
    """Every ring of every CPU."""
    sizes = ring_sizes(image)
    if image.rings is None or not sizes[0]:
        return []
    states = []
    for cpu in range(image.machine.dims.cpus):
        for ring in (Ring.PAGES, Ring.SLOW):
            head = RingHeader(image.rings, ring_header(cpu, ring))
            lost = {event: count for event, count in enumerate(head.overwritten) if count and event < NR_KINDS}
            states.append(RingState(cpu, ring, sizes[ring], head.written, lost))
    return states


def records(image: Image) -> Iterator[Record]:
    """Every record that can be read, by time."""
    sizes = ring_sizes(image)
    sources = [_one(image, state, sizes) for state in ring_states(image)]
    yield from heapq.merge(*sources)


def _one(image: Image, state: RingState, sizes: tuple[int, int]) -> Iterator[Record]:
    path = image.directory / f"cpu{state.cpu}.ring{int(state.ring)}.trace"
    streamed = 0
    if path.exists():
        for record in _file(path, state):
            streamed += 1
            yield record
    assert image.rings is not None
    base = ring_base(image.machine.dims.cpus, sizes, state.cpu, state.ring)
    for position in range(max(streamed, state.written - state.size), state.written):
        place = base + (position & state.size - 1) * RECORD_SIZE
        raw = bytes(image.rings.view[place : place + RECORD_SIZE])
        fields = RECORD.unpack(raw)
        again = image.rings.load(place + 8, 4)
        if fields[1] == position + 1 & 0xFFFFFFFF and again == fields[1]:
            yield _record(fields, state, position)


def _file(path: Path, state: RingState) -> Iterator[Record]:
    """Records streamed to a file; a last one cut short is left out."""
    position = 0
    with path.open("rb") as stream:
        while data := stream.read(RECORD_SIZE * 4096):
            for fields in RECORD.iter_unpack(data[: len(data) // RECORD_SIZE * RECORD_SIZE]):
                yield _record(fields, state, position)
                position += 1


def _record(fields: tuple[int, ...], state: RingState, position: int) -> Record:
    time_ns, _, event, flags, task, a, b, c, d = fields
    return Record(time_ns, state.cpu, state.ring, position, event, flags, task, (a, b, c, d))
