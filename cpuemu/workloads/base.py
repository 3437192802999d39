"""A workload as plain data: tasks, the lines of a recording, the pages held at its beginning, its hotplug."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cpuemu.errors import UserError
from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.layout import HELD_PAGES, USER_WORDS, Dimensions, Machine, Program, first_workload_task

DEFAULT_WINDOW = 4096


class InputError(UserError):
    """A workload that cannot be read or understood."""


@dataclass(frozen=True)
class HotplugEvent:
    """A CPU went or came at this line of the recording, ``time_ns`` after its first line."""

    line: int
    time_ns: int
    cpu: int
    up: bool


@dataclass
class TaskPlan:
    """One task of the workload; ``end``: operations in all, 0 until stopped."""

    comm: str
    program: Program
    home: int
    end: int = 0
    stream: int = 0
    user: tuple[int, ...] = ()
    oom_score_adj: int = 0
    held_limit: int = HELD_PAGES


@dataclass
class StreamPlan:
    """The lines of one recorded CPU: packed layout.ReplayOp records."""

    ops: bytes
    count: int
    task: int


@dataclass
class Workload:
    """Everything that a run needs to know.  ``held``: blocks allocated before the recording, the first slots."""

    name: str
    tasks: list[TaskPlan] = field(default_factory=list)
    slots: int = 0
    streams: list[StreamPlan] = field(default_factory=list)
    held: list[tuple[int, int]] = field(default_factory=list)
    hotplug: list[HotplugEvent] = field(default_factory=list)
    zones: list[ZoneSpec] | None = None
    skipped: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    window: int = 0
    python_path: str | None = None
    working_set: int = 0
    """Pages that the tasks want together, when memory is to be short of that (pressure.py); 0: it is not."""
    top: int = 0
    """One more than the highest page frame of a recording, 0: unknown."""

    def check(self, zones: Sequence[ZoneSpec]) -> None:
        """Raise InputError where a page that must be held since boot is not memory of these zones."""
        for pfn, order in self.held:
            if not any(zone.start_pfn <= pfn and pfn + (1 << order) <= zone.end_pfn for zone in zones):
                raise InputError(
                    f"--workload {self.name}: page {pfn:#x} of the recording is not memory of this machine; leave out "
                    "--memory, or give the zoneinfo that was taken with it (--zoneinfo)"
                )

    def dimensions(self, cpus: int, zones: Sequence[ZoneSpec]) -> Dimensions:
        return Dimensions(
            cpus=cpus, pages=zones[-1].end_pfn, zones=len(zones), tasks=first_workload_task(cpus) + len(self.tasks),
            slots=self.slots, streams=len(self.streams), ops=sum(stream.count for stream in self.streams),
        )

    def write(self, machine: Machine, mapping: memoryview, seed: int) -> None:
        """Put tasks, streams and the slots of held pages into RAM.  Context: before any CPU exists."""
        first = first_workload_task(machine.dims.cpus)
        for number, plan in enumerate(self.tasks):
            _write_task(machine, first + number, plan, seed)
        machine.header.nr_workload = len(self.tasks)
        machine.header.window = self.window
        self._write_streams(machine, mapping, first)
        for slot, (pfn, _) in enumerate(self.held):
            machine.slots[slot].page = pfn + 1

    def _write_streams(self, machine: Machine, mapping: memoryview, first_task: int) -> None:
        base, size = machine.placed["ops"].base, machine.placed["ops"].region.struct.SIZE
        start = 0
        for number, plan in enumerate(self.streams):
            stream = machine.streams[number]
            stream.first, stream.count, stream.task = start, plan.count, first_task + plan.task
            mapping[base + start * size : base + (start + plan.count) * size] = plan.ops
            stream.next_line = machine.ops[start].line if plan.count else 0xFFFF_FFFF
            start += plan.count


def _write_task(machine: Machine, number: int, plan: TaskPlan, seed: int) -> None:
    task = machine.tasks[number]
    task.comm, task.program, task.home = plan.comm, plan.program, plan.home
    task.end, task.stream = plan.end, plan.stream
    task.oom_score_adj, task.held_limit = plan.oom_score_adj, plan.held_limit
    task.csd = machine.dims.cpus + number
    task.rng = _mix(seed * 1_000_003 + number)
    for index, value in enumerate(plan.user[:USER_WORDS]):
        task.user[index] = value


def _mix(value: int) -> int:
    """splitmix64: neighbouring seeds give unrelated streams, and never 0."""
    value = (value + 0x9E37_79B9_7F4A_7C15) & 0xFFFF_FFFF_FFFF_FFFF
    value = (value ^ value >> 30) * 0xBF58_476D_1CE4_E5B9 & 0xFFFF_FFFF_FFFF_FFFF
    value = (value ^ value >> 27) * 0x94D0_49BB_1331_11EB & 0xFFFF_FFFF_FFFF_FFFF
    return value ^ value >> 31 or 1


@dataclass(frozen=True)
class Request:
    """What ``load`` is asked for, besides the name."""

    cpus: int
    tasks: int | None = None
    operations: int | None = None
    window: int | None = None
    no_migration: bool = False
    """Tasks of a storm or of pressure stay on their CPU."""
    busy_cpus: int | None = None
    """After a while all tasks of a storm or of pressure work on the first so many CPUs; the others idle."""
