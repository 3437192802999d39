"""The OOM killer (Linux: mm/oom_kill.c, v3.2).

Invariant:     at most one victim at a time that has not ended: while one is about to, nobody else is chosen.
Writers:       TIF_MEMDIE by the killer, atomically.
Steps:         the tick that a killer sleeps; oom_lock is the caller's.
Not modelled:  children, cgroups, mempolicy constraints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.events import Event
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import report
from cpuemu.kernel.oom_moment import victim_chosen
from cpuemu.kernel.sched import try_to_wake_up, wait_event
from cpuemu.layout import Program, Task, TaskFlag, TaskState
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_KILLED = site("out_of_memory:schedule_timeout")

TICK_NS = 4_000_000
USER_PROGRAMS = (Program.REPLAY, Program.STORM, Program.PYTHON)


def oom_badness(task: Task, total: int) -> int:
    """Points of a task: its pages in thousandths of memory, plus its oom_score_adj; at least 1 for one with pages."""
    return max(1, task.rss * 1000 // max(1, total) + task.oom_score_adj)


def out_of_memory(cpu: Cpu) -> None:
    """Choose the task with most points and mark it; it ends at its next return to user mode."""
    total = cpu.header.managed
    chosen: Task | None = None
    points = 0
    for task in cpu.machine.tasks:
        if task.program not in USER_PROGRAMS or task.state in (TaskState.UNUSED, TaskState.DEAD):
            continue
        if task.flags & TaskFlag.MEMDIE:
            return  # a victim is on its way out: wait for its memory
        score = oom_badness(task, total)
        if score > points:
            chosen, points = task, score
    if chosen is None:
        report(cpu, oracles.OOM_NOTHING_TO_KILL,
               "Kernel panic - not syncing: Out of memory and no killable processes")
        return
    cpu.core.trace(Event.MARK_VICTIM, chosen.index)
    victim_chosen(cpu, chosen.index)
    cpu.ram.set_bits(chosen.addr(Task.flags), TaskFlag.MEMDIE)
    if chosen.flags & TaskFlag.USER_WAIT:
        try_to_wake_up(cpu, chosen.index)
    if not cpu.current.flags & TaskFlag.MEMDIE:
        wait_event(cpu, P_KILLED, deadline_ns=cpu.now() + TICK_NS)  # the victim goes first
