"""What the rings tell of a story: the hotplug operation under way, and faults that were injected on purpose."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.events import Event
from cpuemu.faults import FAULTS, Fault, name_of
from cpuemu.kernel.hotplug_rows import row_under_way
from cpuemu.kernel.wait_holders import stop_state
from cpuemu.report.why.case import Case

NEAR_NS = 50_000_000
"""A fault on the way of an interrupt is traced within this time of its raising."""
SILENCERS = (Fault.IPI_LOST, Fault.DEAF_CPU)
"""Faults after which a frame never arrives."""


def matching_fault(case: Case, source: int, target: int, vector: int, raised_ns: int) -> str:
    """The fault that took this interrupt, by the trace; empty where none did."""
    for record in case.slow_records:
        if record.event == Event.CPUEMU_FAULT and record.args[0] == Fault.IPI_LOST and record.cpu == source \
                and record.args[1:3] == (target, vector) and abs(record.time_ns - raised_ns) < NEAR_NS:
            return name_of(record.args[0])
    deaf = case.reading.machine.cpus[target].faults[Fault.DEAF_CPU]
    return name_of(Fault.DEAF_CPU) if deaf else ""


def other_faults(case: Case) -> Iterator[tuple[int, str]]:
    """A process killed, a system call that goes on, on purpose."""
    for record in case.slow_records:
        if record.event != Event.CPUEMU_FAULT:
            continue
        fault, task = record.args[0], case.reading.image.comm(record.task)
        if fault == Fault.KILLED_HOLDER:
            yield record.time_ns, f"cpu {record.cpu}'s process kills itself on purpose (--fault {name_of(fault)})"
        elif fault == Fault.LOCKUP:
            yield record.time_ns, (f"a system call of {task} on cpu {record.cpu} begins to go on, on purpose, for "
                                   f"{record.args[3] / 1e6:g} s (--fault {name_of(fault)})")


def hotplug_story(case: Case) -> Iterator[tuple[int, str]]:
    """When the operation under way began, and when its barrier did."""
    plug = case.reading.machine.hotplug
    if not plug.busy:
        return
    steps = [record for record in case.slow_records
             if record.event == Event.CPUHP_ENTER and record.args[0] == plug.cpu]
    way = "come online" if plug.up else "go offline"
    last: list[int] = []
    for record in reversed(steps):  # back to where this operation began: its steps go one way
        if last and (record.args[2] >= last[-1] if plug.up else record.args[2] <= last[-1]):
            break
        last.append(record.args[2])
    mine = steps[len(steps) - len(last):]
    if mine:
        yield mine[0].time_ns, f"cpu {plug.cpu} begins to {way}"
    states = [record for record in case.slow_records if record.event == Event.CPUEMU_STOP_STATE and record.args[0]]
    if case.reading.machine.stop_machine.state and states:
        barrier = case.reading.machine.stop_machine
        yield states[-1].time_ns, (f"stop_machine comes to {stop_state(case.reading.machine)} ({row_under_way(plug)}), "
                                   f"where {barrier.thread_ack} of {barrier.num_threads} acknowledgements are missing")
    elif mine:
        yield mine[-1].time_ns, f"it is at {row_under_way(plug)}"


def faults_injected(case: Case) -> str:
    """``2 ipi-lost``; empty when none was asked for."""
    machine = case.reading.machine
    return ", ".join(f"{sum(cpu.faults[each.fault] for cpu in machine.cpus)} {each.name}" for each in FAULTS
                     if machine.faults[each.fault].rate)
