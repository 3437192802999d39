"""Reading rings: order, wrapping, torn records, files of --trace all, and a writer that overtakes the reader."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from cpuemu.events import RECORD_SIZE, Event, Ring
from cpuemu.report import records as module
from cpuemu.report.image import BufferMemory, Image, open_image
from cpuemu.report.records import Record, last_records, records, ring_states
from tests.handmade import T0
from tests.report.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def read(run: RunDirectory) -> list[Record]:
    return list(records(open_image(run.save())))


def firsts(found: list[Record]) -> list[int]:
    return [record.args[0] for record in found]


def test_an_empty_run(run: RunDirectory) -> None:
    assert read(run) == []


def test_all_rings_by_time(run: RunDirectory) -> None:
    run.trace(2, 1, Event.MM_PAGE_ALLOC, 10)
    run.trace(0, 2, Event.SCHED_WAKEUP, 11)
    run.trace(2, 3, Event.IPI_RAISE, 12)
    run.trace(0, 4, Event.MM_PAGE_FREE, 13)
    run.trace(2, 4, Event.MM_PAGE_FREE, 14)
    found = read(run)
    assert firsts(found) == [10, 11, 12, 13, 14]
    assert [record.cpu for record in found] == [2, 0, 2, 0, 2]


def test_a_wrapped_ring_has_its_last_records(run: RunDirectory) -> None:
    for number in range(21):
        run.trace(1, number, Event.MM_PAGE_ALLOC if number % 3 else Event.MM_PAGE_FREE, number)
    assert firsts(read(run)) == list(range(13, 21))
    state = ring_states(open_image(run.path))[2]
    assert (state.cpu, state.ring, state.written) == (1, Ring.PAGES, 21)
    assert state.overwritten == {Event.MM_PAGE_ALLOC: 8, Event.MM_PAGE_FREE: 5}


def test_torn_records_are_left_out(run: RunDirectory) -> None:
    """A writer was killed between clearing the sequence number and storing it; another page was never written back."""
    for number in range(6):
        run.trace(0, number, Event.MM_PAGE_ALLOC, number)
    torn = run.place(0, Ring.PAGES, 2)
    run.rings[torn + 8 : torn + 12] = bytes(4)
    lost = run.place(0, Ring.PAGES, 4)
    run.rings[lost : lost + RECORD_SIZE] = bytes(RECORD_SIZE)
    assert firsts(read(run)) == [0, 1, 3, 5]


def test_trace_all_reads_files_and_then_what_is_only_in_the_rings(run: RunDirectory) -> None:
    for number in range(30):
        run.trace(1, number, Event.MM_PAGE_ALLOC, number)
        if number % 7 == 6:
            run.spill(1, Ring.PAGES)
    run.trace(3, 12.5, Event.IPI_RAISE, 100)
    found = firsts(read(run))
    assert found.index(100) == 13
    assert [number for number in found if number != 100] == list(range(30))
    assert not ring_states(open_image(run.path))[2].overwritten


def test_a_file_cut_short_in_a_record(run: RunDirectory) -> None:
    for number in range(5):
        run.trace(0, number, Event.MM_PAGE_ALLOC, number)
    run.spill(0, Ring.PAGES)
    file = run.path / "cpu0.ring0.trace"
    file.write_bytes(file.read_bytes()[:-10])
    assert firsts(read(run)) == [0, 1, 2, 3, 4], "the ring still has the one that is cut"


def test_a_file_that_grows_while_it_is_read(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a record was there at first: nothing is read from its middle on."""
    monkeypatch.setattr(module, "CHUNK", 2)
    for number in range(6):
        run.trace(0, number, Event.MM_PAGE_ALLOC, number)
    run.spill(0, Ring.PAGES)
    file = run.path / "cpu0.ring0.trace"
    whole = file.read_bytes()
    file.write_bytes(whole[:-80])  # three records and a half
    reading = records(open_image(run.save()))
    found = [next(reading), next(reading), next(reading)]
    file.write_bytes(whole)
    assert firsts([*found, *reading]) == [0, 1, 2, 3, 4, 5]


def test_a_record_in_a_file_that_is_none_is_left_out(run: RunDirectory) -> None:
    for number in range(20):
        run.trace(0, number, Event.MM_PAGE_ALLOC, number)
        run.spill(0, Ring.PAGES)
    file = run.path / "cpu0.ring0.trace"
    damaged = bytearray(file.read_bytes())
    damaged[3 * RECORD_SIZE : 5 * RECORD_SIZE] = bytes(2 * RECORD_SIZE)
    file.write_bytes(damaged)
    assert firsts(read(run)) == [0, 1, 2, *range(5, 20)]


def test_a_writer_that_overtakes_the_reader(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine runs while it is read: never a record of a wrong place, never half of two."""
    monkeypatch.setattr(module, "CHUNK", 2)
    for number in range(8):
        run.trace(0, number, Event.MM_PAGE_ALLOC, number)
    image = live(run)
    reading = records(image)
    found = [next(reading), next(reading)]
    for number in range(8, 13):
        run.trace(0, number, Event.MM_PAGE_ALLOC, number)
    found += reading
    assert firsts(found) == [0, 1, 5, 6, 7]


def live(run: RunDirectory) -> Image:
    """An image whose rings are the very memory that the run goes on writing."""
    image = open_image(run.save())
    shared = mmap.mmap(-1, len(run.rings))
    shared[:] = bytes(run.rings)
    run.rings = shared  # type: ignore[assignment]
    run.memory = image.rings = BufferMemory(shared)
    return image


def test_the_last_records_of_some_cpus_up_to_a_moment(run: RunDirectory) -> None:
    for number in range(21):
        run.trace(1, number, Event.MM_PAGE_ALLOC, number)
    for number in (14, 17, 19):
        run.trace(1, number + 0.5, Event.SCHED_WAKEUP, 100 + number)
        run.trace(2, number, Event.SCHED_WAKEUP, 200 + number)
    image = open_image(run.save())
    assert firsts(last_records(image, [1], T0 + 18_000, 5)) == [15, 16, 17, 117, 18]
    assert firsts(last_records(image, [1, 2], T0 + 18_000, 4)) == [17, 217, 117, 18]
    assert firsts(last_records(image, [1], 1 << 64, 2)) == [119, 20]
    assert last_records(image, [1], T0 + 12_000, 5) == [], "overwritten"


@pytest.mark.parametrize("damage", ["empty", "short", "sizes"])
def test_damaged_rings_are_a_sentence(run: RunDirectory, damage: str) -> None:
    run.trace(0, 1, Event.MM_PAGE_ALLOC, 1)
    if damage == "sizes":
        run.head(0, Ring.SLOW).size = 3
    run.save()
    if damage != "sizes":
        (run.path / "rings").write_bytes(b"" if damage == "empty" else bytes(run.rings[:5000]))
    image = open_image(run.path)
    assert list(records(image)) == []
    assert len(image.problems) == 1 and "rings" in image.problems[0]


def test_a_ring_whose_times_go_backwards_has_an_end(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for moment in (9, 1, 5):
        run.trace(0, moment, Event.SCHED_SWITCH)
    assert len(list(records(open_image(run.save())))) == 3
