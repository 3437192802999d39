"""ftrace text: what trace_pipe, ``trace-cmd report`` and ``perf script`` print, plain or compressed, read as a stream.

Only the lines that a replay uses are taken apart.  The order of the file is the total order; a line's number is its
place in the (uncompressed) file, so that a message and an editor mean the same line.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard

from cpuemu.workloads.base import InputError

CHUNK = 1 << 20
MAX_LINE = 1 << 16
"""No event's text is longer: a "line" that is, is no line."""
MAX_CPU = 4095


class PageAlloc(NamedTuple):
    """mm_page_alloc; ``pfn`` is None where it failed.  ``migratetype`` as that kernel numbers it."""

    line: int
    time_ns: int
    cpu: int
    pfn: int | None
    order: int
    migratetype: int
    gfp: str


class PageFree(NamedTuple):
    """mm_page_free (mm_page_free_direct before v3.3)."""

    line: int
    time_ns: int
    cpu: int
    pfn: int
    order: int


class CsdQueue(NamedTuple):
    """csd_queue_cpu: a function call for another CPU."""

    line: int
    time_ns: int
    cpu: int
    target: int


class IpiSend(NamedTuple):
    """ipi_send_cpu; ``callback``: what the kernel says that the interrupt is for."""

    line: int
    time_ns: int
    cpu: int
    target: int
    callback: str


class HotplugStep(NamedTuple):
    """cpuhp_enter, cpuhp_multi_enter: a step of CPU ``which``, on its way up or down."""

    line: int
    time_ns: int
    cpu: int
    which: int
    up: bool


class LostEvents(NamedTuple):
    """The recording itself says that events are missing here."""

    line: int
    missing: int


Record = PageAlloc | PageFree | CsdQueue | IpiSend | HotplugStep | LostEvents


# comm-pid [cpu] flags seconds.fraction   (flags: not in perf script; a clock that counts has no fraction)
_HEAD = re.compile(rb"\[(\d+)\]\s+(?:\S+\s+)?(\d+)(?:\.(\d+))?$")
_LOST = re.compile(rb"CPU:\d+ \[(?:LOST )?(\d+) EVENTS")
_ALLOC = re.compile(rb"page=(\S+)\s+pfn=(\w+)\s+order=(\d+)\s+migratetype=(-?\d+)\s+gfp_flags=(\S*)")
_FREE = re.compile(rb"pfn=(\w+)\s+order=(\d+)")
_TARGET = re.compile(rb"cpu=(\d+)(?:.*\bcallback=(\S+))?")
_STEP = re.compile(rb"cpu:\s+(\d+)\s+target:\s+(\d+)\s+step:\s+(\d+)")


def _alloc(line: int, time_ns: int, cpu: int, found: re.Match[bytes]) -> Record:
    page, pfn, order, migratetype, gfp = found.groups()
    number = _frame(pfn)
    placed = None if number == 0 or page == b"(null)" else number
    return PageAlloc(line, time_ns, cpu, placed, int(order), int(migratetype), gfp.decode("ascii", "replace"))


def _free(line: int, time_ns: int, cpu: int, found: re.Match[bytes]) -> Record:
    return PageFree(line, time_ns, cpu, _frame(found[1]), int(found[2]))


def _csd(line: int, time_ns: int, cpu: int, found: re.Match[bytes]) -> Record:
    return CsdQueue(line, time_ns, cpu, _cpu(found[1]))


def _ipi(line: int, time_ns: int, cpu: int, found: re.Match[bytes]) -> Record:
    return IpiSend(line, time_ns, cpu, _cpu(found[1]), (found[2] or b"").decode("ascii", "replace"))


def _step(line: int, time_ns: int, cpu: int, found: re.Match[bytes]) -> Record:
    # Upwards a step is at most the target, downwards it is above it.
    return HotplugStep(line, time_ns, cpu, _cpu(found[1]), int(found[3]) <= int(found[2]))


def _frame(text: bytes) -> int:
    return int(text, 16 if text[:2] == b"0x" else 10)  # decimal before v5.13


def _cpu(text: bytes) -> int:
    number = int(text)
    if number > MAX_CPU:
        raise ValueError
    return number


Make = Callable[[int, int, int, re.Match[bytes]], Record]
_EVENTS: dict[bytes, tuple[re.Pattern[bytes], Make]] = {
    b"mm_page_alloc": (_ALLOC, _alloc),
    b"mm_page_free": (_FREE, _free),
    b"mm_page_free_direct": (_FREE, _free),
    b"csd_queue_cpu": (_TARGET, _csd),
    b"ipi_send_cpu": (_TARGET, _ipi),
    b"cpuhp_enter": (_STEP, _step),
    b"cpuhp_multi_enter": (_STEP, _step),
}


