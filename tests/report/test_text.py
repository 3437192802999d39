"""ftrace text as the kernel writes it: golden lines, and the kernel's own formats as the judge."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cpuemu.events import EVENT_TYPES, SINCE, Event
from cpuemu.kernel.call_functions import function_name
from cpuemu.layout import NOBODY, Gfp, TaskState
from cpuemu.report.image import open_image
from cpuemu.report.records import records
from cpuemu.report.text import flags_text, gfp_text, lines
from cpuemu.sites import site
from tests.report.run_directory import RunDirectory

PLACE = site("take_cpu_down:test")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path)
    for cpu in range(4):
        run.made.task(70 + cpu, f"storm/{cpu}", cpu)
    return run


def text(run: RunDirectory) -> list[str]:
    image = open_image(run.save())
    return list(lines(records(image), image))


FUNCTION = function_name(1)
GOLDEN = [
    (Event.MM_PAGE_ALLOC, (0x3b96, 2, 1, 0xD0),
     "mm_page_alloc: page=ffffea00000ee580 pfn=0x3b96 order=2 migratetype=1 gfp_flags=GFP_KERNEL"),
    (Event.MM_PAGE_ALLOC, (NOBODY, 0, 0, 0x20),
     "mm_page_alloc: page=(null) pfn=0x0 order=0 migratetype=0 gfp_flags=GFP_ATOMIC"),
    (Event.MM_PAGE_FREE, (16, 0), "mm_page_free: page=ffffea0000000400 pfn=0x10 order=0"),
    (Event.MM_PAGE_ALLOC_ZONE_LOCKED, (16, 0, 2, 1),
     "mm_page_alloc_zone_locked: page=ffffea0000000400 pfn=0x10 order=0 migratetype=2 percpu_refill=1"),
    (Event.MM_PAGE_PCPU_DRAIN, (16, 0, 2), "mm_page_pcpu_drain: page=ffffea0000000400 pfn=0x10 order=0 migratetype=2"),
    (Event.IPI_RAISE, (3, 0, 5), "ipi_raise: target_mask=00000000,00000008 (Rescheduling interrupts)"),
    (Event.IPI_RAISE, (70, 1, 5), "ipi_raise: target_mask=00000040,00000000,00000000 (Function call interrupts)"),
    (Event.IPI_ENTRY, (1, 2, 5), "ipi_entry: (Single function call interrupts)"),
    (Event.IPI_EXIT, (1, 2, 5), "ipi_exit: (Single function call interrupts)"),
    (Event.CSD_QUEUE_CPU, (2, PLACE, 1, 9),
     f"csd_queue_cpu: cpu=2 callsite=take_cpu_down:test func={FUNCTION} csd=0000000000000009"),
    (Event.CPUHP_ENTER, (3, 10, 60, PLACE), "cpuhp_enter: cpu: 0003 target:  10 step:  60 (take_cpu_down:test)"),
    (Event.CPUHP_EXIT, (3, 60, 60, 0xFFFFFFF0), "cpuhp_exit:  cpu: 0003  state:  60 step:  60 ret: -16"),
    (Event.SCHED_SWITCH, (2, TaskState.RUNNING, 71),
     ("sched_switch: prev_comm=swapper/2 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=storm/1 next_pid=71 "
     "next_prio=120")),
    (Event.SCHED_SWITCH, (71, TaskState.UNINTERRUPTIBLE, 2),
     ("sched_switch: prev_comm=storm/1 prev_pid=71 prev_prio=120 prev_state=D ==> next_comm=swapper/2 next_pid=0 "
     "next_prio=120")),
    (Event.SCHED_SWITCH, (71, TaskState.DEAD, 2),
     ("sched_switch: prev_comm=storm/1 prev_pid=71 prev_prio=120 prev_state=X ==> next_comm=swapper/2 next_pid=0 "
     "next_prio=120")),
    (Event.SCHED_WAKEUP, (72, 1), "sched_wakeup: comm=storm/2 pid=72 prio=120 target_cpu=001"),
    (Event.SCHED_MIGRATE_TASK, (72, 1, 3), "sched_migrate_task: comm=storm/2 pid=72 prio=120 orig_cpu=1 dest_cpu=3"),
    (Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, (3, 0xD0), "mm_vmscan_direct_reclaim_begin: order=3 gfp_flags=GFP_KERNEL"),
    (Event.MM_VMSCAN_DIRECT_RECLAIM_END, (32,), "mm_vmscan_direct_reclaim_end: nr_reclaimed=32"),
    (Event.MARK_VICTIM, (73,), "mark_victim: pid=73"),
]


@pytest.mark.parametrize(("event", "args", "expected"), GOLDEN)
def test_events_in_the_kernels_words(run: RunDirectory, event: Event, args: tuple[int, ...], expected: str) -> None:
    run.trace(1, 27_563_012.4, event, *args, flags=0x23)
    assert text(run) == [f"         storm/0-70      [001] dN.2.    27.563012: {expected}"]


def test_every_line_has_the_layout_of_trace_pipe(run: RunDirectory) -> None:
    layout = re.compile(r" *\S.{0,15}-\d+ +\[\d{3}\] [d.][N.][h.][0-9a-f.]\. +\d+\.\d{6}: [a-z_]+: ?.*")
    for number, kind in enumerate(EVENT_TYPES):
        run.trace(number % 4, number, kind.event, 1, 1, 1, 1)
    found = text(run)
    assert len(found) >= 4 + 4 + 8
    assert all(layout.fullmatch(line) for line in found), found


def test_idle_tasks_are_shown_as_ftrace_shows_them(run: RunDirectory) -> None:
    run.trace(3, 1, Event.SCHED_WAKEUP, 72, 1, task=3, flags=5)
    assert text(run)[0].startswith("          <idle>-0       [003] d.h..     0.000001: sched_wakeup: ")


def test_what_makes_no_sense_is_shown_as_numbers(run: RunDirectory) -> None:
    run.trace(0, 1, Event.IPI_RAISE, 1, 99)
    run.trace(0, 2, Event.SCHED_SWITCH, 60000, 99, 50000)
    place = run.place(0, EVENT_TYPES[5].ring, run.trace(0, 3, Event.IPI_RAISE, 4, 3, 2, 1))
    run.rings[place + 12] = 61
    found = text(run)
    assert "ipi_raise: (damaged: 1 99 0 0)" in found[0]
    assert "prev_comm=? prev_pid=60000" in found[1]
    assert found[2].endswith("event_61: 4 3 2 1")


@pytest.mark.parametrize(("flags", "expected"), [
    (0, "GFP_NOWAIT"), (Gfp.WAIT, "GFP_NOIO"), (Gfp.WAIT | Gfp.IO, "GFP_NOFS"),
    (0xD0 | Gfp.NORETRY, "GFP_KERNEL|GFP_NORETRY"), (0xD0 | Gfp.DMA32, "GFP_KERNEL|GFP_DMA32"),
    (0x40000000, "0x40000000"),
])
def test_gfp_flags_by_name(flags: int, expected: str) -> None:
    assert gfp_text(flags) == expected


def test_every_gfp_flag_has_a_name() -> None:
    assert not [flag for flag in Gfp if gfp_text(flag).startswith("0x")]


def test_flags() -> None:
    assert [flags_text(flags) for flags in (0, 1, 7, 0x10, 0xF5)] == [".....", "d....", "dNh..", "...1.", "d.hf."]


def test_every_event_of_linux_says_since_when() -> None:
    ours = {kind.event for kind in EVENT_TYPES if kind.name.startswith("cpuemu_")}
    assert set(SINCE) == {kind.event for kind in EVENT_TYPES} - ours
    assert {kind.event for kind in EVENT_TYPES} == set(Event)
