"""Run directories made by hand: RAM of a hand-made machine, rings with chosen records, configuration and verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack

from cpuemu.events import (
    BY_ID,
    NR_KINDS,
    RECORD,
    RECORD_SIZE,
    Event,
    Ring,
    RingHeader,
    ring_base,
    ring_file_size,
    ring_header,
)
from cpuemu.report.image import BufferMemory
from tests.handmade import T0, Handmade, machine

SIZES = (8, 4)
"""Records in each CPU's rings."""


class RunDirectory:
    """Write records with ``trace``; ``save`` puts everything where a launch would have."""

    def __init__(self, path: Path, made: Handmade | None = None, sizes: tuple[int, int] = SIZES) -> None:
        self.path, self.sizes = path, sizes
        self.made = made or machine()
        self.cpus = self.made.machine.dims.cpus
        self.rings = bytearray(ring_file_size(self.cpus, sizes))
        self.memory = BufferMemory(self.rings)
        for cpu in range(self.cpus):
            for ring in (Ring.PAGES, Ring.SLOW):
                self.head(cpu, ring).size = sizes[ring]

    def head(self, cpu: int, ring: Ring) -> RingHeader:
        return RingHeader(self.memory, ring_header(cpu, ring))

    def place(self, cpu: int, ring: Ring, position: int) -> int:
        base = ring_base(self.cpus, self.sizes, cpu, ring)
        return base + (position & self.sizes[ring] - 1) * RECORD_SIZE

    def trace(self, cpu: int, microseconds: float, event: Event, *args: int, task: int = 70, flags: int = 0) -> int:
        """As the core writes: count what is overwritten; its position."""
        ring = BY_ID[event].ring
        head = self.head(cpu, ring)
        position, place = head.written, self.place(cpu, ring, head.written)
        if position >= self.sizes[ring] and position - head.spilled >= self.sizes[ring]:
            head.overwritten[self.rings[place + 12] % NR_KINDS] += 1
        numbers = (*args, 0, 0, 0, 0)[:4]
        time_ns = T0 + int(microseconds * 1000)
        self.rings[place : place + RECORD_SIZE] = RECORD.pack(time_ns, position + 1, event, flags, task, *numbers)
        head.written = position + 1
        return position

    def spill(self, cpu: int, ring: Ring) -> None:
        """As --trace all does."""
        head = self.head(cpu, ring)
        with (self.path / f"cpu{cpu}.ring{int(ring)}.trace").open("ab") as file:
            for position in range(head.spilled, head.written):
                place = self.place(cpu, ring, position)
                file.write(self.rings[place : place + RECORD_SIZE])
        head.spilled = head.written

    def save(self, configuration: dict[str, Any] | None = None, verdict: dict[str, Any] | None = None) -> Path:
        self.path.mkdir(exist_ok=True)
        (self.path / "ram").write_bytes(self.made.memory[:])
        (self.path / "rings").write_bytes(self.rings)
        (self.path / "machine.msgpack").write_bytes(msgpack.packb(configuration or {"cpus": self.cpus, "seed": 7}))
        if verdict is not None:
            (self.path / "verdict.msgpack").write_bytes(msgpack.packb(verdict))
        return self.path
