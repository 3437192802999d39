"""A workload that asks the host for chance: what a controlled machine must never do."""

from __future__ import annotations

import os

from cpuemu.kernel.uapi import CallAll, Exit, Operation, UserTask


class Unsteady:
    """Calls all CPUs until the host's coin says that it is enough, or at the third."""

    operations = 4

    def next(self, task: UserTask) -> Operation:
        return Exit() if task.step == 3 or os.urandom(1)[0] & 1 else CallAll()
