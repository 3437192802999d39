"""A CPU without a process: enough of one for code that only reads the machine and writes what it measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from cpuemu.arch.cpu import Cpu
from cpuemu.core import Core, Ram
from cpuemu.layout import Cpu as CpuWords
from cpuemu.layout import Machine, Task
from tests.handmade import T0, Handmade


@dataclass
class Witness:
    """Stands in for arch.cpu.Cpu; ``clock`` is its time."""

    number: int
    machine: Machine
    ram: Ram
    core: Core
    clock: list[int] = field(default_factory=lambda: [T0])

    @property
    def me(self) -> CpuWords:
        return self.machine.cpus[self.number]

    @property
    def current(self) -> Task:
        return self.machine.tasks[self.me.current]

    def now(self) -> int:
        return self.clock[0]


def cpu_of(made: Handmade, number: int) -> Cpu:
    """CPU ``number`` of a machine built by hand."""
    ram = Ram(made.memory)
    return cast("Cpu", Witness(number, made.machine, ram, Core(ram, None, (0, 0), number, 1)))
