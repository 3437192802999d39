"""``--fault starved-cpu``: the hands outside stop one CPU's process after the other, and let it go on again.

The times are log-uniform, as a host's are: many short ones, few long ones.  The process itself traces and counts the
stop when it goes on (a ring has one writer).
"""

from __future__ import annotations

import math
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress

from cpuemu.faults import Fault
from cpuemu.layout import Machine

SHORTEST_US = 1000
GAP_NS = 20_000_000
"""Between two of them, on average."""


class Starvation:
    """Asked in every turn of the coordinator.  Context: ``pid_of`` names processes that are not reaped."""

    def __init__(self, machine: Machine, pid_of: Callable[[int], int | None], seed: int) -> None:
        plan = machine.faults[Fault.STARVED_CPU]
        self.machine, self.pid_of, self.on = machine, pid_of, bool(plan.rate)
        self.most_us = max(SHORTEST_US, plan.argument)
        self.random = random.Random(f"starved {seed}")
        self.stopped: int | None = None
        self.at = 0
        """When the stopped one goes on, or else the next is stopped."""

    def turn(self, now_ns: int) -> None:
        """Stop or continue, when it is time to."""
        if not self.on or now_ns < self.at or not self.machine.header.go:
            return
        if self.stopped is not None:
            self.end(now_ns)
            return
        cpu = self.random.randrange(self.machine.dims.cpus)
        process = self.machine.cpus[cpu].process
        pid = self.pid_of(process)
        if pid:
            time_us = math.exp(self.random.uniform(math.log(SHORTEST_US), math.log(self.most_us)))
            self.machine.cpus[cpu].starved_us = int(time_us)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            self.stopped, self.at = process, now_ns + int(time_us * 1000)

    def end(self, now_ns: int) -> None:
        """Nobody stays stopped."""
        pid = self.pid_of(self.stopped) if self.stopped is not None else None
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped = None
        self.at = now_ns + int(self.random.expovariate(1.0) * GAP_NS)

    def wake_ns(self) -> int:
        """When to ask again at the latest, 0: no matter."""
        return self.at if self.on else 0
