"""The running machine as a person wants to see it, read from its RAM alone: no lock, no store.

RAM changes while it is read: a number may be a moment older than its neighbour, and none is an index before it is
checked (kernel/wait_records.py).
"""

from __future__ import annotations

import enum
from collections import Counter as Tally
from dataclasses import dataclass, field

from cpuemu.coordinator.hotplug_plan import online
from cpuemu.kernel.wait_graph import Edge, WaitGraph
from cpuemu.kernel.wait_holders import stop_state
from cpuemu.layout import (
    NR_FINDINGS,
    Counter,
    Cpu,
    CpuState,
    Machine,
    Program,
    Task,
    TaskState,
    Wmark,
    first_workload_task,
)
from cpuemu.report.crash.reading import ranges

LONG_WAIT_NS = 500_000_000
"""A wait this old is worth a row, and its age is told."""
MANY_HOLDERS = 24
"""Characters: longer lists of who is waited for are counted instead."""
SMOOTHING = 0.5
"""Weight of the last interval in the steps a second."""


class Status(enum.Enum):
    """What a CPU does, the most ordinary first."""

    IDLE = "idle"
    USER = "user"
    KERNEL = "kernel"
    INTERRUPT = "interrupt"
    WAITING = "waiting"
    IRQS_OFF = "irqs off"
    SPINNING = "spinning"
    STARTING = "starting"
    LEAVING = "leaving"
    OFFLINE = "offline"
    HOST_STOPPED = "host-stopped"
    DIED = "died"


@dataclass(frozen=True)
class CpuRow:
    """One CPU.  ``steps``: points passed and operations of user mode, a second."""

    number: int
    status: Status
    task: str
    pcp: int
    ipis: int
    steps: float
    waits: str
    long_wait: bool = False


@dataclass(frozen=True)
class ZoneGauge:
    """Free pages against the watermarks."""

    name: str
    free: int
    managed: int
    min: int
    low: int
    high: int


@dataclass(frozen=True)
class Look:
    """One look.  ``cpus``: those that have a row; ``statuses``: of all; ``hidden``: of those without a row."""

    cpus: list[CpuRow]
    statuses: list[Status]
    hidden: Tally[Status]
    zones: list[ZoneGauge]
    counts: dict[str, int]
    tasks_done: int
    tasks: int
    done: float | None
    """The share of the work that is done; None where the work has no end of its own."""
    barrier: str
    """stop_machine's state, and whose acknowledgement is missing; empty when nobody asks for it."""
    finding: str
    """What an oracle has found; empty for a machine that behaves."""


@dataclass
class _Pace:
    """Steps of a CPU's life so far, at a time."""

    life: tuple[int, int]
    at_ns: int
    rate: float = 0.0


@dataclass
class Watcher:
    """Looks at one machine, again and again."""

    machine: Machine
    paces: dict[int, _Pace] = field(default_factory=dict)

    def look(self, now_ns: int, rows: int) -> Look:
        """All that can be shown, with rows for at most so many CPUs: those that stand out, and then the first."""
        machine = self.machine
        graph = WaitGraph(machine, now_ns)
        statuses = [status_of(machine, cpu) for cpu in machine.cpus]
        rates = [self._rate(cpu, now_ns) for cpu in machine.cpus]
        chosen = sorted(sorted(range(len(statuses)), key=lambda number: (
            -self._standing_out(graph, machine.cpus[number], statuses[number]), number))[:rows])
        sleepers = _sleepers(machine, set(chosen))
        return Look(
            cpus=[self._row(graph, number, statuses[number], rates[number], sleepers.get(number)) for number in chosen],
            statuses=statuses, hidden=Tally(statuses) - Tally(statuses[number] for number in chosen),
            zones=[ZoneGauge(zone.name, max(0, zone.free_pages), zone.managed, *(zone.wmark[mark] for mark in (
                Wmark.MIN, Wmark.LOW, Wmark.HIGH))) for zone in machine.zones],
            counts={name: sum(cpu.counters[number] for cpu in machine.cpus) for name, number in (
                ("drains", Counter.DRAIN_ALL), ("reclaims", Counter.DIRECT_RECLAIM), ("OOM", Counter.OOM),
                ("offline", Counter.OFFLINE), ("online", Counter.ONLINE))},
            tasks_done=machine.header.tasks_done, tasks=machine.header.nr_workload, done=work_done(machine),
            barrier=_barrier(machine), finding=_finding(machine),
        )

    def _rate(self, cpu: Cpu, now_ns: int) -> float:
        """Steps a second, smoothed; a new life of the CPU starts anew."""
        life = (cpu.generation, cpu.heart + cpu.counters[Counter.OPERATIONS])
        last = self.paces.get(cpu.index)
        pace = self.paces[cpu.index] = _Pace(life, now_ns)
        if last is None or last.life[0] != life[0] or now_ns <= last.at_ns:
            return 0.0
        rate = max(0, life[1] - last.life[1]) * 1e9 / (now_ns - last.at_ns)
        pace.rate = rate if not last.rate else last.rate + SMOOTHING * (rate - last.rate)
        return pace.rate

    def _standing_out(self, graph: WaitGraph, cpu: Cpu, status: Status) -> int:
        """How much a CPU deserves one of few rows.  What lasts a moment only does not count: rows would jump."""
        if status in (Status.DIED, Status.HOST_STOPPED):
            return 3
        if self.machine.hotplug.busy and self.machine.hotplug.cpu == cpu.index:
            return 2
        task = graph.task(cpu.current)
        waits = task is not None and task.nterms and task.busy
        return int(bool(waits and task and graph.now_ns - task.wait_ns > LONG_WAIT_NS))

    def _row(self, graph: WaitGraph, number: int, status: Status, rate: float, sleeper: Task | None) -> CpuRow:
        cpu = self.machine.cpus[number]
        pcp = sum(max(0, self.machine.pcp(number, zone).count) for zone in range(self.machine.dims.zones))
        ipis = cpu.counters[Counter.IPI_TAKEN]
        if status in (Status.OFFLINE, Status.STARTING, Status.DIED):
            return CpuRow(number, status, "", pcp, ipis, 0.0, "")
        task = sleeper if status is Status.IDLE else graph.task(cpu.current)
        waits, long_wait = _waits_for(graph, cpu, task, status)
        shown = cpu.idle_task if status is Status.IDLE else cpu.current
        return CpuRow(number, status, graph.comm(shown), pcp, ipis, rate, waits, long_wait)


