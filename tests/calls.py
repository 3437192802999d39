"""A user's program that does nothing but call the other CPUs."""

from __future__ import annotations

from cpuemu.kernel.uapi import Call, Operation, UserTask


class Calls:
    tasks = 4
    operations = 1500

    def next(self, task: UserTask) -> Operation:
        return Call(task.random(4))
