"""--trace all: the rings streamed to files, record by record, before they wrap.

The writer is the CPU itself, between two operations or before it sleeps: a ring never runs over its own tail.
"""

from __future__ import annotations

import os
from pathlib import Path

from cpuemu.arch.ram import RingFile, ring_view
from cpuemu.events import RECORD_SIZE, Ring, ring_base


def trace_file(directory: Path, cpu: int, ring: Ring) -> Path:
    """Where the records of one ring go: 32 bytes each, in order, all lives of the CPU in one file."""
    return directory / f"cpu{cpu}.ring{int(ring)}.trace"


class TraceFiles:
    """The two files of one CPU."""

    def __init__(self, directory: Path, cpu: int, rings: RingFile) -> None:
        self.cpu, self.rings = cpu, rings
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.files = {ring: os.open(trace_file(directory, cpu, ring), flags, 0o600) for ring in (Ring.PAGES, Ring.SLOW)}

    def spill(self) -> None:
        """Write what is not in the files yet.  Raises OSError on a full disk: nothing is lost in silence."""
        for ring, descriptor in self.files.items():
            head = ring_view(self.rings, self.cpu, ring)
            base = ring_base(self.rings.cpus, self.rings.sizes, self.cpu, ring)
            start, end, size = head.spilled, head.written, head.size
            while start < end:
                first = start % size
                count = min(end - start, size - first)
                place = base + first * RECORD_SIZE
                _write_all(descriptor, memoryview(self.rings.mapping)[place : place + count * RECORD_SIZE])
                start += count
                head.spilled = start


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