def status_of(machine: Machine, cpu: Cpu) -> Status:
    """What a CPU's words say about it."""
    if cpu.state == CpuState.DEAD:
        return Status.DIED
    if cpu.state in (CpuState.STARTING, CpuState.READY):
        return Status.STARTING
    if cpu.state != CpuState.RUNNING:
        return Status.OFFLINE
    if cpu.host_stopped:
        return Status.HOST_STOPPED
    if not online(machine, cpu.index):
        return Status.LEAVING
    if cpu.lock_wait:
        return Status.SPINNING
    if cpu.hardirq:
        return Status.INTERRUPT
    if cpu.irqs_off:
        return Status.IRQS_OFF
    if cpu.current == cpu.idle_task:
        return Status.IDLE
    if cpu.user:
        return Status.USER
    return Status.WAITING if cpu.sleeping else Status.KERNEL


def _sleepers(machine: Machine, cpus: set[int]) -> dict[int, Task]:
    """Of each CPU the task that has slept there longest: what an idle CPU could run, and why it cannot.

    Kernel threads sleep until they have work; of them only the control task counts, while a CPU goes or comes.
    """
    found: dict[int, Task] = {}
    control = machine.hotplug.control_task if machine.hotplug.busy else None
    for task in machine.tasks:
        if not task.nterms or task.busy or task.state in (TaskState.UNUSED, TaskState.DEAD) or task.cpu not in cpus:
            continue
        if task.program == Program.KTHREAD and task.index != control:
            continue
        if task.cpu not in found or task.wait_ns < found[task.cpu].wait_ns:
            found[task.cpu] = task
    return found


def _waits_for(graph: WaitGraph, cpu: Cpu, task: Task | None, status: Status) -> tuple[str, bool]:
    """Whom and what for, and whether for long."""
    if task is None:
        return "", False
    spins = status is Status.SPINNING or cpu.lock_wait
    node = ("irq", cpu.index) if spins and cpu.hardirq else ("task", task.index)
    edges = [edge for edge in graph.out(node) if edge.kind != "scheduler"]
    if not edges:
        return "", False
    first, holders = edges[0], _holders(graph, edges)
    since = 0 if first.kind == "lock" and spins else first.since_ns
    old = bool(since) and graph.now_ns - since > LONG_WAIT_NS
    text = ", ".join(part for part in (holders, _what(first)) if part)
    if status is Status.IDLE:  # the CPU itself waits for nothing: it could run this task
        text = f"{task.comm} for {holders or text}"
    return f"{graph.ago(since)}: {text}" if old else text, old


def _holders(graph: WaitGraph, edges: list[Edge]) -> str:
    """``cpu 1-3,5``; ``migration/2``"""
    holders = [edge.holder for edge in edges if edge.holder is not None]
    cpus = sorted({number for kind, number in holders if kind in ("cpu", "irq")})
    tasks = sorted({graph.comm(number) for kind, number in holders if kind == "task"})
    listed = [f"cpu {ranges(cpus)}", *tasks] if cpus else tasks
    if sum(map(len, listed)) <= MANY_HOLDERS:
        return ", ".join(listed)
    return " and ".join([f"{len(cpus)} CPUs"] * bool(cpus) + [f"{len(tasks)} tasks"] * bool(tasks))


def _what(edge: Edge) -> str:
    """The lock, or the place in the kernel."""
    return edge.word if edge.kind == "lock" else edge.site


def work_done(machine: Machine) -> float | None:
    """The share of all tasks' operations that is done."""
    tasks = [machine.tasks[number] for number in range(first_workload_task(machine.dims.cpus), machine.dims.tasks)]
    ends = [task.end for task in tasks]
    if not tasks or not all(ends):
        return None
    return sum(min(task.position, end) for task, end in zip(tasks, ends, strict=True)) / sum(ends)


def _barrier(machine: Machine) -> str:
    barrier = machine.stop_machine
    return f"{stop_state(machine)}, {barrier.thread_ack} of {barrier.num_threads} missing" if barrier.state else ""


def _finding(machine: Machine) -> str:
    """The first complete entry, and how many there are."""
    number = min(machine.header.nr_findings, NR_FINDINGS)
    first = next((machine.findings[index] for index in range(number) if machine.findings[index].done), None)
    if first is None:
        return ""
    return f"{first.rule}: {first.message}" + (f" (and {number - 1} more)" if number > 1 else "")
