"""Whose drain found what, and how many were under way: on machines built by hand."""

from __future__ import annotations

import pytest

from cpuemu.kernel.drain_witness import drain_begins, drain_ends, drained_here, reclaim_begins
from cpuemu.layout import Counter
from tests.handmade import FIRST_USER_TASK, Handmade, machine
from tests.kernel.witness import cpu_of

TASK = FIRST_USER_TASK


def counters(made: Handmade, cpu: int) -> dict[str, int]:
    names = ("DRAIN_ALL", "DRAIN_FOUND", "DRAIN_EMPTY", "DRAIN_AVOIDABLE", "DRAIN_OVERLAP", "DRAIN_IPI")
    return {name: made.cpus[cpu].counters[Counter[name]] for name in names}


def interrupted(made: Handmade, target: int, source: int, pages: int) -> None:
    """The drain interrupt of ``source`` frees pages of ``target``'s lists."""
    made.cpus[target].call_source = source + 1
    drained_here(cpu_of(made, target), pages)
    made.cpus[target].call_source = 0


def test_two_drains_at_once_are_told_apart() -> None:
    """The first to reach CPU 2 takes its pages; the other finds nothing, and says so."""
    made = machine(4)
    made.run(0, TASK)
    made.run(1, TASK + 1)
    drain_begins(cpu_of(made, 0))
    drain_begins(cpu_of(made, 1))
    made.cpus[0].counters[Counter.IPI_SENT] += 3
    interrupted(made, 2, 0, 7)
    interrupted(made, 2, 1, 0)
    drained_here(cpu_of(made, 0), 1)  # its own lists, outside of any interrupt
    drain_ends(cpu_of(made, 0))
    drain_ends(cpu_of(made, 1))
    assert counters(made, 0) == {"DRAIN_ALL": 1, "DRAIN_FOUND": 8, "DRAIN_EMPTY": 0, "DRAIN_AVOIDABLE": 1,
                                 "DRAIN_OVERLAP": 1, "DRAIN_IPI": 3}
    assert counters(made, 1) == {"DRAIN_ALL": 1, "DRAIN_FOUND": 0, "DRAIN_EMPTY": 1, "DRAIN_AVOIDABLE": 1,
                                 "DRAIN_OVERLAP": 2, "DRAIN_IPI": 0}
    assert (made.machine.drains.under_way, made.machine.drains.most) == (0, 2)
    assert [made.machine.allocations[task].drains for task in (TASK, TASK + 1)] == [1, 1]


def test_a_second_drain_begins_with_nothing_found() -> None:
    made = machine(2)
    made.run(0, TASK)
    for pages in (5, 0):
        drain_begins(cpu_of(made, 0))
        drained_here(cpu_of(made, 0), pages)
        drain_ends(cpu_of(made, 0))
    assert (counters(made, 0)["DRAIN_FOUND"], counters(made, 0)["DRAIN_EMPTY"]) == (5, 1)
    assert made.machine.drains.most == 1


@pytest.mark.parametrize(("with_pages", "online", "avoidable"), [
    ((), 4, True), ((0, 3), 4, True), ((0, 1, 3), 4, False), ((1,), 3, True), ((0, 1), 3, False), ((0,), 1, False)])
def test_avoidable_by_the_count_of_2012(with_pages: tuple[int, ...], online: int, avoidable: bool) -> None:
    """Half the online CPUs or fewer have pages; a CPU that is offline counts in neither number."""
    made = machine(4)
    for cpu in range(online, 4):
        made.online(cpu, False)
        made.machine.pcp(cpu, 0).count = 1
    for cpu in with_pages:
        made.machine.pcp(cpu, 1).count = 9
    made.run(0, TASK)
    drain_begins(cpu_of(made, 0))
    assert counters(made, 0)["DRAIN_AVOIDABLE"] == avoidable


def test_pages_out_of_reach_of_a_reclaim() -> None:
    """All zones' lists of the online CPUs, its own too."""
    made = machine(3)
    made.online(2, False)
    for cpu, zone, pages in ((0, 0, 3), (0, 1, 4), (1, 1, 5), (2, 1, 90)):
        made.machine.pcp(cpu, zone).count = pages
    reclaim_begins(cpu_of(made, 1))
    reclaim_begins(cpu_of(made, 1))
    assert [made.cpus[1].counters[counter] for counter in (Counter.DIRECT_RECLAIM, Counter.STRANDED)] == [2, 24]
