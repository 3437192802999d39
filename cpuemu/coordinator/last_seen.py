"""Where a process was when it died, in words: what a verdict says of a killed CPU, coordinator or zygote.  From RAM."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.kernel.hotplug_rows import row_under_way
from cpuemu.kernel.wait_holders import MUTEXES
from cpuemu.layout import (
    KEEPING,
    NOBODY,
    CpuState,
    Lock,
    Machine,
    MachineState,
    Process,
    SchedClass,
    Task,
    TaskState,
    cpu_of,
    name_in,
    process_name,
)
from cpuemu.sites import site_name


def mark_dead(machine: Machine, process: Process) -> None:
    """A process of a CPU has died: whoever waits for what it held finds a dead owner."""
    machine.header.dead_process = process.index + 1
    number = cpu_run_by(machine, process)
    if number != NOBODY:
        machine.cpus[number].state = CpuState.DEAD


def cpu_run_by(machine: Machine, process: Process) -> int:
    """The CPU that a process runs, its own or a borrowed one; NOBODY: it waits with what it keeps."""
    number = cpu_of(process)
    return NOBODY if process.state in KEEPING and machine.cpus[number].runner != process.index else number


def process_last_seen(machine: Machine, process: Process, how: str) -> str:
    """Which process of a CPU died, how, and where; one that keeps tasks may have run as another CPU, or waited."""
    number = cpu_run_by(machine, process)
    place = f"rest, keeping {', '.join(_kept(machine, process)) or 'no task any more'}" if number == NOBODY \
        else _last_point(machine, number)
    held = [f"{lock.name}{_taken(machine, lock)}" for lock in _locks_of(machine, process, number)]
    return f"{process_name(process)} ({how}) died at {place}" + (f", holding {', '.join(held)}" if held else "")


def _last_point(machine: Machine, number: int) -> str:
    """The point that a CPU passed last, and the task it ran."""
    words = machine.cpus[number]
    task = _task(machine, words.current)
    place = site_name(machine, words.point_site)
    if words.user:
        place += " in user mode"
    if words.hardirq:
        place += " in an interrupt handler"
    if task is not None:
        place += f", running {task.comm}"
    if 0 < (waited := words.lock_wait) <= len(machine.locks):
        place += f", spinning for {machine.locks[waited - 1].name}"
    return place


def _kept(machine: Machine, process: Process) -> Iterator[str]:
    """The tasks whose kernel stacks a process keeps."""
    for task in machine.tasks:
        if task.in_kernel and task.process == process.index and task.sched_class == SchedClass.FAIR \
                and task.state not in (TaskState.UNUSED, TaskState.DEAD):
            yield task.comm + (f" (in {site_name(machine, task.why)})" if task.nterms else "")


def _locks_of(machine: Machine, process: Process, number: int) -> Iterator[Lock]:
    """The spinlocks of the CPU that a process ran, and the mutexes of the tasks whose kernel stack is in it."""
    for lock in machine.locks:
        owner = lock.word & 0xFFFF
        if lock.index in MUTEXES:
            task = _task(machine, owner - 1)
            if task is not None and task.in_kernel and task.process == process.index:
                yield lock
        elif owner == number + 1:
            yield lock


def _taken(machine: Machine, lock: Lock) -> str:
    # Between the word and what else is written about it lie a few instructions: a death there leaves the word alone.
    return f" (taken in {site_name(machine, lock.site)})" if lock.holder else " (just taken)"


def _task(machine: Machine, number: int) -> Task | None:
    return machine.tasks[number] if number != NOBODY and 0 <= number < machine.dims.tasks else None


def machine_last_seen(machine: Machine) -> str:
    """What the machine was at, for the death of somebody outside of it: its phase, the hotplug row under way."""
    hotplug = machine.hotplug
    text = f"the machine was {name_in(MachineState, machine.header.state)}"
    if hotplug.busy:
        way = "coming online" if hotplug.up else "going offline"
        text += f", cpu {hotplug.cpu} {way} ({row_under_way(hotplug)})"
    return text
