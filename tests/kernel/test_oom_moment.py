"""What the witness says of an allocation about to OOM, on machines built by hand; and that it says the truth."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuemu.coordinator.oom_moments import OomMoments, moments_of
from cpuemu.kernel.oom_moment import about_to_oom, order_0_mark, reclaim_failed, slowpath_begins, victim_chosen
from cpuemu.layout import OOM_MOMENTS, Counter, OomMoment
from tests.handmade import FIRST_USER_TASK, T0, Handmade, machine
from tests.kernel.witness import cpu_of

ZONE, TASK = 1, FIRST_USER_TASK
START = 128
"""First page of the zone: it has as many."""
MARK = 43
"""Free pages at which order 0 passes a min watermark of 40."""


def short_of(missing: int, others: dict[int, int], own: int = 0, threshold: int = 0) -> Handmade:
    """A zone with ``missing`` pages less than order 0 needs; pages on the lists of CPUs; the DMA zone is empty."""
    made = machine(4, 2 * START)
    made.machine.zones[0].wmark[0] = 1 << 20
    made.machine.zones[ZONE].wmark[0] = 40
    pfn = START
    for cpu, count in {0: own, **others}.items():
        made.machine.pcp(cpu, ZONE).stat_threshold = threshold
        for _ in range(count):
            made.take(pfn)
            made.to_pcp(cpu, pfn)
            pfn += 1
    while made.machine.zones[ZONE].free_pages > MARK - missing:
        made.take(pfn)
        pfn += 1
    made.run(0, TASK)
    return made


def look(made: Handmade, order: int = 0, between: tuple[int, ...] = (), failed_on: int = 0) -> OomMoment:
    """The moment that CPU 0 writes, after its reclaim failed on ``failed_on`` and the CPUs ``between`` freed a page."""
    made.cpus[failed_on].current = TASK
    slowpath_begins(cpu_of(made, failed_on))
    reclaim_failed(cpu_of(made, failed_on))
    for number in between:
        made.cpus[number].counters[Counter.FREE] += 1
    about_to_oom(cpu_of(made, 0), order, ZONE, 0)
    return made.machine.oom_moments[made.machine.drains.nr_moments - 1]


def test_the_others_hold_exactly_what_is_missing() -> None:
    moment = look(short_of(6, {1: 2, 3: 4}, own=5))
    assert (moment.done, moment.cpu, moment.task, moment.zone) == (1, 0, TASK, ZONE)
    assert (moment.mark, moment.free, moment.missing) == (MARK, MARK - 6, 6)
    assert (moment.own, moment.others, moment.holders, moment.active, moment.migrated) == (5, 6, 2, 0, 0)
    assert (moment.gain, moment.saved, moment.own_saved) == (11, 1, 0)


def test_its_own_lists_would_do() -> None:
    moment = look(short_of(6, {1: 2}, own=6))
    assert (moment.saved, moment.own_saved) == (1, 1)


def test_one_page_too_few() -> None:
    made = short_of(7, {1: 2, 3: 4})
    assert look(made).saved == 0
    assert moments_of(made.machine).all.enough == 0


def test_pages_that_stay_in_the_differential_save_nobody() -> None:
    """Twenty pages of each CPU go back, and the counter that allocations read does not move."""
    made = short_of(6, {1: 20, 2: 20, 3: 20}, threshold=24)
    moment = look(made)
    assert (moment.others, moment.gain, moment.saved) == (60, 0, 0)
    said = moments_of(made.machine).all
    assert (said.enough, said.all_three, said.saved) == (1, 1, 0)
    made.machine.pcp(2, ZONE).free_diff = 10
    assert (look(made).gain, look(made).saved) == (30, 1)


def test_only_cpus_that_have_pages_can_disturb() -> None:
    assert look(short_of(6, {1: 9}), between=(2, 3)).active == 0
    made = short_of(6, {1: 9, 2: 9})
    assert look(made, between=(1, 3)).active == 1
    said = moments_of(made.machine).all
    assert (said.enough, said.quiet, said.stayed, said.all_three) == (1, 0, 1, 0)


def test_a_task_that_came_from_another_cpu() -> None:
    made = short_of(6, {1: 9})
    assert look(made, failed_on=2).migrated == 1
    assert (moments_of(made.machine).all.stayed, moments_of(made.machine).all.all_three) == (0, 0)


def test_the_lists_of_a_cpu_that_is_offline_are_out_of_reach() -> None:
    made = short_of(6, {1: 9})
    made.online(1, False)
    moment = look(made)
    assert (moment.others, moment.holders, moment.gain, moment.saved) == (0, 0, 0, 0)
    assert moments_of(made.machine).all.nobody == 1


def test_above_its_mark_no_drain_is_needed() -> None:
    made = short_of(0, {1: 9})
    assert look(made).missing == 0
    said = moments_of(made.machine).all
    assert (said.order_0, said.short, said.enough, said.saved) == (1, 0, 0, 0)


def test_other_orders_and_a_full_table_are_counted() -> None:
    made = short_of(6, {1: 9})
    look(made, order=2)
    look(made)
    made.machine.drains.nr_moments = OOM_MOMENTS
    about_to_oom(cpu_of(made, 0), 0, ZONE, 0)
    said = moments_of(made.machine)
    assert (said.moments, said.not_kept, said.all.order_0) == (OOM_MOMENTS + 1, 1, 1)
    victim_chosen(cpu_of(made, 0), TASK)  # of a moment that was not kept: counted all the same
    assert made.cpus[0].counters[Counter.OOM] == 1


def test_a_kill_knows_whether_a_drain_was_tried() -> None:
    made = short_of(6, {1: 9})
    made.machine.header.pace_start_ns = T0 - 1_500_000_000
    look(made)  # an earlier victim is still on its way: nobody is chosen
    moment = look(made)
    victim_chosen(cpu_of(made, 0), 70)
    assert moment.victim == 71
    made.machine.allocations[TASK].drains = 2
    about_to_oom(cpu_of(made, 0), 0, ZONE, 0)
    victim_chosen(cpu_of(made, 0), 71)
    assert [made.cpus[0].counters[counter] for counter in (Counter.OOM, Counter.OOM_NO_DRAIN)] == [2, 1]
    said = moments_of(made.machine)
    assert (said.all.short, said.kills.short) == (3, 2)
    assert (said.all.after_drain, said.kills.after_drain, said.first_kill_seconds) == (1, 1, 1.5)
    slowpath_begins(cpu_of(made, 0))
    assert made.machine.allocations[TASK].drains == 0


def test_a_machine_without_a_moment() -> None:
    assert moments_of(machine().machine) == OomMoments()


@pytest.mark.parametrize("flags", range(4))
@given(free=st.integers(0, 80), mark=st.integers(0, 60), reserve=st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_the_mark_is_where_the_compiled_watermark_check_says_yes(flags: int, free: int, mark: int,
                                                                 reserve: int) -> None:
    made = _SMALL
    zone = made.machine.zones[ZONE]
    zone.free_pages, zone.lowmem_reserve[ZONE] = free, reserve
    passes = cpu_of(made, 0).core.zone_watermark_ok(ZONE, 0, mark, ZONE, flags)
    assert passes == (free >= order_0_mark(mark, reserve, flags))


_SMALL = machine(1, 64, tasks=64)


@given(missing=st.integers(1, 12), counts=st.tuples(*[st.integers(0, 9)] * 4), threshold=st.integers(0, 12),
       diffs=st.tuples(*[st.integers(-12, 12)] * 4))
@settings(max_examples=40, deadline=None)
def test_saved_is_what_a_drain_would_do(missing: int, counts: tuple[int, ...], threshold: int,
                                        diffs: tuple[int, ...]) -> None:
    """Say it, then really drain every CPU's lists, and ask the compiled watermark check."""
    made = short_of(missing, {1: counts[1], 2: counts[2], 3: counts[3]}, own=counts[0], threshold=threshold)
    for number, diff in enumerate(diffs):
        made.machine.pcp(number, ZONE).free_diff = max(-threshold, min(threshold, diff))
    said = look(made).saved
    for number in range(4):
        if count := made.machine.pcp(number, ZONE).count:
            cpu_of(made, number).core.free_pcppages_bulk(number, ZONE, count)
    assert said == cpu_of(made, 0).core.zone_watermark_ok(ZONE, 0, 40, ZONE, 0)
