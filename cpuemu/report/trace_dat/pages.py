"""Pages of the kernel's ring buffer: events with the time since the one before, packed into four kilobytes."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from typing import BinaryIO

PAGE_SIZE = 4096
HEADER = struct.Struct("<QQ")
"""Time of the first event, and bytes of data."""
ROOM = PAGE_SIZE - HEADER.size
DELTA_BITS = 27
TIME_EXTEND = 30
"""type_len of an entry that only passes time."""
WORD = struct.Struct("<I")
TWO_WORDS = struct.Struct("<II")


@dataclass
class _Cpu:
    """A CPU's page under way, and the numbers of those before it in the spool."""

    data: bytearray = field(default_factory=bytearray)
    first_ns: int = 0
    last_ns: int = 0
    numbers: array[int] = field(default_factory=lambda: array("L"))


class Pages:
    """All CPUs' pages: full ones go to the spool in the order in which they become full."""

    def __init__(self, spool: BinaryIO, cpus: int) -> None:
        self.spool, self.written = spool, 0
        self.cpus = [_Cpu() for _ in range(cpus)]

    def add(self, cpu: int, time_ns: int, payload: bytes) -> None:
        """An event of a CPU; ``payload`` has whole words, at most 28."""
        page = self.cpus[cpu]
        entry = self._entry(page, time_ns, payload)
        if page.data and len(page.data) + len(entry) > ROOM:
            self._flush(page)
            entry = self._entry(page, time_ns, payload)
        page.data += entry
        page.last_ns = max(page.last_ns, time_ns)

    def _entry(self, page: _Cpu, time_ns: int, payload: bytes) -> bytes:
        if not page.data:
            page.first_ns = page.last_ns = time_ns
        # Time goes forward in a buffer.  A damaged record's does not: it keeps its place, not its time.
        delta = max(0, time_ns - page.last_ns)
        kind = len(payload) >> 2
        if delta >> DELTA_BITS:
            low, high = delta & (1 << DELTA_BITS) - 1, delta >> DELTA_BITS & 0xFFFFFFFF
            return TWO_WORDS.pack(TIME_EXTEND | low << 5, high) + WORD.pack(kind) + payload
        return WORD.pack(kind | delta << 5) + payload

    def _flush(self, page: _Cpu) -> None:
        self.spool.write(HEADER.pack(page.first_ns, len(page.data)) + page.data.ljust(ROOM, b"\0"))
        page.numbers.append(self.written)
        page.data.clear()
        self.written += 1

    def finish(self) -> None:
        """No more events come."""
        for page in self.cpus:
            if page.data:
                self._flush(page)

    def sizes(self) -> list[int]:
        """Bytes of each CPU's pages."""
        return [len(page.numbers) * PAGE_SIZE for page in self.cpus]

    def copy(self, out: BinaryIO) -> None:
        """All pages, CPU after CPU."""
        for page in self.cpus:
            for number in page.numbers:
                self.spool.seek(number * PAGE_SIZE)
                out.write(self.spool.read(PAGE_SIZE))
