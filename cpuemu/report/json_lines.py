"""Records as JSON, one event a line, for jq and pandas; the fields are those of fields.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from cpuemu.events import BY_ID, COMPACT_STATUS, REASONS, STOP_STATES, TASK_STATES, Event, Flag, Names
from cpuemu.faults import name_of
from cpuemu.layout import NOBODY
from cpuemu.report.fields import FIELDS, Args, Kind
from cpuemu.report.image import Image
from cpuemu.report.records import Record
from cpuemu.report.text import names_of

COMMON = {
    "time": "seconds since power-on",
    "cpu": "CPU that the event happened on",
    "comm": "name of the task that ran there",
    "pid": "its number, 0 for an idle task",
    "irqs_off": "true where interrupts were off",
    "need_resched": "true where the task was to be preempted",
    "hardirq": "true in an interrupt handler",
    "preempt_depth": "preemptions off, one inside another",
    "event": "the event's name",
    "args": "the event's own fields, or a list of its four numbers where this version of cpuemu does not know it",
}
"""What every line has, in this order."""

Value = str | int | bool | None


def json_lines(found: Iterable[Record], image: Image) -> Iterator[str]:
    """A line for each record."""
    names = names_of(image)
    power_on = image.machine.header.boot_ns
    parts = {int(event): _reader(event, names) for event in FIELDS}
    encode = json.JSONEncoder(separators=(", ", ": ")).encode

    @cache
    def head(cpu: int, task: int, flags: int, event: int) -> str:
        """All of a line between its time and its arguments."""
        kind = BY_ID.get(event)
        values: tuple[Value, ...] = (
            cpu, names.comm(task), names.pid(task), bool(flags & Flag.IRQS_OFF), bool(flags & Flag.NEED_RESCHED),
            bool(flags & Flag.HARDIRQ), flags >> 4, kind.name if kind else f"event_{event}")
        return encode(dict(zip(list(COMMON)[1:-1], values, strict=True)))[1:-1]

    for time_ns, cpu, _, _, event, flags, task, args in found:
        reader = parts.get(event)
        seconds, rest = divmod(max(0, time_ns - power_on), 1_000_000_000)
        yield (f'{{"time": {seconds}.{rest:09d}, {head(cpu, task, flags, event)}, '
               f'"args": {encode(reader(args) if reader else args)}}}')


def _reader(event: Event, names: Names) -> Callable[[Args], dict[str, Value]]:
    values = value_of(names)
    fields = [(field.name, field.of, values[field.kind]) for field in FIELDS[event]]

    def read(args: Args) -> dict[str, Value]:
        return {name: value(of(args)) for name, of, value in fields}

    return read


def value_of(names: Names) -> dict[Kind, Callable[[int], Value]]:
    """How a number of each kind is told."""
    return {
        Kind.NUMBER: int, Kind.WIDE: int, Kind.SIGNED: int, Kind.FLAG: bool,
        Kind.PFN: lambda pfn: pfn if pfn != NOBODY else None,
        Kind.GFP: names.gfp, Kind.SITE: names.site, Kind.WORD: names.word, Kind.FUNCTION: names.function,
        Kind.COMM: names.comm, Kind.PID: names.pid, Kind.VECTOR: _in(REASONS), Kind.TASK_STATE: _in(TASK_STATES),
        Kind.STOP_STATE: _in(STOP_STATES), Kind.MODE: lambda sync: "sync" if sync else "async",
        Kind.COMPACT_STATUS: _in(COMPACT_STATUS), Kind.FAULT: name_of,
    }


def _in(texts: tuple[str, ...] | str) -> Callable[[int], Value]:
    """A number that has no name stays a number: a ring may hold anything."""
    return lambda number: texts[number] if number < len(texts) else number
