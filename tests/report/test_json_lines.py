"""--format json: a line an event, every field of every event, and nothing that json.loads does not take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cpuemu.events import EVENT_TYPES, RECORD_SIZE, Event, Ring
from cpuemu.layout import NOBODY, TaskState, Vector
from cpuemu.report.fields import FIELDS
from cpuemu.report.json_lines import COMMON
from cpuemu.report.trace_dump import trace_dump
from cpuemu.sites import site
from tests.report.run_directory import RunDirectory

PLACE = site("take_cpu_down:test")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path, sizes=(64, 64))
    for cpu in range(4):
        run.made.task(70 + cpu, f"storm/{cpu}", cpu)
    return run


def read(run: RunDirectory, *options: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(trace_dump, [str(run.save()), "--format", "json", *options])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_line(run: RunDirectory) -> None:
    run.trace(2, 1_234_567.891, Event.IPI_RAISE, 3, Vector.CALL_FUNCTION, 7, 1, task=71, flags=0x25)
    found = read(run)
    assert found == [{
        "time": 1.234567891, "cpu": 2, "comm": "storm/1", "pid": 71, "irqs_off": True, "need_resched": False,
        "hardirq": True, "preempt_depth": 2, "event": "ipi_raise",
        "args": {"target_cpu": 3, "reason": "Function call interrupts", "ticket": (1 << 32) + 7}}]
    assert list(found[0]) == list(COMMON)


@pytest.mark.parametrize(("event", "args", "expected"), [
    (Event.MM_PAGE_ALLOC, (0x3b96, 2, 1, 0xD0),
     {"pfn": 0x3b96, "order": 2, "gfp_flags": "GFP_KERNEL", "migratetype": 1}),
    (Event.MM_PAGE_ALLOC, (NOBODY, 0, 0, 0x20),
     {"pfn": None, "order": 0, "gfp_flags": "GFP_ATOMIC", "migratetype": 0}),
    (Event.CPUHP_EXIT, (3, 60, 60, 0xFFFFFFF0), {"cpu": 3, "state": 60, "idx": 60, "ret": -16}),
    (Event.CPUHP_ENTER, (3, 10, 60, PLACE), {"cpu": 3, "target": 10, "idx": 60, "fun": "take_cpu_down:test"}),
    (Event.SCHED_SWITCH, (71, TaskState.UNINTERRUPTIBLE, 2),
     {"prev_comm": "storm/1", "prev_pid": 71, "prev_prio": 120, "prev_state": "D", "next_comm": "swapper/2",
      "next_pid": 0, "next_prio": 120}),
    (Event.CPUEMU_WAIT_BEGIN, (PLACE, 1, 2, 1), {"site": "take_cpu_down:test", "word": "RAM+0x80000000", "busy": True}),
    (Event.CPUEMU_STOP_STATE, (2, 4), {"state": "DISABLE_IRQ", "thread_ack": 4}),
    (Event.CPUEMU_STOP_STATE, (99, 4), {"state": 99, "thread_ack": 4}),
    (Event.MM_COMPACTION_END, (5, 9, 64, 2 << 1 | 1),
     {"migrate_pfn": 5, "free_pfn": 9, "zone_end": 64, "mode": "sync", "status": "partial"}),
])
def test_fields(run: RunDirectory, event: Event, args: tuple[int, ...], expected: dict[str, Any]) -> None:
    run.trace(1, 1, event, *args)
    assert [each["args"] for each in read(run)] == [expected]


def test_every_event_has_its_fields(run: RunDirectory) -> None:
    assert set(FIELDS) == set(Event)
    for number, kind in enumerate(EVENT_TYPES):
        run.trace(number % 4, number, kind.event, 1, 1, 1, 1)
    found = read(run)
    assert [each["event"] for each in found] == [kind.name for kind in EVENT_TYPES]
    assert all(list(each["args"]) == [field.name for field in FIELDS[kind.event]]
               for each, kind in zip(found, EVENT_TYPES, strict=True))


def test_an_unknown_event_keeps_its_numbers(run: RunDirectory) -> None:
    place = run.place(0, Ring.SLOW, run.trace(0, 3, Event.IPI_RAISE, 4, 3, 2, 1))
    run.rings[place + 12] = 61
    assert len(run.rings) % RECORD_SIZE == 0
    assert [(each["event"], each["args"]) for each in read(run)] == [("event_61", [4, 3, 2, 1])]


def test_filters_are_the_same_as_of_text(run: RunDirectory) -> None:
    for number in range(6):
        run.trace(number % 2, number, Event.MM_PAGE_ALLOC, number, 0, 0, 0xD0)
    found = read(run, "--cpu", "1", "--grep", "pfn=0x[35]", "--tail", "1")
    assert [each["args"]["pfn"] for each in found] == [5]
