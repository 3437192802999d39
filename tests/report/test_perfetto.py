"""--format perfetto: read back by Perfetto's own messages: slices that nest, counters, and every arrow whole."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cpuemu.events import Event, Ring
from cpuemu.layout import StopState, TaskState, Vector, Wmark
from cpuemu.report.image import open_image
from cpuemu.report.records import records
from cpuemu.report.trace_dump import trace_dump
from cpuemu.sites import site
from tests.handmade import Handmade, machine
from tests.launched import Launched
from tests.report.run_directory import RunDirectory
from tests.verdicts import behaves

protos = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="no package perfetto")
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
PLACE = site("take_cpu_down:test")


@dataclass
class Slice:
    name: str
    begin: int
    depth: int
    end: int | None = None


@dataclass
class Timeline:
    """What the user interface would show."""

    slices: dict[str, list[Slice]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    arrows: dict[int, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    ended: set[int] = field(default_factory=set)
    ftrace: Counter[str] = field(default_factory=Counter)


def dumped(run_dir: Path, *options: str) -> Any:
    out = run_dir / "trace.pftrace"
    result = CliRunner().invoke(trace_dump, [str(run_dir), "--format", "perfetto", "-o", str(out), *options])
    assert result.exit_code == 0, result.output
    trace = protos.Trace()
    trace.ParseFromString(out.read_bytes())
    return trace


def timeline(trace: Any) -> Timeline:
    shown = Timeline()
    names: dict[int, str] = {}
    open_: dict[str, list[Slice]] = defaultdict(list)
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id == 1
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid not in names
            own = track.name or track.thread.thread_name or track.process.process_name
            assert own and track.parent_uuid in (0, *names)
            counter = track.HasField("counter")
            names[track.uuid] = f"{names[track.parent_uuid]}/{own}" if counter else own
        elif packet.HasField("track_event"):
            _tell(shown, packet.timestamp, packet.track_event, names, open_)
        for event in packet.ftrace_events.event:
            kind = event.WhichOneof("event")
            shown.ftrace[event.generic.event_name if kind == "generic" else kind] += 1
    return shown


def _tell(shown: Timeline, at: int, event: Any, names: dict[int, str], open_: dict[str, list[Slice]]) -> None:
    name = names[event.track_uuid]
    if event.type == COUNTER:
        shown.counters[name].append((at, event.counter_value))
    elif event.type == END:
        open_[name].pop().end = at  # a slice that never began would fail here
    else:
        found = Slice(event.name, at, len(open_[name]), at if event.type == INSTANT else None)
        shown.slices[name].append(found)
        if event.type == BEGIN:
            open_[name].append(found)
        for arrow in (*event.flow_ids, *event.terminating_flow_ids):
            assert arrow not in shown.ended
            shown.arrows[arrow].append((name, event.name))
        shown.ended.update(event.terminating_flow_ids)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path, sizes=(64, 64))
    for cpu in range(4):
        run.made.task(70 + cpu, f"storm/{cpu}", cpu)
    return run


def test_arrows_lead_from_raise_to_entry_and_from_a_call_to_its_unlock(run: RunDirectory) -> None:
    for target in (1, 2):
        run.trace(0, target, Event.CSD_QUEUE_CPU, target, PLACE, 1, 0x10000)
    for target in (1, 2):
        run.trace(0, 2 + target, Event.IPI_RAISE, target, Vector.CALL_FUNCTION, target, 1)
    for cpu, at in ((1, 10), (2, 20)):
        run.trace(cpu, at, Event.IPI_ENTRY, 0, Vector.CALL_FUNCTION, cpu, 1, task=70 + cpu)
        run.trace(cpu, at + 1, Event.CSD_FUNCTION_ENTRY, 1, 0x10000, 0, task=70 + cpu)
        run.trace(cpu, at + 2, Event.CSD_FUNCTION_EXIT, 1, 0x10000, 0, task=70 + cpu)
    run.trace(2, 23, Event.CPUEMU_CSD_UNLOCK, 0x10000, task=72)
    run.trace(2, 24, Event.IPI_EXIT, 0, Vector.CALL_FUNCTION, 2, 1, task=72)
    shown = timeline(dumped(run.save()))
    call = next(each.name for each in shown.slices["CPU 1"] if each.depth == 2)
    assert sorted(shown.arrows.values()) == sorted([
        [("CPU 0", "IPI to cpu 1"), ("CPU 1", "Function call interrupts")],
        [("CPU 0", "IPI to cpu 2"), ("CPU 2", "Function call interrupts")],
        [("CPU 0", f"{call} on cpu 1"), ("CPU 1", call), ("CPU 2", "csd_unlock")],
        [("CPU 0", f"{call} on cpu 2"), ("CPU 2", call), ("CPU 2", "csd_unlock")]])
    assert shown.ended == set(shown.arrows)
    runs, interrupt, inner, *_ = shown.slices["CPU 2"]
    assert [each.depth for each in (runs, interrupt, inner)] == [0, 1, 2]
    assert (interrupt.begin, inner.begin, inner.end, interrupt.end) == (20_000, 21_000, 22_000, 24_000)
    assert shown.slices["CPU 1"][1].end is None, "an interrupt that has not ended is shown so"


def test_tasks_reclaim_drain_and_wait_wherever_they_run(run: RunDirectory) -> None:
    lock = run.made.machine.locks[8]
    word = lock.addr(type(lock).word)
    run.trace(0, 1, Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, 0, 0xD0)
    run.trace(0, 2, Event.CPUEMU_DRAIN_ALL_BEGIN, 2, 4, 1)
    run.trace(0, 3, Event.CPUEMU_WAIT_BEGIN, PLACE, word & 0xFFFFFFFF, word >> 32, 1)
    run.trace(1, 4, Event.CPUEMU_WAIT_END, PLACE, word & 0xFFFFFFFF, word >> 32, 1)
    run.trace(1, 5, Event.CPUEMU_DRAIN_ALL_END, 3, 0, 0)
    run.trace(1, 6, Event.MM_VMSCAN_DIRECT_RECLAIM_END, 32)
    shown = timeline(dumped(run.save()))
    assert [(each.name, each.depth, each.begin, each.end) for each in shown.slices["storm/0"]] == [
        ("direct reclaim", 0, 1000, 6000), ("drain_all_pages", 1, 2000, 5000),
        (f"spins for {lock.name}", 2, 3000, 4000)]


def test_stop_machine_and_hotplug_states(run: RunDirectory) -> None:
    run.trace(0, 1, Event.CPUHP_ENTER, 2, 10, 60, PLACE)
    for number, state in enumerate((StopState.PREPARE, StopState.DISABLE_IRQ, StopState.RUN, StopState.EXIT,
                                    StopState.NONE)):
        run.trace(number % 4, 10 + number, Event.CPUEMU_STOP_STATE, state, 4)
    run.trace(2, 12.5, Event.CPUEMU_CPU_OFFLINE, 2, 0)
    run.trace(0, 20, Event.CPUHP_EXIT, 2, 60, 60, 0)
    run.trace(2, 30, Event.CPUEMU_CPU_ONLINE, 2, 1)
    shown = timeline(dumped(run.save()))
    assert [(each.name, each.begin, each.end) for each in shown.slices["stop_machine"]] == [
        ("PREPARE", 10_000, 11_000), ("DISABLE_IRQ", 11_000, 12_000), ("RUN", 12_000, 13_000), ("EXIT", 13_000, 14_000)]
    assert [(each.name, each.begin, each.end) for each in shown.slices["CPU 2 steps"]] == [("test", 1000, 20_000)]
    assert [(each.begin, each.end) for each in shown.slices["CPU 2 offline"]] == [(12_500, 30_000)]


def test_counters(run: RunDirectory) -> None:
    zone = run.made.machine.zones[1]
    zone.wmark[Wmark.MIN], zone.wmark[Wmark.LOW], zone.wmark[Wmark.HIGH] = 20, 25, 30
    run.trace(1, 1, Event.CPUEMU_ZONE_PAGES, 1, 900, 1, 31)
    run.trace(1, 100, Event.MM_PAGE_ALLOC, zone.start_pfn + 5, 0, 2, 0xD0)
    run.trace(1, 101, Event.MM_PAGE_ALLOC, zone.start_pfn + 6, 0, 2, 0xD0)
    run.trace(1, 200, Event.MM_PAGE_FREE, zone.start_pfn + 6, 0)
    run.trace(1, 300, Event.MM_PAGE_ALLOC, zone.start_pfn + 8, 3, 2, 0xD0)
    run.trace(1, 400, Event.CPUEMU_ZONE_PAGES, 1, 892, 1, 30)
    shown = timeline(dumped(run.save()))
    assert shown.counters[f"CPU 1/pcp pages {zone.name}"] == [
        (1000, 31), (100_000, 30), (101_000, 29), (200_000, 30)]
    assert shown.counters[f"zones/{zone.name} free"] == [(1000, 900), (400_000, 892)]
    assert shown.counters[f"zones/{zone.name} min"] == [(1000, 20), (400_000, 20)]


def test_a_storm_is_drawn_with_less_points_and_ends_with_the_right_one(run: RunDirectory) -> None:
    zone = run.made.machine.zones[1]
    run.trace(1, 1, Event.CPUEMU_ZONE_PAGES, 1, 900, 1, 31)
    for number in range(30):
        run.trace(1, 2 + number, Event.MM_PAGE_ALLOC, zone.start_pfn + number, 0, 2, 0xD0)
    drawn = timeline(dumped(run.save())).counters[f"CPU 1/pcp pages {zone.name}"]
    assert len(drawn) < 5 and drawn[-1] == (31_000, 1)


def test_what_the_rings_have_overwritten_ends_nothing(run: RunDirectory) -> None:
    """An end whose beginning is lost closes no other slice."""
    run.trace(1, 1, Event.SCHED_SWITCH, 72, TaskState.UNINTERRUPTIBLE, 71)
    run.trace(1, 2, Event.IPI_EXIT, 0, Vector.RESCHEDULE, 9, 0, task=71)
    run.trace(1, 3, Event.CSD_FUNCTION_EXIT, 1, 3, 0, task=71)
    run.trace(1, 4, Event.MM_VMSCAN_DIRECT_RECLAIM_END, 3, task=71)
    run.trace(1, 5, Event.SCHED_SWITCH, 71, TaskState.RUNNING, 73, task=71)
    place = run.place(1, Ring.SLOW, run.trace(1, 6, Event.CSD_FUNCTION_EXIT, 99, 3, 0, task=73))
    run.rings[place + 12] = 61
    shown = timeline(dumped(run.save()))
    assert [(each.name, each.end) for each in shown.slices["CPU 1"]] == [
        ("storm/0", 1000), ("storm/1", 5000), ("storm/3", None)]


def test_filters(run: RunDirectory) -> None:
    for cpu in range(4):
        run.trace(cpu, cpu, Event.MM_PAGE_FREE, cpu, 0)
    assert timeline(dumped(run.save(), "--cpu", "2", "--cpu", "3")).ftrace == {"mm_page_free": 2}


def test_a_machine_of_many_cpus(tmp_path: Path) -> None:
    made: Handmade = machine(cpus=70, tasks=160)
    run = RunDirectory(tmp_path, made)
    run.trace(69, 1, Event.IPI_RAISE, 68, Vector.RESCHEDULE, 1, 0)
    assert [each.name for each in timeline(dumped(run.save())).slices["CPU 69"]][-1] == "IPI to cpu 68"


def test_a_real_machine(launch: Callable[..., Launched]) -> None:
    """Every event is there; slices nest; nothing that is waited for, raised or called stays without its arrow's end."""
    run = launch("--cpus", "4", "--workload", "storm:6000", "--memory", "16M", "--hotplug", "random:0.1",
                 "--trace", "all")
    code, said = run.end(60)
    assert behaves(code, said), (said, run.log)
    image = open_image(run.run_dir)
    found = list(records(image))
    shown = timeline(dumped(run.run_dir))
    assert sum(shown.ftrace.values()) == len(found)
    assert shown.ended == set(shown.arrows), "at power-off every interrupt is taken and every csd unlocked"
    raised = sum(record.event == Event.IPI_RAISE for record in found)
    called = sum(record.event == Event.CSD_QUEUE_CPU for record in found)
    assert raised and called and len(shown.arrows) == raised + called
    for number, zone in enumerate(image.machine.zones):
        last = [record.args[1] for record in found
                if record.event == Event.CPUEMU_ZONE_PAGES and record.args[0] == number]
        assert not last or shown.counters[f"zones/{zone.name} free"][-1][1] == last[-1]
    stops = [each.name for each in shown.slices["stop_machine"]]
    assert stops == ["PREPARE", "DISABLE_IRQ", "RUN", "EXIT"] * (len(stops) // 4)
    assert len(stops) // 4 == said["counts"]["stop_machine"]


def test_without_the_package_it_says_what_to_install(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("cpuemu.report.perfetto", "perfetto."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "perfetto", None)
    result = CliRunner().invoke(trace_dump, [str(run.save()), "--format", "perfetto", "-o", str(run.path / "out")])
    assert result.exit_code == 2 and "pip install 'cpuemu[perfetto]'" in result.output
