"""Everything before the pages: magic, format files, symbols, names of tasks, options, where each CPU's pages are."""

from __future__ import annotations

import struct
from typing import BinaryIO

from cpuemu.layout import TaskState
from cpuemu.report.image import Image
from cpuemu.report.trace_dat.events import Events
from cpuemu.report.trace_dat.pages import PAGE_SIZE, Pages

MAGIC = b"\x17\x08\x44tracing6\0"
LITTLE_ENDIAN, LONG_SIZE = 0, 8
HEADER_PAGE = """\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
"""
HEADER_EVENT = """\
# compressed entry header
\ttype_len    :    5 bits
\ttime_delta  :   27 bits
\tarray       :   32 bits

\tpadding     : type == 29
\ttime_extend : type == 30
\ttime_stamp : type == 31
\tdata max type_len  == 28
"""
OPTION_TRACECLOCK = 4
CLOCK = b"local global [uptime]\0"
"""The one in brackets counts: from power-on."""


class Header:
    """Of one file."""

    def __init__(self, image: Image, events: Events) -> None:
        self.image, self.events = image, events

    def write(self, out: BinaryIO, pages: Pages) -> None:
        """Up to the first page; the pages follow CPU after CPU."""
        head = b"".join((
            MAGIC, struct.pack("<BBI", LITTLE_ENDIAN, LONG_SIZE, PAGE_SIZE),
            b"header_page\0", _long(HEADER_PAGE), b"header_event\0", _long(HEADER_EVENT),
            struct.pack("<I", 0),  # events of ftrace's own tracers
            self._formats(), _short(self._symbols()), _short(""), _long(self._tasks()),
            struct.pack("<I", self.image.machine.dims.cpus), b"options  \0",
            struct.pack("<HI", OPTION_TRACECLOCK, len(CLOCK)), CLOCK, struct.pack("<H", 0), b"flyrecord\0",
        ))
        sizes = pages.sizes()
        place = -(-(len(head) + 16 * len(sizes)) // PAGE_SIZE) * PAGE_SIZE
        table = b""
        for size in sizes:
            table += struct.pack("<QQ", place, size)
            place += size
        out.write(head + table + bytes(-(len(head) + len(table)) % PAGE_SIZE))

    def _formats(self) -> bytes:
        groups = self.events.formats()
        parts = [struct.pack("<I", len(groups))]
        for name, formats in groups.items():
            parts += [name.encode(), b"\0", struct.pack("<I", len(formats)), *map(_long, formats)]
        return b"".join(parts)

    def _symbols(self) -> str:
        return "".join(f"{address:016x} t {name}\n" for address, name in sorted(self.events.symbols().items()))

    def _tasks(self) -> str:
        tasks = [task for task in self.image.machine.tasks if task.state != TaskState.UNUSED]
        named = {self.image.pid(task.index): task.comm for task in tasks if self.image.pid(task.index)}
        return "".join(f"{pid} {comm}\n" for pid, comm in named.items())


def _long(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _short(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()
