"""Recordings compiled: who frees what, where pages were before the recording began, CPUs that go and come."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cpuemu.layout import Gfp, MigrateType, OpKind, ReplayOp
from cpuemu.workloads import compile as module
from cpuemu.workloads.base import HotplugEvent
from cpuemu.workloads.compile import OP, Compiled
from cpuemu.workloads.gfp import gfp_bits
from tests.recordings import alloc, compiled, event, free, step

pytestmark = pytest.mark.timeout(60)

ALLOC, FREE, CSD, IPI, SLEEP = OpKind.ALLOC, OpKind.FREE, OpKind.CSD, OpKind.IPI, OpKind.SLEEP


def operations(result: Compiled, cpu: int = 0) -> list[tuple[int, int, int, int, int]]:
    """(line, kind, slot, order, pieces) of a stream; what only keeps the time left out."""
    picked = (module.LINE, module.KIND, module.SLOT, module.ORDER, module.PIECES)
    return [tuple(each[index] for index in picked) for each in result.streams[cpu] if each[module.KIND] != SLEEP]  # type: ignore[misc]


def test_the_record_is_the_declared_one() -> None:
    """OP packs what layout.ReplayOp declares, byte for byte."""
    values = (0x01020304, 0x05060708, 9, 10, 11, 12, 0x0D0E, 0x0F10)
    names = ("line", "slot", "kind", "order", "migratetype", "pieces", "gfp", "delta")
    data = OP.pack(*values)
    assert len(data) == ReplayOp.SIZE
    for name, value in zip(names, values, strict=True):
        word = next(each for each in ReplayOp.WORDS if each.name == name)
        assert int.from_bytes(data[word.offset : word.offset + word.size], "little") == value


def test_free_on_another_cpu() -> None:
    result = compiled([alloc(0, 1.0, 0x100), alloc(1, 1.1, 0x200), free(1, 1.2, 0x100), free(0, 1.3, 0x200)])
    assert operations(result, 0) == [(1, ALLOC, 0, 0, 0), (4, FREE, 1, 0, 0)]
    assert operations(result, 1) == [(2, ALLOC, 1, 0, 0), (3, FREE, 0, 0, 0)]
    assert (result.slots, result.held, dict(result.skipped)) == (2, [], {})


def test_same_page_again_is_another_slot() -> None:
    result = compiled([alloc(0, 1.0, 0x100), free(0, 1.1, 0x100), alloc(0, 1.2, 0x100), free(0, 1.3, 0x100)])
    assert [slot for _, _, slot, _, _ in operations(result)] == [0, 0, 1, 1]


def test_pages_from_before_are_held_and_come_first() -> None:
    result = compiled([alloc(0, 1.0, 0x100), free(0, 1.1, 0x300, 3), free(0, 1.2, 0x100), free(0, 1.3, 0x500)])
    assert result.held == [(0x300, 3), (0x500, 0)]
    assert operations(result) == [(1, ALLOC, 2, 0, 0), (2, FREE, 0, 3, 0), (3, FREE, 2, 0, 0), (4, FREE, 1, 0, 0)]
    assert result.slots == 3


def test_free_twice_is_left_out_and_counted() -> None:
    """Its second allocation has no line (the bulk allocator has none): it was not held since boot."""
    result = compiled([free(0, 1.0, 0x100), free(0, 1.1, 0x100)])
    assert result.held == [(0x100, 0)]
    assert result.skipped == {module.NOT_RECORDED: 1}


def test_allocation_that_failed_is_left_out_and_counted() -> None:
    failed = event(0, 1.0, "mm_page_alloc: page=(null) pfn=0x0 order=0 migratetype=0 gfp_flags=GFP_NOWAIT")
    result = compiled([failed, alloc(0, 1.1, 0x100)])
    assert operations(result) == [(2, ALLOC, 0, 0, 0)]
    assert result.skipped == {module.FAILED_THERE: 1}


def test_free_without_a_line_is_implied() -> None:
    """A page that is allocated again was given back: here it must be, too, or memory would run out."""
    result = compiled([alloc(0, 1.0, 0x100), alloc(1, 1.1, 0x100), free(1, 1.2, 0x100)])
    assert operations(result, 1) == [(2, FREE, 0, 0, 0), (2, ALLOC, 1, 0, 0), (3, FREE, 1, 0, 0)]
    assert result.skipped == {module.IMPLIED: 1}


# --- blocks and their parts --------------------------------------------------------------------------------


def test_block_freed_whole() -> None:
    result = compiled([alloc(0, 1.0, 0x100, 3), free(0, 1.1, 0x100, 3)])
    assert operations(result) == [(1, ALLOC, 0, 3, 0), (2, FREE, 0, 3, 0)]


def test_block_freed_page_by_page() -> None:
    """The allocation is split at once; a part of order 1 is two pages then."""
    result = compiled([alloc(0, 1.0, 0x100, 2), free(1, 1.1, 0x102, 1), free(1, 1.2, 0x100), free(1, 1.3, 0x101)])
    assert operations(result, 0) == [(1, ALLOC, 0, 2, 1)]
    assert operations(result, 1) == [(2, FREE, 0, 0, 2), (2, FREE, 0, 0, 3), (3, FREE, 0, 0, 0), (4, FREE, 0, 0, 1)]


def test_part_that_was_allocated_again_frees_no_more() -> None:
    lines = [alloc(0, 1.0, 0x100, 1), free(0, 1.1, 0x101), alloc(0, 1.2, 0x101), free(0, 1.3, 0x100, 1)]
    result = compiled(lines)
    assert operations(result) == [
        (1, ALLOC, 0, 1, 1), (2, FREE, 0, 0, 1), (3, ALLOC, 1, 0, 0), (4, FREE, 0, 0, 0), (4, FREE, 1, 0, 0),
    ]


def test_large_block_freed_page_by_page() -> None:
    """ReplayOp.pieces counts to 255: a block of 1024 pages becomes four of 256 pages."""
    result = compiled([alloc(0, 1.0, 0x400, 10), *(free(0, 1.1, pfn) for pfn in range(0x400, 0x800))])
    made = operations(result)
    assert made[:4] == [(1, ALLOC, slot, 8, 1) for slot in range(4)]
    assert [(slot << 8) + piece for _, _, slot, _, piece in made[4:]] == list(range(1024))
    assert result.slots == 4


def test_large_block_freed_whole_keeps_one_slot_in_use() -> None:
    result = compiled([alloc(0, 1.0, 0x400, 9), free(0, 1.1, 0x400, 9), alloc(0, 1.2, 0x100)])
    assert operations(result) == [(1, ALLOC, 0, 9, 0), (2, FREE, 0, 9, 0), (3, ALLOC, 2, 0, 0)]


def test_free_of_several_blocks_at_once() -> None:
    """Pages allocated one by one and given back as a block (as compaction does), with one from before between them."""
    result = compiled([alloc(0, 1.0, 0x100), alloc(0, 1.1, 0x101), alloc(0, 1.2, 0x103), free(0, 1.3, 0x100, 2)])
    assert result.held == [(0x102, 0)]
    assert sorted(operations(result)[3:]) == [(4, FREE, slot, 0, 0) for slot in range(4)]


def test_blocks_from_before_in_the_sizes_of_the_buddy_allocator() -> None:
    """A page of it was allocated and is free: what is left of the block was held in aligned parts."""
    result = compiled([alloc(0, 1.0, 0x103), free(0, 1.1, 0x103), free(0, 1.2, 0x100, 3)])
    assert result.held == [(0x100, 1), (0x102, 0), (0x104, 2)]
    assert result.skipped == {module.NOT_RECORDED: 1}


@pytest.mark.parametrize("order", [11, 63])
def test_orders_that_v32_does_not_have(order: int) -> None:
    result = compiled([alloc(0, 1.0, 0x800, order), free(0, 1.1, 0x800, order), alloc(0, 1.2, 0x100)])
    assert operations(result) == [(3, ALLOC, 0, 0, 0)]
    assert result.skipped == {module.TOO_LARGE: 2}


# --- what an allocation asks for ---------------------------------------------------------------------------


def types_of(lines: Sequence[bytes]) -> list[int]:
    return [each[module.TYPE] for each in compiled(lines).streams[0]]


@pytest.mark.parametrize(("flags", "expected"), [
    # since v4.4
    (["GFP_KERNEL", "GFP_HIGHUSER_MOVABLE", "GFP_NOFS|__GFP_RECLAIMABLE", "GFP_ATOMIC", "GFP_TRANSHUGE"],
     ["UNMOVABLE", "MOVABLE", "RECLAIMABLE", "UNMOVABLE", "MOVABLE"]),
    (["GFP_KERNEL", "GFP_TRANSHUGE_LIGHT", "GFP_KERNEL"], ["UNMOVABLE", "MOVABLE", "RECLAIMABLE"]),
    (["0x6000c0", "0x400dc0", "0x400d50"], ["UNMOVABLE", "MOVABLE", "RECLAIMABLE"]),
    # before
    (["GFP_KERNEL", "GFP_TEMPORARY", "GFP_HIGHUSER_MOVABLE", "GFP_ATOMIC"],
     ["UNMOVABLE", "RECLAIMABLE", "MOVABLE", "UNMOVABLE"]),
    (["GFP_KERNEL", "GFP_NOFS|GFP_RECLAIMABLE"], ["UNMOVABLE", "RECLAIMABLE"]),
    # of our own trace-dump, which names no mobility
    (["GFP_KERNEL", "GFP_KERNEL", "GFP_KERNEL"], ["UNMOVABLE", "RECLAIMABLE", "MOVABLE"]),
])
def test_migratetypes(flags: list[str], expected: list[str]) -> None:
    """What asks for movable memory says which number that has."""
    lines = [alloc(0, 1.0, 0x100 + kind, migratetype=kind, gfp=gfp) for kind, gfp in enumerate(flags)]
    assert [MigrateType(kind).name for kind in types_of(lines)] == expected


@pytest.mark.parametrize(("text", "bits"), [
    ("GFP_KERNEL|__GFP_ZERO|__GFP_COMP", Gfp.WAIT | Gfp.IO | Gfp.FS),
    ("GFP_ATOMIC|__GFP_NOWARN", Gfp.HIGH | Gfp.NOWARN),
    ("GFP_NOFS|__GFP_NORETRY", Gfp.WAIT | Gfp.IO | Gfp.NORETRY),
    ("GFP_NOWAIT", 0),
    ("none", 0),
    ("GFP_DMA32|GFP_KERNEL", Gfp.DMA32 | Gfp.WAIT | Gfp.IO | Gfp.FS),
    ("__GFP_IO|__GFP_FS|__GFP_DIRECT_RECLAIM|__GFP_NOFAIL", Gfp.WAIT | Gfp.IO | Gfp.FS | Gfp.NOFAIL),
])
def test_allocation_flags(text: str, bits: int) -> None:
    assert gfp_bits(text) == bits
    assert bits < 1 << 16, "ReplayOp.gfp has 16 bits"


# --- interrupts, CPUs, time --------------------------------------------------------------------------------


def test_interrupts() -> None:
    """A csd's own interrupt is sent with it; another one is a reschedule interrupt."""
    own = "generic_smp_call_function_single_interrupt+0x0/0x20"
    result = compiled([
        event(2, 1.0, "csd_queue_cpu: cpu=5 callsite=generic_exec_single+0x33/0x130 func=f csd=000000007dffd333"),
        event(2, 1.1, f"ipi_send_cpu: cpu=5 callsite=generic_exec_single+0x33/0x130 callback={own}"),
        event(2, 1.2, "ipi_send_cpu: cpu=7 callsite=wakeup_preempt+0x37/0x70 callback=0x0"),
    ])
    assert operations(result, 2) == [(1, CSD, 5, 0, 0), (3, IPI, 7, 0, 0)]
    assert result.skipped == {module.OWN_INTERRUPT: 1}


