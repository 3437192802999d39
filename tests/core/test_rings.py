"""The ring write: order, wrapping, freeze, and what a reader may believe."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpuemu.arch.ram import RingFile, create_ram, create_rings, ring_view
from cpuemu.core import Core
from cpuemu.events import RECORD, RECORD_SIZE, Event, Flag, Ring, ring_base
from cpuemu.layout import Dimensions, Machine, first_workload_task

SIZES = (128, 256)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Machine, RingFile, Core]:
    image = create_ram(tmp_path, Dimensions(2, 64, 1, first_workload_task(2)))
    rings = create_rings(tmp_path, 2, SIZES)
    return image.machine, rings, Core(image.ram, rings.mapping, SIZES, 1, 1)


def record(rings: RingFile, ring: Ring, position: int) -> tuple[int, ...]:
    place = ring_base(2, SIZES, 1, ring) + position % SIZES[ring] * RECORD_SIZE
    return RECORD.unpack_from(rings.mapping, place)


def test_each_event_goes_to_its_ring_with_its_context(made: tuple[Machine, RingFile, Core]) -> None:
    machine, rings, core = made
    cpu = machine.cpus[1]
    cpu.current = 3
    machine.tasks[3].preempt_count = 2
    cpu.irqs_off = 1
    core.trace(Event.MM_PAGE_ALLOC, 11, 2, 3, 0xFFFFFFFF)
    cpu.irqs_off, cpu.need_resched, cpu.hardirq = 0, 1, 1
    core.trace(Event.IPI_ENTRY, 7)
    pages, slow = record(rings, Ring.PAGES, 0), record(rings, Ring.SLOW, 0)
    assert pages[1:] == (1, Event.MM_PAGE_ALLOC, Flag.IRQS_OFF | 2 << 4, 3, 11, 2, 3, 0xFFFFFFFF)
    assert slow[1:] == (1, Event.IPI_ENTRY, Flag.NEED_RESCHED | Flag.HARDIRQ | 2 << 4, 3, 7, 0, 0, 0)
    assert 0 < pages[0] <= slow[0]
    assert [ring_view(rings, 1, ring).written for ring in (Ring.PAGES, Ring.SLOW)] == [1, 1]
    assert [ring_view(rings, 0, ring).written for ring in (Ring.PAGES, Ring.SLOW)] == [0, 0]


def test_a_full_ring_loses_the_oldest_and_counts_it(made: tuple[Machine, RingFile, Core]) -> None:
    _, rings, core = made
    for number in range(300):
        core.trace(Event.MM_PAGE_ALLOC if number < 100 else Event.MM_PAGE_FREE, number)
    head = ring_view(rings, 1, Ring.PAGES)
    assert head.written == 300
    assert head.overwritten[Event.MM_PAGE_ALLOC] == 100
    assert head.overwritten[Event.MM_PAGE_FREE] == 72
    for position in range(172, 300):
        assert record(rings, Ring.PAGES, position)[1:6] == (position + 1, Event.MM_PAGE_FREE, 0, 0, position)


def test_what_was_streamed_is_not_lost(made: tuple[Machine, RingFile, Core]) -> None:
    _, rings, core = made
    head = ring_view(rings, 1, Ring.PAGES)
    for number in range(300):
        core.trace(Event.MM_PAGE_FREE, number)
        head.spilled = number + 1
    assert head.overwritten[Event.MM_PAGE_FREE] == 0
    assert core.room(Ring.PAGES) == SIZES[0]


def test_frozen_rings_take_a_small_tail(made: tuple[Machine, RingFile, Core]) -> None:
    machine, rings, core = made
    core.trace(Event.IPI_ENTRY)
    machine.header.frozen = 1
    for _ in range(500):
        core.trace(Event.IPI_EXIT)
    assert ring_view(rings, 1, Ring.SLOW).written == 65


def test_a_new_life_goes_on_where_the_last_one_ended(made: tuple[Machine, RingFile, Core]) -> None:
    machine, rings, core = made
    core.trace(Event.IPI_ENTRY, 1)
    del core
    Core(machine.mem, rings.mapping, SIZES, 1, 2).trace(Event.IPI_ENTRY, 2)  # type: ignore[arg-type]
    assert [record(rings, Ring.SLOW, position)[1] for position in (0, 1)] == [1, 2]
    assert [record(rings, Ring.SLOW, position)[5] for position in (0, 1)] == [1, 2]
