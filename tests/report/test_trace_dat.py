"""--format trace.dat: trace-cmd itself says what is in it, and it is what --format text says, event for event."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuemu.events import EVENT_TYPES, Event, Ring
from cpuemu.layout import NOBODY, Gfp, Vector
from cpuemu.report.fields import FIELDS, Kind
from cpuemu.report.trace_dat.print_formats import PRINTS
from cpuemu.report.trace_dump import trace_dump
from cpuemu.sites import site
from tests.handmade import machine
from tests.launched import Launched
from tests.report.long_trace import long_trace
from tests.report.run_directory import RunDirectory
from tests.verdicts import behaves

with_trace_cmd = pytest.mark.skipif(not shutil.which("trace-cmd"), reason="trace-cmd is not installed")
PLACE = site("take_cpu_down:test")
OURS = re.compile(r" *(\S+)-(\d+) +\[(\d+)\] (\S+) +(\d+\.\d+): (\w+): (.*)")
THEIRS = re.compile(r" *(\S+)-(\d+) +\[(\d+)\] +(\d+\.\d{6})\d{3}: (\w+): (.*)")
LATENCY = re.compile(r" *\S+-\d+ +\d+(\S{5}) ")

Line = tuple[str, ...]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path, sizes=(64, 64))
    for cpu in range(4):
        run.made.task(70 + cpu, f"storm/{cpu}", cpu)
    return run


def dumped(run_dir: Path, *options: str) -> Path:
    out = run_dir / "trace.dat"
    result = CliRunner().invoke(trace_dump, [str(run_dir), "--format", "trace.dat", "-o", str(out), *options])
    assert result.exit_code == 0, result.output
    return out


def report(path: Path, *options: str) -> list[str]:
    """What trace-cmd prints, without the plugins that have words of their own for some events."""
    done = subprocess.run(["trace-cmd", "report", "-N", "-i", str(path), *options], capture_output=True, text=True,
                          check=True)
    assert not done.stderr, done.stderr[:2000]
    return [line for line in done.stdout.splitlines() if not line.startswith(("cpus=", "CPU "))]


def theirs(path: Path) -> list[Line]:
    found: list[Line] = []
    for line in report(path, "-t"):
        match = THEIRS.fullmatch(line)
        assert match, line
        found.append((*match.groups()[:5], match[6].strip()))
    return found


def ours(run_dir: Path, *options: str) -> list[Line]:
    printed = CliRunner().invoke(trace_dump, [str(run_dir), *options]).stdout
    found: list[Line] = []
    for line in printed.splitlines():
        if not line.startswith("#"):
            match = OURS.fullmatch(line)
            assert match, line
            text = match[7].strip().replace("page=(null)", "page=0000000000000000")
            found.append((match[1], match[2], match[3], match[5], match[6], text))
    return found


def same(run_dir: Path, *options: str) -> int:
    """How many events both list, in one order, with the same words."""
    text, dat = ours(run_dir, *options), theirs(dumped(run_dir, *options))
    different = [(mine, other) for mine, other in zip(text, dat, strict=False) if mine != other]
    assert not different, different[:3]
    assert len(text) == len(dat)
    return len(text)


def test_every_event_has_a_print_format_with_its_own_fields() -> None:
    assert set(PRINTS) == set(FIELDS)


@with_trace_cmd
def test_every_event(run: RunDirectory) -> None:
    for number, kind in enumerate(EVENT_TYPES):
        args = [1, 2, 1, 3]
        for field in FIELDS[kind.event]:
            if field.kind is Kind.SITE:
                args[field.of((0, 1, 2, 3))] = PLACE
        run.trace(number % 4, number, kind.event, *args, task=70 + number % 4)
    assert same(run.save()) == len(EVENT_TYPES)


@with_trace_cmd
@pytest.mark.parametrize(("event", "args"), [
    (Event.MM_PAGE_ALLOC, (NOBODY, 0, 0, 0x20)),
    (Event.MM_PAGE_ALLOC, (0xFFFFF, 10, 2, 0)),
    *((Event.MM_PAGE_ALLOC, (5, 0, 2, int(flag) | 0xD0)) for flag in Gfp),
    (Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, (3, 0x40000000 | Gfp.NORETRY)),
    (Event.MM_PAGE_ALLOC_EXTFRAG, (16, 0, 9, 1 | 2 << 8 | 1 << 16)),
    (Event.CPUHP_EXIT, (3, 60, 60, 0xFFFFFFF0)),
    (Event.CPUHP_ENTER, (113, 100, 60, PLACE)),
    (Event.CSD_QUEUE_CPU, (2, PLACE, 1, 0x10001)),
    (Event.SCHED_SWITCH, (2, 5, 71)),
    (Event.CPUEMU_OOM_MOMENT, (0, 0xFFFFFFFF, 3, 1)),
])
def test_special_numbers(run: RunDirectory, event: Event, args: tuple[int, ...]) -> None:
    run.trace(1, 27_563_012.4, event, *args, task=71)
    assert same(run.save()) == 1


@with_trace_cmd
def test_flags_of_an_event(run: RunDirectory) -> None:
    for number, flags in enumerate((0, 1, 2, 4, 0x35)):
        run.trace(0, number, Event.MARK_VICTIM, 70, flags=flags)
    path = dumped(run.save())
    shown = [match[1] for line in report(path, "-l") if (match := LATENCY.match(line))]
    assert shown == [".....", "d....", ".N...", "..h..", "d.h3."]


@with_trace_cmd
def test_times_far_apart_and_cpus_without_events(run: RunDirectory) -> None:
    """The time between two events has 27 bits; beyond, an entry of its own passes it."""
    for at in (0, 0.001, 134_217.727, 134_217.728, 400_000, 3_600_000_000, 3_600_000_000.001):
        run.trace(2, at, Event.SCHED_WAKEUP, 70, 1)
    assert same(run.save()) == 7


@with_trace_cmd
def test_a_large_machine(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, machine(cpus=130, tasks=300))
    for cpu in (0, 31, 32, 63, 64, 129):
        run.trace(129 - cpu, cpu, Event.IPI_RAISE, cpu, Vector.RESCHEDULE, 1, 0, task=cpu)
    assert same(run.save()) == 6


@with_trace_cmd
def test_an_event_of_another_version(run: RunDirectory) -> None:
    run.trace(0, 1, Event.MARK_VICTIM, 70)
    place = run.place(0, Ring.SLOW, run.trace(0, 3, Event.IPI_RAISE, 4, 3, 2, 1))
    run.rings[place + 12] = 61
    assert same(run.save()) == 2


@with_trace_cmd
def test_an_empty_trace(run: RunDirectory) -> None:
    assert same(run.save()) == 0


@with_trace_cmd
def test_many_pages_and_filters(tmp_path: Path) -> None:
    run_dir = long_trace(tmp_path / "run", 6000)
    assert same(run_dir) == 6000
    assert same(run_dir, "--cpu", "2", "--event", "csd_*", "--tail", "40") == 40


@with_trace_cmd
@pytest.mark.slow
def test_a_hundred_thousand_events_of_a_real_machine(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "8", "--trace", "all")
    code, said = run.end(100)
    assert behaves(code, said), (said, run.log)
    assert same(run.run_dir) >= 100_000
