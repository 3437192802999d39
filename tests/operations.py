"""A user's program that asks for whatever a task can ask for, as often as any."""

from __future__ import annotations

from cpuemu.kernel.uapi import Breakpoint, CallAll, CallAny, Nmi, Operation, StopMachine, UserTask


class Mixed:
    tasks = 6
    operations = 60

    def next(self, task: UserTask) -> Operation:
        target = task.random(4)
        choices: tuple[Operation, ...] = (Breakpoint(), Nmi(target), CallAny((target,)), CallAll(), StopMachine())
        return choices[task.random(len(choices))]
