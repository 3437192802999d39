"""``log``: the last events of each CPU before a moment, findings among them."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.layout import NR_FINDINGS, Severity
from cpuemu.report.crash.reading import Reading, UsageError, named
from cpuemu.report.records import last_records
from cpuemu.report.text import lines

EVENTS = 8
"""Of each CPU, unless asked for more."""
END_OF_TIME = 1 << 64


def log(reading: Reading, words: list[str]) -> Iterator[str]:
    """``log [N]``: the last N events of each CPU (8), and what the oracles found"""
    if words and not words[0].isdigit():
        raise UsageError("usage: log [N]")
    yield from findings(reading)
    yield from events(reading, END_OF_TIME, int(words[0]) if words else EVENTS)


def findings(reading: Reading) -> Iterator[str]:
    """From RAM: complete entries only."""
    for number in range(min(reading.machine.header.nr_findings, NR_FINDINGS)):
        entry = reading.machine.findings[number]
        if entry.done:
            yield (f"finding {entry.rule} ({named(Severity, entry.severity).lower()}) at {reading.at(entry.time_ns)}: "
                   f"{entry.message}")


def events(reading: Reading, moment_ns: int, count: int) -> Iterator[str]:
    """CPU by CPU, what happened up to a moment."""
    for cpu in range(reading.machine.dims.cpus):
        found = last_records(reading.image, (cpu,), moment_ns, count)
        yield f"cpu {cpu}, last events{'' if found else ': none'}"
        yield from (f"  {line.strip()}" for line in lines(found, reading.image))
