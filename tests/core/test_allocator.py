"""The compiled allocator against an independent model: the same page at every step, the same lists at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpuemu.core import _core, _stepped
from cpuemu.kernel.page_audit import audit
from cpuemu.layout import MAX_ORDER, OWNER_BOOT, MigrateType, Page, PageState, Pcp
from tests.core.bench import TYPES, Bench
from tests.core.model import Model

BATCH, HIGH = 7, 20
FORMS = pytest.mark.parametrize("form", [_core, _stepped], ids=["fast", "stepped"])

# (what, order, type, which page, cold)
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["alloc", "alloc", "free", "drain"]), st.sampled_from([0, 0, 0, 0, 1, 2, 3, 5, 9, 10]),
              st.sampled_from(TYPES), st.integers(0, 1 << 16), st.booleans()),
    max_size=150,
)
Operation = tuple[str, int, MigrateType, int, bool]
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def run(bench: Bench, model: Model | None, operations: Sequence[Operation]) -> list[tuple[int, int]]:
    """Do the operations on the bench, and on the model if there is one; the blocks that are allocated at the end."""
    held: list[tuple[int, int]] = []
    for what, order, kind, choice, cold in operations:
        if what == "alloc":
            pfn = alloc(bench, order, kind, cold)
            if model is not None:
                expected = model.pcp_take(kind, cold) if order == 0 else model.take(order, kind)
                assert pfn == (-1 if expected is None else expected)
            if pfn != -1:
                held.append((pfn, order))
        elif what == "free" and held:
            pfn, size = held.pop(choice % len(held))
            free(bench, pfn, size, cold)
            if model is not None:
                if size:
                    model.give(pfn, size, model.blocks[pfn >> 9])
                else:
                    model.pcp_give(pfn, cold)
        elif what == "drain":
            count = bench.machine.pcp(0, 0).count
            if count:
                bench.bulk(count)
                if model is not None:
                    model.bulk(count)
    return held


def alloc(bench: Bench, order: int, kind: int, cold: bool) -> int:
    core = bench.core
    if order:
        pfn = bench.locked(lambda: core.rmqueue(0, order, kind))
    else:
        pfn = bench.quiet(lambda: core.pcp_alloc(0, kind, cold))
        if pfn == -1:
            bench.locked(lambda: core.rmqueue_bulk(0, kind, BATCH, cold))
            pfn = bench.quiet(lambda: core.pcp_alloc(0, kind, cold))
    if pfn != -1:
        core.prep_new_page(pfn, order, kind, 0, OWNER_BOOT)
    return int(pfn)


def free(bench: Bench, pfn: int, order: int, cold: bool) -> None:
    core = bench.core
    kind = core.free_prepare(pfn, order)
    if order:
        bench.locked(lambda: core.free_one_page(pfn, order, kind))
    elif bench.quiet(lambda: core.pcp_free(pfn, kind, cold)) >= HIGH:
        bench.bulk(BATCH)


@FORMS
@SETTINGS
@given(operations=OPERATIONS)
def test_same_pages_and_lists_as_the_model(form: ModuleType, operations: list[Operation]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        bench, model = Bench(Path(directory), form, checked=True, batch=BATCH, high=HIGH), Model(4096, BATCH, HIGH)
        held = run(bench, model, operations)
        for order in range(MAX_ORDER):
            for kind in TYPES:
                assert bench.free_list(order, kind) == model.free[order, kind]
        assert [bench.pcp_list(kind) for kind in TYPES] == [model.pcp[kind] for kind in TYPES]
        assert {block: bench.machine.pageblocks[block].migratetype for block in range(8)} == {
            block: model.blocks[block] for block in range(8)
        }
        result = audit(bench.machine, bench.image.mapping)
        assert result.ok, result.findings
        assert result.allocated == sum(1 << order for _, order in held)


@SETTINGS
@given(operations=OPERATIONS)
def test_both_forms_leave_the_same_memory(operations: list[Operation]) -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        fast, stepped = Bench(Path(first), _core), Bench(Path(second), _stepped)
        steps: list[str] = []
        _stepped.set_step(lambda label, _: steps.append(label), stepped.ram)
        try:
            assert run(fast, None, operations) == run(stepped, None, operations)
        finally:
            _stepped.set_step(None)
        assert fast.memory() == stepped.memory()
        assert bool(steps) == any(what == "alloc" for what, *_ in operations)


def test_a_step_before_every_store_of_a_list_operation(tmp_path: Path) -> None:
    bench = Bench(tmp_path, _stepped)
    pfn = alloc(bench, 0, MigrateType.MOVABLE, False)
    bench.core.free_prepare(pfn, 0)
    steps: list[str] = []
    before: dict[str, tuple[int, int]] = {}

    def look(label: str, address: int) -> None:
        steps.append(label)
        before[label] = address, bench.ram.read(address)

    _stepped.set_step(look, bench.ram)
    try:
        bench.quiet(lambda: bench.core.pcp_free(pfn, MigrateType.MOVABLE, False))
    finally:
        _stepped.set_step(None)
    assert steps == ["pcp:state", "pcp:order", "pcp:set_page_private", "pcp:owner", "list_add:entry.prev",
                     "list_add:entry.next", "list_add:next.prev", "list_add:prev.next", "free_hot_cold_page:pcp.count"]
    assert set(steps) <= set(_stepped.STEPS)
    address, count = before["free_hot_cold_page:pcp.count"]
    assert address == bench.machine.pcp(0, 0).addr(Pcp.count) and bench.ram.read(address) == count + 1
    address, state = before["pcp:state"]
    assert address == bench.machine.mem_map[pfn].addr(Page.state)
    assert (state, bench.ram.read(address)) == (PageState.TAIL, PageState.PCP)


def test_an_exception_leaves_a_stepped_leaf_where_it_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, _stepped)

    def stop(label: str, _: int) -> None:
        if label == "list_del:prev.next":
            raise KeyboardInterrupt

    _stepped.set_step(stop, bench.ram)
    try:
        with pytest.raises(KeyboardInterrupt):
            alloc(bench, 0, MigrateType.MOVABLE, False)
    finally:
        _stepped.set_step(None)
    assert not audit(bench.machine, bench.image.mapping).ok


@FORMS
def test_misuse_is_told(form: ModuleType, tmp_path: Path) -> None:
    bench = Bench(tmp_path, form, checked=True)
    core = bench.core
    with pytest.raises(form.LeafError, match="without zone->lock"):
        core.rmqueue(0, 1, MigrateType.MOVABLE)
    with pytest.raises(form.LeafError, match="interrupts on"):
        core.pcp_alloc(0, MigrateType.MOVABLE, False)
    pfn = alloc(bench, 0, MigrateType.MOVABLE, False)
    free(bench, pfn, 0, False)
    with pytest.raises(form.BadPage, match="its state is PCP"):
        core.free_prepare(pfn, 0)
    block = alloc(bench, 3, MigrateType.MOVABLE, False)
    with pytest.raises(form.BadPage, match="freed with order 2"):
        core.free_prepare(block, 2)
    with pytest.raises(form.BadPage, match="freed with order 0"):
        core.free_prepare(block + 1, 0)
    with pytest.raises(form.BadPage, match="the machine has"):
        core.free_prepare(1 << 20, 0)
    there = bench.machine.pcp(0, 0).count
    assert bench.bulk(500) == there


def test_a_damaged_list_is_not_followed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, _core)
    head = bench.machine.mem_map[bench.free_list(10, MigrateType.MOVABLE)[0]]
    head.prev = 77
    with pytest.raises(_core.BadPage, match="list_del corruption"):
        bench.locked(lambda: bench.core.rmqueue(0, 10, MigrateType.MOVABLE))
    head.state = PageState.ALLOCATED
    with pytest.raises(_core.BadPage, match="not a free block"):
        bench.locked(lambda: bench.core.rmqueue(0, 10, MigrateType.MOVABLE))


@given(free=st.integers(0, 300), nr_free=st.lists(st.integers(0, 10), min_size=11, max_size=11),
       order=st.integers(0, 10), mark=st.integers(0, 200), reserve=st.integers(0, 50), flags=st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_watermark(free: int, nr_free: list[int], order: int, mark: int, reserve: int, flags: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), _core, pages=1024)
        zone = bench.machine.zones[0]
        zone.free_pages, zone.lowmem_reserve[0] = free, reserve
        for size, count in enumerate(nr_free):
            zone.nr_free[size] = count
        left, least = free - (1 << order) - 1, mark
        least -= least // 2 if flags & 1 else 0
        least -= least // 4 if flags & 2 else 0
        expected = left > least + reserve
        for size in range(order):
            left -= nr_free[size] << size
            least >>= 1
            expected = expected and left > least
        assert bench.core.zone_watermark_ok(0, order, mark, 0, flags) == expected


def test_differentials_fold_at_their_threshold(tmp_path: Path) -> None:
    bench = Bench(tmp_path, _core)
    zone, pcp = bench.machine.zones[0], bench.machine.pcp(0, 0)
    for expected in ((4096, -1), (4096, -2), (4096, -3), (4096, -4), (4091, 0)):
        pfn = bench.locked(lambda: bench.core.rmqueue(0, 0, MigrateType.MOVABLE))
        bench.core.prep_new_page(pfn, 0, MigrateType.MOVABLE, 0, OWNER_BOOT)
        assert (zone.free_pages, pcp.free_diff) == expected
        assert bench.core.zone_page_state_snapshot(0) == expected[0] + expected[1]
    pcp.free_diff = 3
    bench.core.fold_zone_diffs(0)
    assert (zone.free_pages, pcp.free_diff) == (4094, 0)
