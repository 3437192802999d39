"""The watchdog: a machine that does not move is told so, with names; a machine that its host holds up is not.

Looks every tenth of a second, from outside, at RAM alone.  A cycle in the wait-for graph is a deadlock when several
looks in a row see the same waits, none of them any younger, and no process of it was stopped or starved meanwhile.
Everything else is measured in time, less what the host took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cpuemu.coordinator.host_time import HostTime
from cpuemu.core import Ram
from cpuemu.kernel.findings import write_finding
from cpuemu.kernel.hung_task import edges, explain, find_cycle
from cpuemu.kernel.wait_graph import Edge
from cpuemu.layout import (
    NOBODY,
    Counter,
    CpuState,
    Machine,
    MachineState,
    Severity,
    TaskState,
    Vector,
    first_workload_task,
)

SECOND = 1_000_000_000
REASONS = ("reschedule", "call function", "call function single", "platform")


@dataclass(frozen=True)
class Thresholds:
    """Seconds, but for ``cycle_looks``."""

    cycle_looks: int = 5
    frame: float = 2.0
    csd: float = 10.0
    stop_machine: float = 10.0
    hung_task: float = 30.0
    soft_lockup: float = 20.0
    at_rest: float = 2.0


class Watchdog:
    """``fatal``: a finding was written that ends the machine; whoever called ``look`` wakes everybody."""

    def __init__(self, machine: Machine, ram: Ram, pid_of: Callable[[int], int | None],
                 thresholds: Thresholds | None = None) -> None:
        self.machine, self.ram = machine, ram
        self.limits = thresholds or Thresholds()
        self.host = HostTime(machine, pid_of)
        self.fatal = False
        self._cycle: tuple[tuple[object, ...], ...] = ()
        self._cycle_looks = 0
        self._waits: dict[tuple[object, ...], int] = {}
        self._progress: dict[int, tuple[int, int, int]] = {}
        self._lives: dict[int, tuple[int, int, int]] = {}
        self._rest: tuple[tuple[int, ...], int] = ((), 0)

    def look(self, now_ns: int) -> list[str]:
        """One look; notes for the progress line."""
        notes = self.host.look(now_ns)
        state = self.machine.header.state
        if self.fatal or state not in (MachineState.BOOTING, MachineState.RUNNING, MachineState.STOPPING):
            return notes
        if any(words.host_stopped for words in self.machine.cpus):
            self._cycle_looks = 0
            return notes  # whoever waits for a stopped process waits for the host
        graph = edges(self.machine, now_ns)
        self._deadlock(graph)
        self._late(graph, now_ns)
        self._frames(now_ns)
        self._soft_lockup(now_ns)
        if state == MachineState.RUNNING:
            self._at_rest(now_ns)
        return notes

    def _found(self, rule: str, message: str, cpu: int = NOBODY, task: int = NOBODY) -> None:
        if self.fatal:
            return
        self.fatal = True
        stack = self.machine.tasks[task].stack if task < self.machine.dims.tasks else ""
        write_finding(self.ram, self.machine, Severity.FATAL, rule, message, cpu, task, stack)

    # --- a cycle -------------------------------------------------------------------------------------------

    def _deadlock(self, graph: list[Edge]) -> None:
        cycle = find_cycle(graph)
        signature = tuple((edge.waiter, edge.holder, edge.word, edge.since_ns, self._heart(edge)) for edge in cycle)
        if not cycle or signature != self._cycle:
            self._cycle, self._cycle_looks = signature, 1
            return
        self._cycle_looks += 1
        if self._cycle_looks < self.limits.cycle_looks:
            return
        names = " -> ".join(self._name(edge.waiter) for edge in [*cycle, cycle[0]])
        kind, number = cycle[0].waiter
        task = number if kind == "task" else self.machine.cpus[number].current
        self._found("deadlock", f"deadlock: {names}; " + "; ".join(edge.text for edge in cycle),
                    self.machine.tasks[task].cpu, task)

    def _heart(self, edge: Edge) -> int:
        """Points passed by the CPU of the waiter: it moves while there is life."""
        kind, number = edge.waiter
        cpu = self.machine.tasks[number].cpu if kind == "task" else number
        return self.machine.cpus[cpu].heart if cpu < self.machine.dims.cpus else 0

    def _name(self, node: tuple[str, int]) -> str:
        kind, number = node
        return self.machine.tasks[number].comm if kind == "task" else f"{kind} {number}"

    # --- waits that are late -------------------------------------------------------------------------------

    def _late(self, graph: list[Edge], now_ns: int) -> None:
        """Waits for a csd, the barrier, a lock: late when older than their limit, less what the host took since."""
        taken = self.host.taken_ns()
        waits: dict[tuple[object, ...], int] = {}
        for edge in graph:
            if edge.kind in ("replay", "irqs", "frame", "scheduler") or not edge.since_ns or edge.waiter[0] != "task":
                continue
            key = (edge.waiter, edge.word, edge.since_ns)
            waits[key] = self._waits.get(key, taken)
            age = now_ns - edge.since_ns - (taken - waits[key])
            rule, limit = self._limit(edge.kind)
            if age > limit * SECOND:
                _, number = edge.waiter
                self._found(rule, f"{edge.text}; " + "; ".join(explain(self.machine, now_ns)[:4]),
                            self.machine.tasks[number].cpu, number)
        self._waits = waits

    def _limit(self, kind: str) -> tuple[str, float]:
        if kind == "csd":
            return "csd-lock-wait", self.limits.csd
        if kind == "stop_machine":
            return "stop-machine-stuck", self.limits.stop_machine
        return "hung-task", self.limits.hung_task

    # --- frames that never come ----------------------------------------------------------------------------

    def _frames(self, now_ns: int) -> None:
        """An interrupt is raised, its CPU sleeps with interrupts on, and no frame has come to wake it."""
        for words in self.machine.cpus:
            if words.state != CpuState.RUNNING or not words.sleeping or words.irqs_off or words.in_hand:
                continue
            for vector in range(Vector.NR):
                pending, raised = words.pending[vector], words.raised_ns[vector]
                if not pending or now_ns - raised < self.limits.frame * SECOND:
                    continue
                source = (pending & 0xFFFF) - 1
                if self._moved(words.index):
                    continue
                who = f"cpu {source}" if source < self.machine.dims.cpus else "the coordinator"
                waiting = [task.comm for task in self.machine.tasks
                           if task.nterms and task.busy and task.cpu == source and source < self.machine.dims.cpus]
                held_up = f"; {', '.join(waiting)} on {who} waits for it" if waiting else ""
                self._found("csd-lock-wait",
                            f"csd: no frame from {who} to cpu {words.index}: its {REASONS[vector]} interrupt (ticket "
                            f"{pending >> 16}) was raised {(now_ns - raised) / SECOND:.1f} s ago and never arrived; the "
                            f"pair {who} -> cpu {words.index} is silent{held_up}", words.index)

    def _moved(self, cpu: int) -> bool:
        """Whether it did anything, or was kept from it, since the last look."""
        words = self.machine.cpus[cpu]
        state = (words.heart, words.counters[Counter.OPERATIONS], self.host.taken_from_ns(cpu))
        return self._progress.get(cpu) != state

    # --- CPUs that do not move -----------------------------------------------------------------------------

    def _soft_lockup(self, now_ns: int) -> None:
        for words in self.machine.cpus:
            taken = self.host.taken_from_ns(words.index)
            life = words.heart + words.counters[Counter.OPERATIONS]
            key = (words.heart, words.counters[Counter.OPERATIONS], taken)
            since = self._lives.get(words.index)
            if since is None or since[0] != life or words.sleeping or words.state != CpuState.RUNNING:
                self._lives[words.index] = (life, now_ns, taken)
            elif now_ns - since[1] - (taken - since[2]) > self.limits.soft_lockup * SECOND:
                task = self.machine.tasks[words.current]
                self._found("soft-lockup", f"BUG: soft lockup - CPU#{words.index} stuck for "
                            f"{(now_ns - since[1]) / SECOND:.0f}s! [{task.comm}:{task.index}]", words.index, task.index)
            self._progress[words.index] = key

    def _at_rest(self, now_ns: int) -> None:
        """Every CPU asleep with nothing to do, no timer, no hotplug, and the workload has not ended: nobody can move."""
        machine, header = self.machine, self.machine.header
        left = header.nr_workload and header.tasks_done < header.nr_workload
        rest = bool(left) and not machine.hotplug.busy and header.coordinator_line > self._slowest_line()
        hearts = tuple(words.heart for words in machine.cpus)
        for words in machine.cpus:
            if words.state != CpuState.RUNNING:
                continue
            idle = words.current == words.idle_task and words.sleeping and not words.need_resched and not words.timer_ns
            rest = rest and bool(idle) and not any(words.pending)
        if not rest or hearts != self._rest[0]:
            self._rest = (hearts, now_ns)
            return
        if now_ns - self._rest[1] > self.limits.at_rest * SECOND:
            first = first_workload_task(machine.dims.cpus)
            stuck = [task.comm for task in machine.tasks if task.index >= first and task.state not in
                     (TaskState.UNUSED, TaskState.DEAD)]  # fmt: skip
            self._found("hung-machine", f"nobody can move, {len(stuck)} tasks have not ended ({', '.join(stuck[:8])}): "
                        + "; ".join(explain(machine, now_ns)[:8]))

    def _slowest_line(self) -> int:
        return min((stream.next_line for stream in self.machine.streams), default=0)
