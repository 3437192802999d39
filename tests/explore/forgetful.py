"""A workload that keeps something in a variable of Python's, which no reset of RAM reaches."""

from __future__ import annotations

from cpuemu.kernel.uapi import CallAll, Exit, Operation, UserTask


class Forgetful:
    """Calls all CPUs three times in the life of its process."""

    operations = 8

    def __init__(self) -> None:
        self.calls = 0

    def next(self, task: UserTask) -> Operation:
        self.calls += 1
        return CallAll() if self.calls <= 3 else Exit()
