"""Which events a dump is about: the filters of trace-dump, the same for every format."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

import click

from cpuemu.events import BY_ID, BY_NAME, Ring
from cpuemu.layout import NOBODY, TaskState
from cpuemu.report.fields import FIELDS, Kind
from cpuemu.report.image import Image
from cpuemu.report.records import Record, last_records, records
from cpuemu.report.text import line_of

Test = Callable[[Record], bool]


@dataclass(frozen=True)
class Selection:
    """What a person asked for; times in seconds since power-on, negative ones count from the last event."""

    cpus: tuple[int, ...] = ()
    events: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    pfns: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    grep: tuple[str, ...] = ()
    tail: int | None = None

    def records(self, image: Image) -> Iterator[Record]:
        """The events that are left, by time.  Raises UsageError at once for what cannot match anything."""
        self._check_cpus(image)
        kinds = _kinds(self.events)
        tests = [test for test in (
            (lambda record: record.event in kinds) if kinds else None,
            _of_tasks(image, self.tasks), _of_pages(image, self.pfns), _of_lines(image, self.grep)) if test]
        low, high = self._times(image)
        found = records(image, set(self.cpus) or None, self._rings(kinds))
        if high is not None:
            found = takewhile(lambda record: record.time_ns < high, found)
        if low is not None:
            found = (record for record in found if record.time_ns >= low)
        for test in tests:
            found = filter(test, found)
        return found if self.tail is None else _last(found, self.tail)

    def _check_cpus(self, image: Image) -> None:
        for cpu in self.cpus:
            if not 0 <= cpu < image.machine.dims.cpus:
                raise click.UsageError(f"--cpu {cpu}: this machine has CPUs 0 to {image.machine.dims.cpus - 1}")

    def _rings(self, kinds: set[int]) -> set[int] | None:
        """Which of a CPU's two rings have to be read at all."""
        if self.pfns:
            return {Ring.PAGES}
        return {BY_ID[kind].ring for kind in kinds} or None

    def _times(self, image: Image) -> tuple[int | None, int | None]:
        start = image.machine.header.boot_ns
        relative = any(moment is not None and moment < 0 for moment in (self.since, self.until))
        end = _last_moment(image) if relative else 0
        low, high = (None if moment is None else (start if moment >= 0 else end) + int(moment * 1e9)
                     for moment in (self.since, self.until))
        return low, high


def _last(found: Iterator[Record], count: int) -> Iterator[Record]:
    yield from deque(found, maxlen=count)


def _last_moment(image: Image) -> int:
    last = last_records(image, range(image.machine.dims.cpus), 1 << 64, 1)
    return last[0].time_ns if last else 0


def _kinds(patterns: tuple[str, ...]) -> set[int]:
    kinds: set[int] = set()
    for pattern in patterns:
        matching = fnmatch.filter(BY_NAME, pattern)
        if not matching:
            raise click.UsageError(f"--event {pattern}: no event has this name; known are {', '.join(BY_NAME)}")
        kinds.update(int(BY_NAME[name].event) for name in matching)
    return kinds


def _of_tasks(image: Image, patterns: tuple[str, ...]) -> Test | None:
    """What a task did, and what was done to it: woken, moved, switched to."""
    if not patterns:
        return None
    chosen = {task for pattern in patterns for task in _tasks(image, pattern)}
    about = {int(event): [field.of for field in fields if field.kind is Kind.PID] for event, fields in FIELDS.items()}
    named = {event: of for event, of in about.items() if of}

    def test(record: Record) -> bool:
        return record.task in chosen or any(of(record.args) in chosen for of in named.get(record.event, ()))

    return test


def _tasks(image: Image, pattern: str) -> list[int]:
    """By name (a glob) or by number, as the trace shows both."""
    known = {task.index: task.comm for task in image.machine.tasks if task.state != TaskState.UNUSED}
    found = [number for number, comm in known.items()
             if fnmatch.fnmatchcase(comm, pattern) or pattern == str(image.pid(number))]
    if not found:
        near = difflib.get_close_matches(pattern, set(known.values()), 3)
        hint = f"; near it are {', '.join(near)}" if near else "; trace-dump --state lists the tasks"
        raise click.UsageError(f"--task {pattern}: no task has this name or number{hint}")
    return found


def _of_pages(image: Image, texts: tuple[str, ...]) -> Test | None:
    """The life of a page: every page event whose block holds it."""
    if not texts:
        return None
    pfns = [_pfn(image, text) for text in texts]

    def test(record: Record) -> bool:
        first, order, *_ = record.args
        return first != NOBODY and any(0 <= pfn - first < 1 << min(order, 32) for pfn in pfns)

    return test


def _pfn(image: Image, text: str) -> int:
    try:
        pfn = int(text, 0)
    except ValueError:
        raise click.UsageError(f"--pfn {text}: not a number; give a page frame number, as 0x3b96 or 15254") from None
    if not 0 <= pfn < image.machine.dims.pages:
        raise click.UsageError(f"--pfn {text}: this machine has pages 0 to {image.machine.dims.pages - 1:#x}")
    return pfn


def _of_lines(image: Image, patterns: tuple[str, ...]) -> Test | None:
    """Events whose line in --format text has a match of every pattern."""
    if not patterns:
        return None
    line = line_of(image)
    searches = [_compiled(pattern).search for pattern in patterns]

    def test(record: Record) -> bool:
        text = line(record)
        return all(search(text) for search in searches)

    return test


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise click.UsageError(f"--grep {pattern}: not a regular expression: {error}") from None
