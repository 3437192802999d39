"""The lanes of the timeline out of the trace: who had each CPU, interrupts, reclaim and drains, hotplug, stop_machine.

A record says when something began or ended; what began and has not ended when the trace does goes on to its end.  What
a task is about (reclaim, a drain, a wait) is drawn where the task has a CPU: it stops and goes on with the task.  One
thing may be inside another, a wait in a drain in reclaim: the innermost is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from cpuemu.events import REASONS, STOP_STATES, Event
from cpuemu.layout import Program
from cpuemu.report.html.slices import HOTPLUG_LANE, STOP_LANE, VECTOR_KINDS, Kind, Place, Row, Slices
from cpuemu.report.image import Image
from cpuemu.report.records import Record
from cpuemu.report.text import gfp_text, names_of

SLICES_LIMIT = 60_000
"""Slices in a report: some megabytes before compression, and a browser draws them at once."""
ONLINE_TARGET = 100
"""``target`` of a cpuhp_enter whose CPU is coming; 0 when it is going."""

_STOP_KINDS = (None, Kind.PREPARE, Kind.DISABLE_IRQ, Kind.RUN, Kind.EXIT)


@dataclass
class _Cpu:
    """What a CPU is in the middle of.  ``online``: None before the trace has said it."""

    task: int | None = None
    since: int = 0
    online: bool | None = None
    offline_since: int = 0
    interrupt: tuple[int, int, int] | None = None
    functions: list[str] = field(default_factory=list)
    lent: tuple[int, str] | None = None


@dataclass
class _Work:
    """Something that a task is about; ``since`` and ``cpu``: of the part that is being drawn."""

    kind: Kind
    label: str
    since: int
    cpu: int


@dataclass
class _Step:
    """A row of hotplug that is under way, or the state of stop_machine."""

    kind: Kind
    label: str
    since: int


class Timeline:
    """``begins`` with the first record of each ring; ``takes`` by event, in order of time; then ``end``.

    Times are ns since power-on.
    """

    def __init__(self, image: Image, limit: int = SLICES_LIMIT) -> None:
        self.image = image
        self.slices = Slices(limit)
        self.cpus = [_Cpu() for _ in range(image.machine.dims.cpus)]
        self.works: dict[int, list[_Work]] = {}
        self.step: _Step | None = None
        self.stop: _Step | None = None
        self.names = names_of(image)
        self.kind_of = cache(self._kind_of)
        self.takes: dict[int, Callable[[Record, int], None]] = {
            Event.SCHED_SWITCH: self._switch, Event.CPUEMU_CPU_ONLINE: self._online,
            Event.CPUEMU_CPU_OFFLINE: self._offline, Event.IPI_ENTRY: self._interrupt, Event.IPI_EXIT: self._no_more,
            Event.CSD_FUNCTION_ENTRY: self._function, Event.CPUHP_ENTER: self._enter, Event.CPUHP_EXIT: self._exit,
            Event.CPUEMU_STOP_STATE: self._stop_state,
            Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN: self._reclaim,
            Event.MM_VMSCAN_DIRECT_RECLAIM_END: self._ended(Kind.RECLAIM),
            Event.CPUEMU_DRAIN_ALL_BEGIN: self._drain, Event.CPUEMU_DRAIN_ALL_END: self._ended(Kind.DRAIN),
            Event.MM_COMPACTION_BEGIN: self._compact, Event.MM_COMPACTION_END: self._ended(Kind.COMPACTION),
            Event.CPUEMU_WAIT_BEGIN: self._wait, Event.CPUEMU_WAIT_END: self._waited,
            Event.CPUEMU_CPU_LENT: self._lent, Event.CPUEMU_CPU_BACK: self._back,
        }

    def begins(self, record: Record, at: int) -> None:
        """The first record of a ring: whoever had the CPU then."""
        cpu = self.cpus[record.cpu]
        if cpu.task is None and cpu.online is None:
            cpu.task, cpu.since = record.task, at

    def end(self, at: int) -> None:
        """Whatever is under way goes on to here."""
        for number, cpu in enumerate(self.cpus):
            if cpu.online is False:
                self._add(number, Row.TASK, cpu.offline_since, at, Kind.OFFLINE, "offline")
            else:
                self._close_task(number, at)
            if cpu.interrupt:
                self._close_interrupt(number, at)
            if cpu.lent is not None:
                self._add(number, Row.WORK, cpu.lent[0], at, Kind.LENT, cpu.lent[1])
        for task, works in self.works.items():
            if works and self.cpus[works[-1].cpu].task == task:
                self._draw(works[-1], at)
        for lane, step in ((HOTPLUG_LANE, self.step), (STOP_LANE, self.stop)):
            if step is not None:
                self._add(lane, Row.TASK, step.since, at, step.kind, step.label)

    def waits(self, task: int | None, cpu: int, since: int, until: int, sentence: str) -> None:
        """A task, or a handler, on this CPU waited when the machine stopped; a wait in the trace gets the sentence."""
        works = self.works.get(task, []) if task is not None else []
        if works and works[-1].kind == Kind.WAIT:
            works[-1].label = sentence
        elif since < until:
            if works and self.cpus[works[-1].cpu].task == task:
                self._draw(works[-1], since)
                works.clear()
            self._add(cpu, Row.WORK, since, until, Kind.WAIT, sentence)

    def _draw(self, work: _Work, at: int) -> None:
        if work.since < at:
            self._add(work.cpu, Row.WORK, work.since, at, work.kind, work.label)

    def _add(self, lane: int, row: int, start: int, end: int, kind: Kind, label: str) -> None:
        self.slices.add(Place(lane, row), start, end, kind, label)

    # --- tasks ---------------------------------------------------------------------------------------------

    def _kind_of(self, task: int) -> Kind:
        if not 0 <= task < self.image.machine.dims.tasks:
            return Kind.KTHREAD
        program = self.image.machine.tasks[task].program
        if program == Program.IDLE:
            return Kind.IDLE
        return Kind.KTHREAD if program == Program.KTHREAD else Kind.WORKLOAD

    def _close_task(self, number: int, at: int) -> None:
        cpu = self.cpus[number]
        if cpu.task is not None and cpu.since < at:
            self._add(number, Row.TASK, cpu.since, at, self.kind_of(cpu.task), self.names.comm(cpu.task))

    def _switch(self, record: Record, at: int) -> None:
        cpu = self.cpus[record.cpu]
        if cpu.online is False:  # its last steps, after it has left the mask
            return
        previous, following = record.args[0], record.args[2]
        cpu.task = previous
        self._close_task(record.cpu, at)
        if works := self.works.get(previous):
            self._draw(works[-1], at)
        if works := self.works.get(following):
            works[-1].since, works[-1].cpu = at, record.cpu
        cpu.task, cpu.since = following, at

    def _online(self, record: Record, at: int) -> None:
        number = record.args[0]
        if number >= len(self.cpus):
            return
        cpu = self.cpus[number]
        if cpu.online is False:
            self._add(number, Row.TASK, cpu.offline_since, at, Kind.OFFLINE, "offline")
        cpu.task, cpu.since, cpu.online = (record.task if record.cpu == number else None), at, True

    def _offline(self, record: Record, at: int) -> None:
        number = record.args[0]
        if number >= len(self.cpus):
            return
        self._close_task(number, at)
        cpu = self.cpus[number]
        cpu.task, cpu.online, cpu.offline_since = None, False, at

    # --- interrupts ----------------------------------------------------------------------------------------

    def _interrupt(self, record: Record, at: int) -> None:
        cpu = self.cpus[record.cpu]
        if cpu.interrupt:
            self._close_interrupt(record.cpu, at)
        cpu.interrupt = (at, record.args[0], record.args[1])

    def _function(self, record: Record, at: int) -> None:
        name = self.image.function(record.args[0])
        functions = self.cpus[record.cpu].functions
        if name not in functions:
            functions.append(name)

    def _no_more(self, record: Record, at: int) -> None:
        if self.cpus[record.cpu].interrupt:
            self._close_interrupt(record.cpu, at)

    def _close_interrupt(self, number: int, at: int) -> None:
        cpu = self.cpus[number]
        assert cpu.interrupt is not None
        start, source, vector = cpu.interrupt
        sender = f"cpu {source}" if source < len(self.cpus) else "the coordinator"
        name = REASONS[vector] if vector < len(REASONS) else f"vector {vector}"
        kind = VECTOR_KINDS[vector] if vector < len(VECTOR_KINDS) else Kind.PLATFORM
        does = f": {', '.join(cpu.functions)}" if cpu.functions else ""
        self._add(number, Row.IRQ, start, at, kind, f"{name.removesuffix('s')} from {sender}{does}")
        cpu.interrupt = None
        cpu.functions.clear()

    # --- what a task is about ------------------------------------------------------------------------------

    def _begins(self, record: Record, at: int, kind: Kind, label: str) -> None:
        works = self.works.setdefault(record.task, [])
        if works:
            self._draw(works[-1], at)
        works.append(_Work(kind, label, at, record.cpu))

    def _ends(self, record: Record, at: int, kind: Kind) -> None:
        works = self.works.get(record.task, [])
        if not any(work.kind == kind for work in works):
            return  # it began before the trace
        self._draw(works[-1], at)
        while works.pop().kind != kind:
            pass
        if works:
            works[-1].since, works[-1].cpu = at, record.cpu

    def _ended(self, kind: Kind) -> Callable[[Record, int], None]:
        return lambda record, at: self._ends(record, at, kind)

    def _wait(self, record: Record, at: int) -> None:
        site, low, high, busy = record.args
        if busy:  # who sleeps has given the CPU away
            word = self.names.word(low | high << 32)
            self._begins(record, at, Kind.WAIT, f"waits in {self.names.site(site)} for {word}")

    def _waited(self, record: Record, at: int) -> None:
        if record.args[3]:
            self._ends(record, at, Kind.WAIT)

    def _reclaim(self, record: Record, at: int) -> None:
        order, gfp = record.args[:2]
        self._begins(record, at, Kind.RECLAIM, f"direct reclaim, order {order}, {gfp_text(gfp)}")

    def _drain(self, record: Record, at: int) -> None:
        with_pages, online = record.args[:2]
        self._begins(record, at, Kind.DRAIN, f"drain of all CPUs: {with_pages} of {online} have pages")

    def _compact(self, record: Record, at: int) -> None:
        self._begins(record, at, Kind.COMPACTION, "compaction")

    def _lent(self, record: Record, at: int) -> None:
        task, process, generation = record.args[:3]
        label = f"lent: {self.names.comm(task)} runs in the process of cpu {process}, generation {generation}"
        self.cpus[record.cpu].lent = (at, label)

    def _back(self, record: Record, at: int) -> None:
        cpu = self.cpus[record.cpu]
        if cpu.lent is not None:
            self._add(record.cpu, Row.WORK, cpu.lent[0], at, Kind.LENT, cpu.lent[1])
        cpu.lent = None

    # --- hotplug and stop_machine --------------------------------------------------------------------------

    def _enter(self, record: Record, at: int) -> None:
        number, target, _, fun = record.args
        coming = target >= ONLINE_TARGET
        row = self.image.site(fun).removeprefix("hotplug:")
        self.step = _Step(Kind.COMING if coming else Kind.GOING,
                          f"cpu {number} {'coming online' if coming else 'going offline'}: {row}", at)

    def _exit(self, record: Record, at: int) -> None:
        if self.step is not None:
            self._add(HOTPLUG_LANE, Row.TASK, self.step.since, at, self.step.kind, self.step.label)
        self.step = None
        self._stop_ends(at)

    def _stop_state(self, record: Record, at: int) -> None:
        self._stop_ends(at)
        state = record.args[0]
        kind = _STOP_KINDS[state] if state < len(_STOP_KINDS) else None
        if kind is not None:
            self.stop = _Step(kind, f"STOPMACHINE_{STOP_STATES[state]}, {record.args[1]} CPUs", at)

    def _stop_ends(self, at: int) -> None:
        if self.stop is not None:
            self._add(STOP_LANE, Row.TASK, self.stop.since, at, self.stop.kind, self.stop.label)
        self.stop = None
