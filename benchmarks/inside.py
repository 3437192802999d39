"""What is measured inside a machine: loaded by it as a drain policy, runs in its kernel at the first drain.

The task that drains is in direct reclaim on CPU 0: in process context, interrupts on, able to sleep.  It does each
thing so many times and writes the nanoseconds of every round.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cpuemu.core import now
from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES, NOP
from cpuemu.kernel.page_alloc import drain_all_pages
from cpuemu.kernel.smp import on_each_cpu, smp_call_function_single
from cpuemu.kernel.stop_machine import STOP_NOTHING, stop_machine
from cpuemu.layout import Latency

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

WARMUP = 10
RESULTS = "CPUEMU_BENCHMARK"


def one_way(cpu: Cpu) -> int:
    """Raised to taken, as the target's own counter says; the call waits, so there is one at a time."""
    histogram = cpu.machine.histogram(1, Latency.IPI)
    before = histogram.total_ns
    smp_call_function_single(cpu, 1, NOP, 0, wait=True)
    return int(histogram.total_ns - before)


def call(cpu: Cpu) -> None:
    smp_call_function_single(cpu, 1, NOP, 0, wait=True)


def broadcast(cpu: Cpu) -> None:
    on_each_cpu(cpu, NOP, 0, wait=True)


def drain(cpu: Cpu) -> None:
    drain_all_pages(cpu, lambda: on_each_cpu(cpu, DRAIN_LOCAL_PAGES, 0, wait=True))


def barrier(cpu: Cpu) -> None:
    stop_machine(cpu, STOP_NOTHING, 0, 1)


ACTIONS: dict[str, Callable[[Cpu], int | None]] = {
    "one_way": one_way, "call": call, "broadcast": broadcast, "drain": drain, "stop_machine": barrier,
}


class Inside:
    """The policy: measures once, then drains nothing."""

    name = "benchmark"

    def __init__(self) -> None:
        self.measured = False

    def drain(self, cpu: Cpu, order: int) -> None:
        if self.measured:
            return
        self.measured = True
        path = Path(os.environ[RESULTS])
        orders: dict[str, int] = json.loads(path.read_text())
        path.write_text(json.dumps({name: measured(cpu, name, rounds) for name, rounds in orders.items()}))


def measured(cpu: Cpu, name: str, rounds: int) -> list[int]:
    action = ACTIONS[name]
    for _ in range(WARMUP):
        action(cpu)
    took = []
    for _ in range(rounds):
        started = now()
        told = action(cpu)
        took.append(now() - started if told is None else told)
    return took
