"""Whether a machine has come to rest.  From RAM, in one look: who moves meanwhile is for the caller to see."""

from __future__ import annotations

from cpuemu.layout import Cpu, CpuState, Machine, TaskFlag, TaskState, first_workload_task


def idle(words: Cpu) -> bool:
    """Asleep in its idle task with nothing pending, or not there."""
    return words.state != CpuState.RUNNING or bool(
        words.current == words.idle_task and words.sleeping and not words.need_resched and not any(words.pending))


def at_rest(machine: Machine) -> bool:
    """Every CPU is idle, no task is inside the kernel."""
    if not all(map(idle, machine.cpus)):
        return False
    for number in range(first_workload_task(machine.dims.cpus), machine.dims.tasks):
        task = machine.tasks[number]
        if task.state not in (TaskState.UNUSED, TaskState.DEAD) and not task.flags & TaskFlag.USER_WAIT:
            return False
    return True


def steps(machine: Machine) -> tuple[int, int]:
    """Points passed and interrupts raised so far: unchanged when nobody has moved."""
    return sum(cpu.heart for cpu in machine.cpus), machine.header.tickets
