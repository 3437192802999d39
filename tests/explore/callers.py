"""Everybody calls everybody: what a scenario of call interrupts needs, and nothing else."""

from __future__ import annotations

from cpuemu.kernel.uapi import CallAll, Exit, Operation, UserTask


class Callers:
    """One task a CPU, each with two calls of all CPUs."""

    operations = 3

    def next(self, task: UserTask) -> Operation:
        return CallAll() if task.step < 2 else Exit()
