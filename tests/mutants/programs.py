"""User programs for mutants."""

from __future__ import annotations

from cpuemu.kernel.uapi import Call, Operation, Sleep, Synchronize, UserTask


class Calls:
    """Nothing but calls of other CPUs."""

    tasks = 4
    operations = 1500

    def next(self, task: UserTask) -> Operation:
        return Call(task.random(4))


class OneCalls:
    tasks = 1
    operations = 20

    def next(self, task: UserTask) -> Operation:
        return Call(1 + task.random(3))


class Synchronizes:
    tasks = 2
    operations = 4

    def next(self, task: UserTask) -> Operation:
        return Synchronize()


class Sleepers:
    """Asleep for longer than any host needs to take a CPU down."""

    tasks = 8
    operations = 2000

    def next(self, task: UserTask) -> Operation:
        return Sleep(20_000)


class Liar:
    """Asks for what there is not."""

    tasks = 1

    def next(self, task: UserTask) -> Operation:
        return "a page"  # type: ignore[return-value]