def parse(lines: Iterable[bytes], name: str = "trace") -> Iterator[Record]:
    """The records in lines without their ends.  Raises InputError at a line that is not what its event prints."""
    for number, line in enumerate(lines, 1):
        # "HEAD: [GROUP:]EVENT: FIELDS"; a command's name that contains ": " makes the long way necessary.
        head, _, rest = line.partition(b": ")
        label, colon, fields = rest.partition(b":")
        if label not in _EVENTS:
            label, colon, fields = fields.partition(b":") if colon and fields[:1] != b" " else (label, b"", b"")
            if label not in _EVENTS:
                found = _unusual(line, number)
                if found is None:
                    continue
                if isinstance(found, LostEvents):
                    yield found
                    continue
                head, label, fields = found
        yield _record(head, label, fields, number, name)


_ANY_EVENT = re.compile(rb": +(?:\w+:)?(" + b"|".join(sorted(_EVENTS, reverse=True)) + rb"): ")


def _unusual(line: bytes, number: int) -> LostEvents | tuple[bytes, bytes, bytes] | None:
    """A line whose first ": " is not the one before its event; most have none of our events in them."""
    if b"EVENTS" in line:
        lost = _LOST.search(line)
        return LostEvents(number, int(lost[1])) if lost else None
    if line.count(b": ") < 3:
        return None
    found = _ANY_EVENT.search(line)
    return (line[: found.start()], found[1], line[found.end() :]) if found else None


def _record(head: bytes, label: bytes, fields: bytes, number: int, name: str) -> Record:
    columns, (pattern, make) = _HEAD.search(head), _EVENTS[label]
    found = pattern.search(fields)
    if columns is None:
        raise InputError(f"{name}: line {number}: no CPU number and time before {label.decode()}; expected "
                         "\"COMMAND-PID [CPU] ... SECONDS.MICROSECONDS: EVENT: ...\"")
    cpu, seconds, fraction = columns.groups()
    try:
        if found is None:
            raise ValueError
        time_ns = int(seconds + (fraction or b"").ljust(9, b"0")[:9])
        return make(number, time_ns, _cpu(cpu), found)
    except ValueError:
        raise InputError(f"{name}: line {number}: {label.decode()} cannot be read from "
                         f"{fields[:60].decode(errors='replace')!r}; is the file damaged or cut short?") from None


# --- files -------------------------------------------------------------------------------------------------

_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\x28\xb5\x2f\xfd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
_FOREIGN: dict[bytes, str] = {
    b"\x17\x08Dtracing": "a trace-cmd data file; give its text: trace-cmd report -i {path} > trace.txt",
    b"PERFILE": "a perf data file; give its text: perf script -i {path} > trace.txt",
}


def read_trace(path: Path) -> Iterator[Record]:
    """The records of a file, in its order.  Raises InputError: missing, cut short, damaged, not a text trace."""
    try:
        with path.open("rb") as stream:
            yield from parse(_lines(_chunks(stream, path), path), str(path))
    except EOFError:
        raise InputError(f"{path}: the compressed file is cut short: its end is missing") from None
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"{path}: the compressed file is damaged ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or 'damaged'}); name another file") from None


def _chunks(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """The file's text in pieces: what its first bytes say decides, not its name."""
    data = stream.read(CHUNK)
    if not data:
        raise InputError(f"{path}: the file is empty")
    for magic, what in _FOREIGN.items():
        if data.startswith(magic):
            raise InputError(f"{path}: {what.format(path=path)}")
    make = next((make for magic, make in _DECOMPRESSORS.items() if data.startswith(magic)), None)
    engine: Any = None
    while data:
        if make is None:
            yield data
        while make is not None and data:
            engine = engine or make()
            yield engine.decompress(data)
            data = b""
            if engine.eof:  # another member may follow, or padding
                data, engine = engine.unused_data.lstrip(b"\0"), None
        data = stream.read(CHUNK)
    if engine is not None:
        raise EOFError


def _lines(chunks: Iterable[bytes], path: Path) -> Iterator[bytes]:
    rest, count = b"", 0
    for chunk in chunks:
        if b"\0" in chunk:
            raise InputError(f"{path}: not a text trace (it contains zero bytes); give what trace_pipe, "
                             "trace-cmd report or perf script prints")
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE:
            raise InputError(f"{path}: not a text trace (line {count + len(lines) + 1} has no end)")
        count += len(lines)
        yield from lines
    if rest.strip():
        raise InputError(f"{path}: cut short: line {count + 1}, the last one, has no end; remove it, or end it with "
                         "a newline if nothing is missing")
