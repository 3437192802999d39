"""What a user program written in Python can ask the kernel for, and what it knows of itself.

A program is an object with ``next(task) -> Operation``.  It is asked once an operation, on whatever CPU the task runs
then: each process has its own instance, so what must last stands in ``task.vars``, which is in RAM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cpuemu.layout import HELD_PAGES, Machine, MigrateType, first_workload_task
from cpuemu.schema import Words


@dataclass(frozen=True)
class Alloc:
    """Allocate 2**order pages and hold them.  A failure is told by ``task.failed``."""

    order: int = 0
    migratetype: int = MigrateType.MOVABLE


@dataclass(frozen=True)
class Free:
    """Free the block at this place of ``task.held``; the last block takes its place."""

    index: int = -1


@dataclass(frozen=True)
class Call:
    """smp_call_function_single of nothing on a CPU; ``wait`` for it, or go on."""

    cpu: int
    wait: bool = True


@dataclass(frozen=True)
class CallAll:
    """on_each_cpu of nothing, and wait for everybody."""


@dataclass(frozen=True)
class CallMany:
    """smp_call_function_many of nothing on these CPUs, less the caller's; ``wait`` for all of them, or go on."""

    cpus: tuple[int, ...]
    wait: bool = True


@dataclass(frozen=True)
class CallAny:
    """smp_call_function_any of nothing on one of these CPUs, and do not wait for it."""

    cpus: tuple[int, ...]


@dataclass(frozen=True)
class Io:
    """A request of the disk that is completed on a CPU; sleep until it is."""

    cpu: int


@dataclass(frozen=True)
class Reschedule:
    """A reschedule interrupt to a CPU."""

    cpu: int


@dataclass(frozen=True)
class Breakpoint:
    """Enter the debugger (kgdb_breakpoint), which goes on at once."""


@dataclass(frozen=True)
class Nmi:
    """A non-maskable interrupt on another CPU, as its NMI watchdog makes one."""

    cpu: int


@dataclass(frozen=True)
class StopMachine:
    """stop_machine of nothing: everybody stands still for a moment, as for a write to /proc/mtrr."""


@dataclass(frozen=True)
class Kexec:
    """Start another kernel, which gives the machine back at once; nothing while another task does."""


@dataclass(frozen=True)
class Synchronize:
    """synchronize_sched: wait until every CPU has been in user mode, idle or in schedule()."""


@dataclass(frozen=True)
class SoftOffline:
    """Take a page out of use, as /sys/devices/system/memory/soft_offline_page: up to its drain of all CPUs' lists."""


@dataclass(frozen=True)
class PercpuPagelistFraction:
    """Write /proc/sys/vm/percpu_pagelist_fraction: the share of a zone that one CPU's lists may hold, 8 or more."""

    fraction: int


@dataclass(frozen=True)
class Sleep:
    """Sleep at the border of user mode."""

    microseconds: int


@dataclass(frozen=True)
class Exit:
    """The program ends; what it holds is freed."""


Operation = (
    Alloc
    | Free
    | SoftOffline
    | PercpuPagelistFraction
    | Call
    | CallAll
    | CallMany
    | CallAny
    | Io
    | Reschedule
    | Breakpoint
    | Nmi
    | StopMachine
    | Kexec
    | Synchronize
    | Sleep
    | Exit
)


class UserProgram(Protocol):
    def next(self, task: UserTask) -> Operation: ...


class ProgramError(Exception):
    """The user's program failed: one sentence that says where."""


class UserTask:
    """A task as its program sees it.

    ``index``: its place among the tasks of the workload; ``cpu``: where it runs now;
    ``vars``: eight unsigned words in RAM, zero at first; ``held``: the blocks it holds; ``failed``: 1 when the last
    allocation failed; ``random(n)``: 0 to n-1 from the task's own stream, the same for the same seed.
    """

    def __init__(self, machine: Machine, number: int, cpu: int) -> None:
        self._machine, self._task = machine, machine.tasks[number]
        self.number, self.cpu = number, cpu
        self.index = number - first_workload_task(machine.dims.cpus)

    @property
    def vars(self) -> Words:
        return self._task.user

    @property
    def step(self) -> int:
        """Operations done so far."""
        return self._task.position

    @property
    def held(self) -> list[tuple[int, int]]:
        """(page frame, order) of each block held."""
        base = self.number * HELD_PAGES
        blocks = (self._machine.held_pages[base + index] for index in range(self._task.held))
        return [(block.pfn, block.order) for block in blocks]

    @property
    def failed(self) -> bool:
        return bool(self._task.op_arg)

    def random(self, below: int) -> int:
        x = self._task.rng or 0x9E3779B97F4A7C15
        x ^= x >> 12
        x = (x ^ x << 25) & 0xFFFF_FFFF_FFFF_FFFF
        x ^= x >> 27
        self._task.rng = x
        return (x * 0x2545F4914F6CDD1D >> 16 & 0xFFFF_FFFF_FFFF) % below