def test_hotplug_begins_with_the_first_step_in_another_direction() -> None:
    lines = [alloc(0, 1.0, 0x100), step(1, 145, 236, 1.5), step(1, 145, 235), step(1, 0, 145), step(2, 145, 236, 2.0),
             step(1, 236, 1, 3.0), step(1, 236, 235)]
    assert compiled(lines).hotplug == [
        HotplugEvent(2, 500_000_000, 1, False), HotplugEvent(5, 1_000_000_000, 2, False),
        HotplugEvent(6, 2_000_000_000, 1, True),
    ]


def test_steps_of_a_cpu_that_is_online_are_no_hotplug() -> None:
    """A driver that registers runs its step on every CPU."""
    assert compiled([step(1, 236, 190), step(2, 236, 190)]).hotplug == []


def test_offline_that_was_rolled_back() -> None:
    lines = [step(1, 0, 236), step(1, 236, 200), step(1, 0, 236)]
    assert [(each.line, each.up) for each in compiled(lines).hotplug] == [(1, False), (2, True), (3, False)]


def test_time_is_kept_over_long_pauses() -> None:
    """What does not fit into one operation's delta is kept by operations that do nothing."""
    result = compiled([alloc(0, 1.0, 0x100), alloc(1, 1.2, 0x200), alloc(1, 1.25, 0x201)])
    stream = result.streams[1]
    assert [each[module.KIND] for each in stream] == [SLEEP, SLEEP, SLEEP, ALLOC, ALLOC]
    assert [each[module.LINE] for each in stream] == [2, 2, 2, 2, 3]
    assert sum(each[module.DELTA] for each in stream[:-1]) == 200_000
    assert stream[-1][module.DELTA] == 50_000


def test_time_does_not_drift() -> None:
    """Nanoseconds that are cut off are not lost."""
    result = compiled([alloc(0, 1.0 + number * 0.0000015, 0x100 + number) for number in range(1001)])
    assert abs(sum(each[module.DELTA] for each in result.streams[0]) - 1500) <= 1


def test_lost_events_are_counted() -> None:
    result = compiled([alloc(0, 1.0, 0x100), b"CPU:0 [LOST 17 EVENTS]"])
    assert result.skipped == {module.LOST: 17}
