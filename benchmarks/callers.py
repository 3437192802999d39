"""A workload for explored machines: every CPU calls all the others, again and again."""

from __future__ import annotations

from cpuemu.kernel.uapi import CallAll, Exit, Operation, UserTask

CALLS = 6
"""A schedule on four CPUs then has about 500 points."""


class Callers:
    """One task a CPU."""

    operations = CALLS + 1

    def next(self, task: UserTask) -> Operation:
        return CallAll() if task.step < CALLS else Exit()
