"""Where a process was when it died, in words: what a verdict says of a killed CPU, coordinator or zygote.  From RAM."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.kernel.cpu_hotplug import row_under_way
from cpuemu.kernel.wait_holders import MUTEXES
from cpuemu.layout import NOBODY, Lock, Machine, MachineState, Task, name_in
from cpuemu.sites import site_name


def cpu_last_seen(machine: Machine, number: int) -> str:
    """The point that a CPU passed last, the task it ran, and the locks it holds."""
    words = machine.cpus[number]
    task = _task(machine, words.current)
    place = site_name(machine, words.point_site)
    if words.user:
        place += " in user mode"
    if words.hardirq:
        place += " in an interrupt handler"
    if task is not None:
        place += f", running {task.comm}"
    if 0 < words.lock_wait <= len(machine.locks):
        place += f", spinning for {machine.locks[words.lock_wait - 1].name}"
    held = [f"{lock.name}{_taken(machine, lock)}" for lock in locks_of(machine, number)]
    return place + (f", holding {', '.join(held)}" if held else "")


def locks_of(machine: Machine, number: int) -> Iterator[Lock]:
    """The spinlocks that a CPU holds, and the mutexes of the tasks whose kernel stack is in its process."""
    for lock in machine.locks:
        owner = lock.word & 0xFFFF
        if lock.index in MUTEXES:
            task = _task(machine, owner - 1)
            if task is not None and task.cpu == number:
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
