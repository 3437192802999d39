"""Which CPU goes or comes next, and when."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import pytest

from cpuemu.coordinator.hotplug_plan import SECOND, Change, plan_for, possible
from cpuemu.errors import UserError
from cpuemu.layout import LINE_END, Dimensions, Machine, place_machine
from cpuemu.report.image import BufferMemory
from tests.handmade import Handmade
from tests.handmade import machine as handmade


@dataclass
class Event:
    line: int
    cpu: int
    up: bool


@pytest.fixture
def made() -> Handmade:
    return handmade()


def test_none(made: Handmade) -> None:
    plan = plan_for("none", made.machine, [Event(5, 1, False)], 1)
    assert plan.over()
    assert plan.due(10 * SECOND) is None


def test_recorded_waits_for_every_stream() -> None:
    dims = Dimensions(cpus=2, pages=0, zones=1, tasks=10, streams=2)
    machine = Machine(BufferMemory(mmap.mmap(-1, place_machine(dims)[1])), dims)
    streams = machine.streams
    for stream in streams:
        stream.next_line = 4
    plan = plan_for("recorded", machine, [Event(5, 1, False), Event(9, 1, True)], 1)
    header = machine.header
    assert header.coordinator_line == 5
    assert plan.due(0) is None
    streams[0].next_line, streams[1].next_line = 5, LINE_END
    assert plan.due(0) == Change(1, False)
    assert plan.finished(0), "streams wait for the line: everybody is rung"
    assert header.coordinator_line == 9
    assert plan.due(0) is None
    streams[0].next_line = LINE_END
    assert plan.due(0) == Change(1, True)
    plan.finished(0)
    assert plan.over()
    assert header.coordinator_line == LINE_END


def test_a_seed_gives_the_same_changes_again(made: Handmade) -> None:
    def changes(seed: int) -> list[Change | None]:
        plan, now, found = plan_for("random:0.1", made.machine, [], seed), 1, []
        for _ in range(10):
            plan.due(now)
            now = plan.wake_ns()
            found.append(plan.due(now))
            plan.finished(now)
        return found

    assert changes(1) == changes(1)
    assert changes(1) != changes(2)
    assert all(change is not None and change.cpu > 0 for change in changes(3))


def test_a_list_goes_round(made: Handmade) -> None:
    plan = plan_for("2,1", made.machine, [], 1)
    seen = []
    now = 0
    for turn in range(5):
        assert plan.over() == (turn >= 4)
        seen.append(plan.due(now))
        plan.finished(now)
        assert plan.due(now) is None
        now = plan.wake_ns()
    assert seen == [Change(2, False), Change(2, True), Change(1, False), Change(1, True), Change(2, False)]


def test_what_is_possible(made: Handmade) -> None:
    cpus = made.machine.dims.cpus
    for cpu in range(cpus):
        made.online(cpu)
    assert possible(made.machine, Change(1, False))
    assert not possible(made.machine, Change(1, True)), "it is there already"
    assert not possible(made.machine, Change(cpus, False)), "there is no such CPU"
    for cpu in range(1, cpus):
        made.online(cpu, False)
    assert possible(made.machine, Change(1, True))
    assert not possible(made.machine, Change(0, False)), "the last one stays"


@pytest.mark.parametrize("spec", ["", "x", "1,", "0", "99", "-1", "random:", "random:0", "random:x", "random:1e9"])
def test_refused(made: Handmade, spec: str) -> None:
    if spec == "random:":
        assert plan_for(spec, made.machine, [], 1)
        return
    with pytest.raises(UserError, match="--hotplug"):
        plan_for(spec, made.machine, [], 1)
