"""``ps`` and ``bt``: the tasks, and where their kernel code stands.

A task writes its stack into RAM when it waits, spins for long, or is switched away; then it stands where its stack
says.  Of one that runs on, the stack is that of its last sleep, and only the point that its CPU passed last is younger:
``bt`` says which it shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cpuemu.layout import Cpu, CpuState, Program, Task, TaskState
from cpuemu.report.crash.reading import Reading, UsageError, named

STATES = {TaskState.RUNNING: "RU", TaskState.INTERRUPTIBLE: "IN", TaskState.UNINTERRUPTIBLE: "UN", TaskState.DEAD: "DE",
          TaskState.MIGRATING: "MI"}
"""As crash abbreviates them (MI is ours)."""
KERNEL = (Program.KTHREAD, Program.IDLE)
"""Programs that are never in user mode."""


@dataclass(frozen=True)
class Stack:
    """Kernel functions, newest first, and what they are.  ``position``: the task stands there now."""

    frames: list[str]
    position: bool
    note: str


def stack_of(reading: Reading, task: Task) -> Stack:
    """A task's kernel stack as RAM has it, and whether it is where the task stands."""
    frames = [frame for frame in task.stack.split(" < ") if frame]
    cpu = reading.graph.cpu(task.cpu)
    if task.state == TaskState.DEAD:
        return Stack([], True, "no stack: it has ended")
    if task.nterms:
        return Stack(frames, True, f"position: it waits there, in {reading.image.site(task.why)}, since "
                                   f"{reading.ago(task.wait_ns)}")
    if cpu is None:
        return Stack(frames, False, f"last sleep: its CPU is {task.cpu}, which is none (damaged)")
    if cpu.current == task.index:
        return _running(reading, task, cpu, frames)
    if not task.in_kernel and task.program not in KERNEL:
        return Stack([], True, "no kernel stack: it goes on in user mode")
    return Stack(frames, True, "position: it was switched away there" if frames else "no stack: it has not run yet")


def _running(reading: Reading, task: Task, cpu: Cpu, frames: list[str]) -> Stack:
    site = reading.image.site(cpu.lock_wait_site if cpu.lock_wait else cpu.point_site)
    if not cpu.hardirq and not cpu.lock_wait and not task.in_kernel and task.program not in KERNEL:
        where = "it runs in user mode" if cpu.user else f"between user mode and the kernel, last seen at {site}"
        return Stack([], True, f"no kernel stack: {where}")
    handler = ", in an interrupt handler on top of it" if cpu.hardirq else ""
    if cpu.lock_wait and any(frame.startswith(f"{site.partition(':')[0]}:") for frame in frames[:3]):
        return Stack(frames, True, f"position: it spins for a lock there, in {site}{handler}")
    if cpu.lock_wait:
        return Stack(frames, False, f"last sleep; since then it has come to spin for a lock in {site}{handler}")
    if task.program == Program.IDLE and not cpu.hardirq and cpu.state != CpuState.DEAD:
        return Stack([], True, f"no stack: its CPU is {'idle' if cpu.state == CpuState.RUNNING else 'not online'}")
    died = "its process died after the point" if cpu.state == CpuState.DEAD else "the last point it passed is"
    slept = "last sleep; since then it ran on, " if frames else "no stack: it has not slept here yet; "
    return Stack(frames, False, f"{slept}{died} {site}{handler}")


# --- ps ----------------------------------------------------------------------------------------------------


def ps(reading: Reading, words: list[str]) -> Iterator[str]:
    """``ps [PID|NAME …]``"""
    chosen = [found for word in words for found in tasks_named(reading, word)] if words else list(reading.tasks())
    yield "    PID  COMM             CPU  ST      RSS  MODE    WAITS IN"
    for task in chosen:
        cpu = reading.graph.cpu(task.cpu)
        active = ">" if cpu is not None and cpu.current == task.index else " "
        state = STATES.get(TaskState(task.state), "?") if task.state in list(TaskState) else f"{task.state}?"
        mode = "kernel" if task.in_kernel or task.program in KERNEL else "user"
        yield (f"{active} {reading.image.pid(task.index):>5}  {task.comm:<16} {task.cpu:>3}  {state:<3} {task.rss:>7}  "
               f"{mode:<6}  {_waits(reading, task)}").rstrip()


def _waits(reading: Reading, task: Task) -> str:
    if task.state == TaskState.DEAD or not task.nterms:
        return ""
    site = reading.image.site(task.why)
    return f"{site}, {reading.ago(task.wait_ns)}" + ("" if reading.graph.blocked(task) else " (can go on)")


def tasks_named(reading: Reading, word: str) -> list[Task]:
    """Those of this pid or name; raises UsageError where there is none."""
    found = [task for task in reading.tasks()
             if word == task.comm or (word.isdigit() and int(word) == reading.image.pid(task.index))]
    if not found:
        raise UsageError(f"no task has the pid or the name {word}: see ps")
    return found


# --- bt ----------------------------------------------------------------------------------------------------


def bt(reading: Reading, words: list[str]) -> Iterator[str]:
    """``bt [-a | -c CPU | PID|NAME …]``: of every CPU's current task, of one CPU's, of these; alone: of all inside."""
    for number, task in enumerate(_chosen(reading, words)):
        if number:
            yield ""
        yield (f"PID: {reading.image.pid(task.index)}  TASK: tasks[{task.index}]  CPU: {task.cpu}  "
               f"STATE: {named(TaskState, task.state)}  COMMAND: \"{task.comm}\"")
        stack = stack_of(reading, task)
        yield from (f" #{depth} {frame}" for depth, frame in enumerate(stack.frames))
        yield f"    [{stack.note}]"


def _chosen(reading: Reading, words: list[str]) -> list[Task]:
    if words[:1] == ["-c"]:
        task = reading.graph.task(_cpu(reading, words[1:]).current)
        return [task] if task is not None else []
    if words == ["-a"]:
        return [task for cpu in reading.machine.cpus if cpu.state != CpuState.ABSENT
                if (task := reading.graph.task(cpu.current)) is not None]
    if words:
        return [found for word in words for found in tasks_named(reading, word)]
    return [task for task in reading.tasks() if task.program != Program.IDLE and stack_of(reading, task).frames]


def _cpu(reading: Reading, words: list[str]) -> Cpu:
    number = words[0] if words else ""
    cpu = reading.graph.cpu(int(number)) if number.isdigit() else None
    if cpu is None:
        raise UsageError(f"bt -c {number}: this machine has CPUs 0 to {reading.machine.dims.cpus - 1}")
    return cpu
