"""ftrace text: what trace_pipe, ``trace-cmd report`` and ``perf script`` print, plain or compressed.

Only the lines that a replay uses are taken apart.  The order of the file is the total order.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from cpuemu.workloads.base import InputError

EVENTS = frozenset(
    ("mm_page_alloc", "mm_page_free", "mm_page_free_direct", "csd_queue_cpu", "ipi_send_cpu", "cpuhp_enter",
     "cpuhp_multi_enter")
)  # fmt: skip
"""mm_page_free was mm_page_free_direct before v3.3."""

# comm-pid [cpu] flags seconds.micros: event: fields   (flags: not in perf script; event: with its group there)
_LINE = re.compile(r"\[(\d+)\]\s+(?:[^\s\d:]\S*\s+|\S+\s+)?(\d+)\.(\d+):\s+(?:\w+:)?(\w+):\s*(.*)")
_FIELD = re.compile(r"(\w+)=(\S+)|(\w+):\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Record:
    """One event line: ``line`` counts event lines from 1; ``fields`` are the event's own, as text."""

    line: int
    time_ns: int
    cpu: int
    event: str
    fields: dict[str, str]


_OPENERS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\xfd7zXZ\x00": lambda path: lzma.open(path, "rb"),
    b"\x1f\x8b": lambda path: gzip.open(path, "rb"),
    b"BZh": lambda path: bz2.open(path, "rb"),
    b"\x28\xb5\x2f\xfd": lambda path: zstandard.open(path, "rb"),
}


def read_trace(path: Path) -> Iterator[Record]:
    """The events of a file, in its order.  Raises InputError: missing, cut short, not a trace."""
    try:
        with path.open("rb") as plain:
            head = plain.read(8)
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
        stream: Any = opener(path) if opener else path.open("rb")
        with stream, io.TextIOWrapper(stream, encoding="utf-8", errors="strict") as text:
            yield from parse(text, str(path))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text trace; give what trace_pipe, trace-cmd report or perf script prints "
                         "(for a trace.dat: trace-cmd report FILE > FILE.txt)") from None
    except (EOFError, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the compressed file is damaged or cut short ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def parse(lines: Iterator[str] | io.TextIOBase, name: str = "trace") -> Iterator[Record]:
    """The events in lines of text.  Lines of other events count, so that line numbers stay those of the recording."""
    number = 0
    for text in lines:
        if "\0" in text:
            raise InputError(f"{name}: not a text trace (it contains zero bytes)")
        match = _LINE.search(text)
        if match is None:
            continue
        number += 1
        event = match[4]
        if event not in EVENTS:
            continue
        fields = {key or other: value or number_ for key, value, other, number_ in _FIELD.findall(match[5])}
        time_ns = int(match[2]) * 1_000_000_000 + int(match[3].ljust(9, "0")[:9])
        yield Record(number, time_ns, int(match[1]), event, fields)
