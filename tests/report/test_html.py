"""What goes into a report: slices, arrows, levels, pages' lives, and a page that needs nothing from outside."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpuemu import layout
from cpuemu.cli.main import main
from cpuemu.events import BY_ID, Event
from cpuemu.kernel.cpu_hotplug import ROW_SITES
from cpuemu.layout import PageState
from cpuemu.report.html import document as document_module
from cpuemu.report.html.collect import collect, notes_of
from cpuemu.report.html.document import document, write_report
from cpuemu.report.html.interrupts import Interrupts, Way
from cpuemu.report.html.slices import KIND_NAMES, VECTOR_KINDS, Kind, Place, Row, Slices
from cpuemu.report.image import open_image
from cpuemu.report.records import Record
from tests.handmade import T0
from tests.report.run_directory import RunDirectory

MS = 1000
"""Microseconds: what RunDirectory.trace counts in."""


def made(tmp_path: Path, size: int = 64) -> RunDirectory:
    run = RunDirectory(tmp_path / "run", sizes=(size, size))
    for task, name in ((70, "storm/0"), (71, "storm/1")):
        run.made.task(task, name, task - 70)
    return run


def data_of(page: str) -> dict[str, Any]:
    """What the scripts of a page unpack."""
    packed = re.search(r'id="data">([^<]*)<', page)
    assert packed
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return found


# --- slices ------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 5000)), min_size=1, max_size=300))
def test_thinning_loses_no_time_and_no_long_slice(steps: list[tuple[int, int]]) -> None:
    slices = Slices(limit=20)
    at, busy, longest = 0, 0, 0
    for gap, length in [*steps, (10, 50_000_000)]:
        at += gap
        slices.add(Place(0, Row.TASK), at, at + length, Kind.IDLE, "x")
        at += length
        busy, longest = busy + length, max(longest, length)
    row = slices.rows[Place(0, Row.TASK)]
    assert sum(each.count for each in row) == len(steps) + 1
    assert sum(each.busy for each in row) == busy
    assert slices.size == len(row)
    assert len(row) <= 20
    assert (row[-1].count, row[-1].end - row[-1].start) == (1, longest)


def test_a_few_slices_stay_as_they_are() -> None:
    slices = Slices(limit=20)
    for at in range(20):
        slices.add(Place(0, Row.TASK), at, at + 1, Kind.IDLE, str(at))
    assert slices.width == 0
    assert [each.start for each in slices.rows[Place(0, Row.TASK)]] == list(range(20))


# --- lanes -------------------------------------------------------------------------------------------------


def lanes(run: RunDirectory) -> dict[tuple[int, int], list[tuple[float, float, str, str]]]:
    """Slices by lane and row: milliseconds, kind, label."""
    found = collect(open_image(run.save()))
    labels = list(found.timeline.slices.labels)
    return {(place.lane, place.row): [(each.start / 1e6, each.end / 1e6, Kind(each.kind).name, labels[each.label])
                                      for each in row] for place, row in found.timeline.slices.rows.items()}


def test_tasks_take_turns_and_work_goes_with_its_task(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.trace(0, 1 * MS, Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, 0, 0, task=70)
    run.trace(0, 2 * MS, Event.SCHED_SWITCH, 70, 0, 71, task=70)
    run.trace(1, 4 * MS, Event.SCHED_SWITCH, 1, 0, 70, task=1)
    run.trace(1, 5 * MS, Event.MM_VMSCAN_DIRECT_RECLAIM_END, 3, task=70)
    run.trace(0, 6 * MS, Event.SCHED_WAKEUP, 70, 0, task=71)
    drawn = lanes(run)
    assert drawn[0, Row.TASK] == [(1, 2, "WORKLOAD", "storm/0"), (2, 6, "WORKLOAD", "storm/1")]
    assert [each[:3] for each in drawn[0, Row.WORK]] == [(1, 2, "RECLAIM")]
    assert [each[:3] for each in drawn[1, Row.WORK]] == [(4, 5, "RECLAIM")]


def test_the_innermost_of_what_a_task_is_about_is_drawn(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.trace(0, 1 * MS, Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, 0, 0, task=70)
    run.trace(0, 2 * MS, Event.CPUEMU_DRAIN_ALL_BEGIN, 2, 4, task=70)
    run.trace(0, 3 * MS, Event.CPUEMU_WAIT_BEGIN, 0, 0, 0, 1, task=70)
    run.trace(0, 4 * MS, Event.CPUEMU_WAIT_END, 0, 0, 0, 1, task=70)
    run.trace(0, 5 * MS, Event.CPUEMU_DRAIN_ALL_END, task=70)
    run.trace(0, 6 * MS, Event.MM_VMSCAN_DIRECT_RECLAIM_END, task=70)
    assert [each[:3] for each in lanes(run)[0, Row.WORK]] == [
        (1, 2, "RECLAIM"), (2, 3, "DRAIN"), (3, 4, "WAIT"), (4, 5, "DRAIN"), (5, 6, "RECLAIM")]


def test_a_wait_that_has_not_ended_says_for_whom(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.made.run(0, 70)
    block = run.made.machine.cfds[0]
    run.made.wait(70, block.addr(layout.CallFunctionData.flags), layout.Op.EQ, 0, since=T0 + 3_000_000)
    block.flags, block.refs, block.cpumask[0] = 1, 1, 1 << 2
    run.trace(0, 1 * MS, Event.CPUEMU_DRAIN_ALL_BEGIN, 2, 4, task=70)
    run.trace(1, 9 * MS, Event.SCHED_SWITCH, 1, 0, 71, task=1)
    drain, wait = lanes(run)[0, Row.WORK]
    assert (drain[:3], wait[:3]) == ((1, 3, "DRAIN"), (3, 9, "WAIT"))
    assert "cpu 0 (storm/0) waits in" in wait[3] and "cfds[0].flags" in wait[3]


def test_an_offline_with_its_barrier(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.trace(1, 0 * MS, Event.SCHED_SWITCH, 1, 0, 71, task=1)
    run.trace(0, 1 * MS, Event.CPUHP_ENTER, 1, 10, 70, ROW_SITES["take_cpu_down"], task=60)
    run.trace(0, 2 * MS, Event.CPUEMU_STOP_STATE, 1, 4, task=60)
    run.trace(0, 3 * MS, Event.CPUEMU_STOP_STATE, 3, 4, task=60)
    run.trace(1, 4 * MS, Event.CPUEMU_CPU_OFFLINE, 1, 1, task=71)
    run.trace(1, 5 * MS, Event.SCHED_SWITCH, 71, 0, 1, task=71)
    run.trace(0, 6 * MS, Event.CPUHP_EXIT, 1, 70, 70, 0, task=60)
    run.trace(1, 8 * MS, Event.CPUEMU_CPU_ONLINE, 1, 2, task=1)
    drawn = lanes(run)
    assert drawn[-2, 0] == [(1, 6, "GOING", "cpu 1 going offline: take_cpu_down")]
    assert drawn[-1, 0] == [(2, 3, "PREPARE", "STOPMACHINE_PREPARE, 4 CPUs"), (3, 6, "RUN", "STOPMACHINE_RUN, 4 CPUs")]
    assert [each[:3] for each in drawn[1, Row.TASK]] == [(0, 4, "WORKLOAD"), (4, 8, "OFFLINE")]


# --- interrupts --------------------------------------------------------------------------------------------


def interrupt(event: Event, at: int, cpu: int, other: int, ticket: int, vector: int = 1) -> Record:
    return Record(T0 + at, cpu, 1, 0, event, 0, 0, (other, vector, ticket, 0))


def test_a_raise_and_its_entry_are_one_arrow_and_one_without_is_missed() -> None:
    found = Interrupts(4)
    for record in (interrupt(Event.IPI_RAISE, 10, 0, 1, 5), interrupt(Event.IPI_RAISE, 20, 0, 2, 6),
                   interrupt(Event.IPI_ENTRY, 30, 1, 0, 5), interrupt(Event.IPI_RAISE, 35, 3, 1, 9)):
        found.take(record, record.time_ns - T0)
    found.take(interrupt(Event.IPI_RAISE, 12, 0, 3, 7), 12)
    found.take(interrupt(Event.IPI_RAISE, 13, 0, 3, 8), 13)
    found.end({0: 0, 1: 15, 2: 15, 3: 15}, {(Way(0, 3, 1), 8)})  # CPU 3's ring has a gap, RAM knows of one
    assert [(way, arrow.start, arrow.end) for (way, _), arrow in found.arrows.items()] == [(Way(0, 1, 1), 10, 30)]
    assert found.missed == [(13, Way(0, 3, 1)), (20, Way(0, 2, 1)), (35, Way(3, 1, 1))]
    assert found.sent == {Way(0, 1, 1): 1, Way(0, 2, 1): 1, Way(3, 1, 1): 1, Way(0, 3, 1): 2}


def test_every_vector_and_every_kind_has_a_name_and_a_colour() -> None:
    style = (files("cpuemu.report.html") / "page.css").read_text()
    assert len(VECTOR_KINDS) == layout.Vector.NR
    assert set(KIND_NAMES) == set(Kind)
    assert [kind for kind in Kind if f"--kind-{kind.name.lower().replace('_', '-')}:" not in style] == []


def test_many_arrows_become_few_and_say_how_many() -> None:
    found = Interrupts(2, limit=50)
    for ticket in range(5000):
        found.take(interrupt(Event.IPI_RAISE, ticket * 1000, 0, 1, ticket), ticket * 1000)
        found.take(interrupt(Event.IPI_ENTRY, ticket * 1000 + 900, 1, 0, ticket), ticket * 1000 + 900)
    assert len(found.arrows) <= 50
    assert sum(arrow.count for arrow in found.arrows.values()) == 5000
    assert all(arrow.longest == 900 for arrow in found.arrows.values())


# --- levels and lives --------------------------------------------------------------------------------------


def page_events(run: RunDirectory, after: float = 0.0) -> None:
    """CPU 0 takes two pages to its list, hands one out, gets it back, drains the other."""
    run.trace(0, after + 1 * MS, Event.MM_PAGE_ALLOC_ZONE_LOCKED, 0x10, 0, 1, 1)
    run.trace(0, after + 2 * MS, Event.MM_PAGE_ALLOC_ZONE_LOCKED, 0x11, 0, 1, 1)
    run.trace(0, after + 3 * MS, Event.MM_PAGE_ALLOC, 0x10, 0, 1, 0)
    run.trace(0, after + 4 * MS, Event.MM_PAGE_FREE, 0x10, 0)
    run.trace(0, after + 5 * MS, Event.MM_PAGE_PCPU_DRAIN, 0x11, 0, 1)
    run.trace(1, after + 6 * MS, Event.MM_PAGE_ALLOC_ZONE_LOCKED, 0x20, 3, 1, 0)
    run.trace(1, after + 6 * MS, Event.MM_PAGE_ALLOC, 0x20, 3, 1, 0)
    run.trace(2, after + 7 * MS, Event.MM_PAGE_ALLOC, 0xFFFFFFFF, 0, 1, 0)


def test_levels_are_known_from_the_end_backwards(tmp_path: Path) -> None:
    run = made(tmp_path)
    page_events(run)
    run.made.machine.pcp(0, 0).count = 1
    found = collect(open_image(run.save()))
    free = sum(count << order for order, count in enumerate(run.made.machine.zones[0].nr_free))
    lists = [(at // 1_000_000, level) for at, *_, level in found.levels.cpu(0, 0)]
    assert lists == [(0, 0), (0, 1), (1, 2), (2, 1), (3, 2), (4, 1)]  # a bucket begins before its event
    assert [level for *_, level in found.levels.zone(0, 0)] == [free + 9, free + 8, free + 7, free + 8, free]


def test_levels_begin_after_a_gap_in_the_rings(tmp_path: Path) -> None:
    run = made(tmp_path, size=8)
    for round_ in range(4):
        page_events(run, round_ * 10 * MS)
    data = data_of(document(collect(open_image(run.save())), ["/* no library */"]))
    assert data["levels"]["cpus"][0]["at"][0] >= 20_000_000


def test_a_dead_cpus_lists_are_drained_by_another(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.trace(3, 1 * MS, Event.MM_PAGE_FREE, 0x10, 0)
    run.trace(0, 3 * MS, Event.MM_PAGE_PCPU_DRAIN, 0x10, 0, 1, 3, task=60)
    levels = collect(open_image(run.save())).levels
    assert [level for *_, level in levels.cpu(3, 0)] == [0, 1, 0]
    assert [level for *_, level in levels.cpu(0, 0)] == [0]


def test_a_pages_life_and_its_end(tmp_path: Path) -> None:
    run = made(tmp_path)
    page_events(run)
    run.made.pages[0x10].state, run.made.pages[0x10].owner = PageState.PCP, 0
    lives = data_of(document(collect(open_image(run.save())), []))["lives"]
    assert lives["total"] == len(lives["pfn"]) == 7  # the allocation that failed has no page
    assert lives["events"][lives["event"][0]] == "mm_page_alloc_zone_locked"
    pages, states, *_ = lives["runs"]
    assert sum(pages) == run.made.machine.dims.pages
    assert PageState.PCP in states


# --- who waits for whom ------------------------------------------------------------------------------------


def test_a_deadlock_is_drawn_as_one(tmp_path: Path) -> None:
    run = made(tmp_path)
    for cpu, mine, theirs in ((0, layout.zone_lock(0), layout.LOCK_CALL_FUNCTION),
                              (1, layout.LOCK_CALL_FUNCTION, layout.zone_lock(0))):
        run.made.run(cpu, 70 + cpu)
        run.made.lock(mine, cpu, 70 + cpu)
        run.made.cpus[cpu].lock_wait = theirs + 1
    page = document(collect(open_image(run.save())), [])
    assert "<strong>Deadlock:</strong> storm/0 → storm/1 → storm/0" in page
    assert (page.count('class="box cycle"'), page.count('class="arrow cycle"')) == (2, 2)
    assert "<li>cpu 0 (storm/0) spins in" in page


def test_who_waits_stands_left_of_whom_they_wait_for(tmp_path: Path) -> None:
    run = made(tmp_path)
    for cpu in (0, 1):
        run.made.run(cpu, 70 + cpu)
    run.made.lock(layout.zone_lock(0), 1, 71)
    run.made.cpus[0].lock_wait = layout.zone_lock(0) + 1
    page = document(collect(open_image(run.save())), [])
    places = {name: int(x) for x, name in re.findall(r'<text x="(\d+)" y="\d+">(storm/\d)</text>', page)}
    assert places["storm/0"] < places["storm/1"]
    assert 'class="box end"' in page and 'class="arrow cycle"' not in page


# --- the page ----------------------------------------------------------------------------------------------


def test_a_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    run = made(tmp_path)
    page_events(run)
    finding = {"rule": "page-lost", "message": "page 0x10 <b>lost</b>", "severity": "fatal", "seconds": 0.005,
               "again": "cpuemu launch --seed 7"}
    page = document(collect(open_image(run.save(verdict={"verdict": "failed", "findings": [finding]}))), ["/*lib*/"])
    assert "default-src 'none'" in page
    assert not re.search(r"<(?:link|img|iframe)|<script[^>]* src=|@import|url\(", page)
    assert "page 0x10 &lt;b&gt;lost&lt;/b&gt;" in page
    assert "cpuemu launch --seed 7" in page
    assert 'class="verdict failed"' in page
    assert data_of(page)["lives"]["named"] == [0x10]


def many_events(tmp_path: Path) -> Path:
    run = RunDirectory(tmp_path / "run", sizes=(1 << 12, 1 << 12))
    for number in range(8_000):
        at = number * 1.7
        page = number * 7919 % 1024
        run.trace(number % 4, at, Event.MM_PAGE_ALLOC if number % 2 else Event.MM_PAGE_FREE, page, 0, 1, 0)
        run.trace(number % 4, at + 0.5, Event.SCHED_SWITCH, 70 + number % 5, 0, 70 + (number + 1) % 5)
        run.trace(number % 4, at + 0.8, Event.IPI_RAISE, (number + 1) % 4, 1, number, 0)
        run.trace((number + 1) % 4, at + 1, Event.IPI_ENTRY, number % 4, 1, number, 0)
    return run.save()


def test_what_was_joined_is_said(tmp_path: Path) -> None:
    found = collect(open_image(many_events(tmp_path)), room=0.05)
    notes = " ".join(notes_of(found))
    assert "those shorter than" in notes
    assert "Arrows of interrupts between the same two CPUs" in notes
    assert "had been overwritten in the rings" in notes
    data = data_of(document(found, []))
    assert sum(len(row["start"]) for row in data["slices"]) <= 3000
    assert (len(data["lives"]["pfn"]), data["lives"]["total"]) == (6000, 8000)


def test_a_report_that_would_be_too_large_gets_less_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, path = open_image(many_events(tmp_path)), tmp_path / "report.html"
    whole = write_report(image, path)
    assert whole < document_module.SIZE_LIMIT
    monkeypatch.setattr(document_module, "SIZE_LIMIT", whole - 1)
    monkeypatch.setattr(document_module, "ROOMS", (1.0, 0.05, 0.01))
    assert write_report(image, path) < whole
    assert "those shorter than" in path.read_text()


ARGUMENTS = st.lists(st.one_of(st.integers(0, 80), st.integers(0, (1 << 32) - 1)), min_size=4, max_size=4)
RECORDS = st.tuples(st.integers(0, 3), st.sampled_from(list(BY_ID)), st.integers(0, (1 << 16) - 1), ARGUMENTS)


@given(st.lists(RECORDS, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
def test_damaged_records_are_no_reason_to_stop(tmp_path: Path, found: list[tuple[int, int, int, list[int]]]) -> None:
    run = made(tmp_path)
    for number, (cpu, event, task, arguments) in enumerate(found):
        run.trace(cpu, number * MS, Event(event), *arguments, task=task)
    data_of(document(collect(open_image(run.save(verdict={"findings": "none", "notes": None}))), []))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made(tmp_path)
    page_events(run)
    directory = run.save()
    with pytest.raises(SystemExit) as done:
        main(["report", str(directory)])
    assert done.value.code == 0
    assert re.fullmatch(rf"{directory}/report\.html: \d\.\d MB\n", capsys.readouterr().out)


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["nowhere"], "nowhere: no such directory; give a run directory, as cpuemu launch prints it"),
    (["RUN", "-o", "RUN/none/x.html"], "RUN/none/x.html: cannot be written: No such file or directory; choose another"),
])
def test_one_sentence_for_what_cannot_be_done(tmp_path: Path, arguments: list[str], sentence: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    directory = made(tmp_path).save()
    with pytest.raises(SystemExit) as done:
        main(["report", *(each.replace("RUN", str(directory)) for each in arguments)])
    assert done.value.code == 2
    assert f"cpuemu: {sentence.replace('RUN', str(directory))}" in capsys.readouterr().err


def test_without_bokeh_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as done:
        main(["report", str(made(tmp_path).save())])
    assert done.value.code == 2
    assert capsys.readouterr().err == ("cpuemu: cpuemu report needs bokeh to draw with; install it: pip install "
                                       "'cpuemu[report]'\n")
