"""User programs that ask for whatever a task can ask for, as often as any."""

from __future__ import annotations

from cpuemu.kernel.uapi import Breakpoint, CallAll, CallAny, Kexec, Nmi, Operation, StopMachine, Synchronize, UserTask


class Mixed:
    tasks = 6
    operations = 60

    def next(self, task: UserTask) -> Operation:
        target = task.random(4)
        choices: tuple[Operation, ...] = (Breakpoint(), Nmi(target), CallAny((target,)), CallAll(), StopMachine(),
                                          Synchronize())
        return choices[task.random(len(choices))]


class Kernels:
    """Apart from the debugger: kexec needs its NMIs not to be masked."""

    tasks = 6
    operations = 40

    def next(self, task: UserTask) -> Operation:
        choices: tuple[Operation, ...] = (Kexec(), CallAll(), StopMachine(), CallAny((task.random(4),)))
        return choices[task.random(len(choices))]
