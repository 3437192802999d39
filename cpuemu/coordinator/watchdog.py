"""The watchdog: a machine that does not move is told so, with names; a machine that its host holds up is not.

It looks ten times a second, from outside, at RAM and /proc alone.  A deadlock is a cycle of the wait-for graph that
several looks in a row see with the same times: named within one second.  A lost frame is an interrupt raised long ago
that nobody carries.  Everything else is measured in time, less what the host took meanwhile from the CPUs that the
waiter depends on, by the graph of each look (from all where it does not know).  While a process is stopped,
nothing is judged, only measured; a CPU asleep in its poll is waited for in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cpuemu.coordinator.host_time import HostTime
from cpuemu.coordinator.rest import idle
from cpuemu.coordinator.thresholds import Thresholds
from cpuemu.core import Ram
from cpuemu.kernel import oracles
from cpuemu.kernel.findings import write_finding
from cpuemu.kernel.hung_task import Edge, explain, find_cycle, reach
from cpuemu.kernel.kernel_words import late_words
from cpuemu.kernel.oracles import Rule
from cpuemu.kernel.wait_graph import WaitGraph
from cpuemu.kernel.wait_records import Node
from cpuemu.layout import (
    LINE_END,
    NOBODY,
    Counter,
    Cpu,
    CpuState,
    Machine,
    MachineState,
    TaskState,
    Vector,
    first_workload_task,
)
from cpuemu.sites import site_name

SECOND = 1_000_000_000
YOUNG_NS = SECOND
"""A wait this young is far from every limit: no walk through the graph for it."""
REASONS = ("reschedule", "call function", "call function single", "platform", "NMI")
CALLS = (Vector.CALL_FUNCTION, Vector.CALL_FUNCTION_SINGLE)
NOT_TIMED = ("replay", "irqs", "frame", "scheduler")
"""Kinds of waits that may last (a recording's own order), or that stand behind another one that is timed."""


@dataclass
class _Still:
    """Something that has not changed since a moment; ``taken_ns``: what the host took since from ``cpus``."""

    what: object
    since_ns: int
    taken_ns: int = 0
    looks: int = 1
    cpus: set[int] = field(default_factory=set)

    def late_ns(self, now_ns: int) -> int:
        return now_ns - self.since_ns - self.taken_ns


class Watchdog:
    """``fatal``: a finding was written that ends the machine; whoever called ``look`` wakes everybody."""

    def __init__(self, machine: Machine, ram: Ram, pid_of: Callable[[int], int | None],
                 thresholds: Thresholds | None = None) -> None:
        self.machine, self.ram = machine, ram
        self.limits = thresholds or Thresholds()
        self.host = HostTime(machine, pid_of)
        self.fatal = False
        self._cycle = _Still((), 0)
        self._waits: dict[tuple[object, ...], _Still] = {}
        self._silent: dict[tuple[int, int], _Still] = {}
        self._life: dict[int, _Still] = {}
        self._moved: dict[int, bool] = {}
        self._rest = _Still((), 0)

    def look(self, now_ns: int) -> list[str]:
        """One look; notes for the progress line."""
        notes = self.host.look(now_ns)
        state = self.machine.header.state
        if self.fatal or state not in (MachineState.BOOTING, MachineState.RUNNING, MachineState.STOPPING):
            return notes
        judge = not self.host.any_stopped()
        graph = WaitGraph(self.machine, now_ns)
        edges = graph.edges()
        self._hearts(edges, now_ns, judge)
        self._late(edges, now_ns, judge)
        if judge:
            self._deadlock(graph, edges, now_ns)
            self._frames(now_ns)
        else:
            # Whoever waits for a stopped process waits for the host; what stood still with it starts anew.
            self._cycle, self._rest = _Still((), 0), _Still((), 0)
            self._silent.clear()
        if judge and state == MachineState.RUNNING:
            self._at_rest(now_ns)
        return notes

    def _found(self, rule: Rule, message: str, cpu: int = NOBODY, task: int = NOBODY,
               nodes: Sequence[Node] = ()) -> None:
        """``nodes``: who else is concerned."""
        if self.fatal:
            return
        self.fatal = True
        stack = self.machine.tasks[task].stack if task < self.machine.dims.tasks else ""
        cpus = self._cpus(nodes)
        tasks = [number if kind == "task" else self.machine.cpus[number].current for kind, number in nodes
                 if kind == "task" or number in cpus]
        write_finding(self.ram, self.machine, rule, message, cpu, task, stack, cpus=cpus, tasks=tasks)

    # --- a cycle -------------------------------------------------------------------------------------------

    def _deadlock(self, graph: WaitGraph, edges: list[Edge], now_ns: int) -> None:
        cycle = find_cycle(edges)
        signature = tuple((edge.waiter, edge.holder, edge.word, self._age_of(edge)) for edge in cycle)
        nodes = [edge.waiter for edge in cycle]
        if not cycle or signature != self._cycle.what or any(map(self.host.starving, self._cpus(nodes))):
            self._cycle = _Still(signature, now_ns)
            return
        self._cycle.looks += 1
        if self._cycle.looks < self.limits.cycle_looks:
            return
        names = " -> ".join(graph.node(edge.waiter) for edge in [*cycle, cycle[0]])
        cpu = next(iter(self._cpus(nodes)), NOBODY)
        kind, number = cycle[0].waiter
        task = number if kind == "task" else self.machine.cpus[number].current
        self._found(oracles.DEADLOCK, f"deadlock: {names}; " + "; ".join(edge.text for edge in cycle), cpu, task, nodes)

    def _age_of(self, edge: Edge) -> int:
        """What changes when the wait is another one: its beginning, or else the points that its CPU has passed."""
        cpu = self._cpu_of(edge.waiter)
        return edge.since_ns or (self.machine.cpus[cpu].heart if cpu is not None else 0)

    def _cpu_of(self, node: Node) -> int | None:
        kind, number = node
        cpu = self.machine.tasks[number].cpu if kind == "task" else number
        return cpu if cpu < self.machine.dims.cpus else None

    def _cpus(self, nodes: Iterable[Node]) -> list[int]:
        return [cpu for node in nodes if (cpu := self._cpu_of(node)) is not None]

    # --- waits that are late -------------------------------------------------------------------------------

    def _count_host(self, still: _Still, edges: list[Edge], node: Node, now_ns: int) -> None:
        """Add what the host took since the last look from whoever the node depends on, or depended on then."""
        before, still.cpus = still.cpus, set(range(self.machine.dims.cpus))
        if now_ns - still.since_ns >= YOUNG_NS and not self.host.any_stopped():
            nodes = reach(edges, node)
            if not any(edge.holder is None and edge.waiter in nodes for edge in edges):
                still.cpus = {cpu for each in nodes if (cpu := self._cpu_of(each)) is not None}
        still.taken_ns += self.host.taken_ns(still.cpus | before)

    def _late(self, edges: list[Edge], now_ns: int, judge: bool) -> None:
        """Waits for a csd, the barrier, a lock: late when older than their limit, less what the host took since."""
        waits: dict[tuple[object, ...], _Still] = {}
        for edge in edges:
            kind, number = edge.waiter
            key = (edge.waiter, edge.word, edge.since_ns)
            if edge.kind in NOT_TIMED or not edge.since_ns or kind != "task" or key in waits:
                continue
            if self._not_called(number):
                continue
            still = waits[key] = self._waits.get(key) or _Still(key, edge.since_ns)
            self._count_host(still, edges, edge.waiter, now_ns)
            rule, limit = self._limit(edge.kind)
            if judge and still.late_ns(now_ns) > limit * SECOND:
                words = late_words(self.machine, edge, now_ns - edge.since_ns, limit)
                others = [each for each in explain(self.machine, now_ns) if each != edge.text]
                self._found(rule, "; ".join([f"{words} {edge.text}", *others[:4]]), self.machine.tasks[number].cpu,
                            number, sorted(reach(edges, edge.waiter)))
        self._waits = waits

    def _not_called(self, task: int) -> bool:
        """A CPU that has not been called yet (cpu_callout) waits for its turn, however many come before it."""
        cpu = self.machine.tasks[task].cpu
        return cpu < self.machine.dims.cpus and self.machine.cpus[cpu].state == CpuState.READY \
            and self.machine.hotplug.cpu != cpu

    def _limit(self, kind: str) -> tuple[Rule, float]:
        if kind == "csd":
            return oracles.CSD_LOCK_WAIT, self.limits.csd
        if kind == "stop_machine":
            return oracles.STOP_MACHINE_STUCK, self.limits.stop_machine
        return oracles.HUNG_TASK, self.limits.hung_task

    # --- frames that never come ----------------------------------------------------------------------------

    def _frames(self, now_ns: int) -> None:
        """Interrupts raised long ago on CPUs that would take them, with no frame in hand and none on its way."""
        silent: dict[tuple[int, int], _Still] = {}
        for words in self.machine.cpus:
            if words.state != CpuState.RUNNING or words.irqs_off or words.hardirq or words.in_hand:
                continue
            if self._moved.get(words.index):
                words.open_ns = now_ns
            for vector in range(Vector.NR):
                pending = words.pending[vector]
                # A call says more than a reschedule that is lost with it: somebody waits for its answer.
                patience = self.limits.frame * (1 if vector in CALLS else 2)
                if pending and now_ns - words.raised_ns[vector] > patience * SECOND \
                        and self._nobody_carries(words, (pending & 0xFFFF) - 1):
                    still = self._silent.get((words.index, vector))
                    looks = still.looks + 1 if still is not None and still.what == pending else 1
                    silent[words.index, vector] = _Still(pending, now_ns, looks=looks)
        self._silent = silent
        lost = [place for place, still in silent.items() if still.looks >= self.limits.carry_looks]
        if lost:
            self._silent_pair(*min(lost, key=lambda place: (place[1] not in CALLS, place)), now_ns)

    def _nobody_carries(self, words: Cpu, source: int) -> bool:
        """Whether sender and receiver can do no more for a frame: it is sent, and nothing that brings it is awake."""
        if not (words.sleeping and self.host.state_of(words.index) == "S") and not self._moved.get(words.index):
            return False  # it has not looked for its frames
        sent = source >= self.machine.dims.cpus or self._moved.get(source) or self.host.state_of(source) == "S"
        return bool(sent) and all(self.host.nobody_carries(cpu) for cpu in (words.index, source))

    def _silent_pair(self, cpu: int, vector: int, now_ns: int) -> None:
        words = self.machine.cpus[cpu]
        pending, raised = words.pending[vector], words.raised_ns[vector]
        source = (pending & 0xFFFF) - 1
        who = f"cpu {source}" if source < self.machine.dims.cpus else "the coordinator"
        waiting = [task.comm for task in self.machine.tasks
                   if task.nterms and task.busy and task.cpu == source and source < self.machine.dims.cpus]
        held_up = f"; {', '.join(waiting)} on {who} waits for it" if waiting and vector in CALLS else ""
        self._found(
            oracles.CSD_LOCK_WAIT if vector in CALLS else oracles.IPI_LOST,
            f"{'csd' if vector in CALLS else 'ipi'}: no frame from {who} to cpu {cpu}: its {REASONS[vector]} interrupt "
            f"(ticket {pending >> 16}) was raised {(now_ns - raised) / SECOND:.1f} s ago and never arrived; the pair "
            f"{who} -> cpu {cpu} is silent{held_up}", cpu, nodes=[("cpu", source)])

    # --- CPUs that do not move -----------------------------------------------------------------------------

    def _hearts(self, edges: list[Edge], now_ns: int, judge: bool) -> None:
        """Lockups: a CPU outside of its poll that passes no point and does no operation; hard: with interrupts off."""
        for words in self.machine.cpus:
            cpu = words.index
            deaf = bool(words.irqs_off or words.hardirq)
            # A handler must end: what it does meanwhile is no sign of life.
            signs = (tuple(words.inservice),) if words.hardirq and any(words.inservice) else (
                words.heart, words.counters[Counter.OPERATIONS])
            life = (words.generation, deaf, *signs)
            last = self._life.get(cpu)
            self._moved[cpu] = last is not None and last.what != life
            # In state D the host reads or writes for it; asleep in its poll it waits for others.
            calm = words.sleeping or words.state != CpuState.RUNNING or self.host.state_of(cpu) == "D"
            if last is None or last.what != life or calm:
                self._life[cpu] = _Still(life, now_ns)
                continue
            self._count_host(last, edges, ("irq", cpu) if words.hardirq else ("task", words.current), now_ns)
            task = self.machine.tasks[words.current]
            if judge and deaf and last.late_ns(now_ns) > self.limits.hard_lockup * SECOND:
                self._found(oracles.HARD_LOCKUP, f"Watchdog detected hard LOCKUP on cpu {cpu}: no "
                            f"{'end of its interrupt handler' if words.hardirq else 'point'} for "
                            f"{(now_ns - last.since_ns) / SECOND:.0f} s, last seen at "
                            f"{site_name(self.machine, words.point_site)} [{task.comm}:{task.index}]", cpu, task.index)
            elif judge and last.late_ns(now_ns) > self.limits.soft_lockup * SECOND:
                self._found(oracles.SOFT_LOCKUP, f"BUG: soft lockup - CPU#{cpu} stuck for "
                            f"{(now_ns - last.since_ns) / SECOND:.0f}s! [{task.comm}:{task.index}]", cpu, task.index)

    def _at_rest(self, now_ns: int) -> None:
        """Every CPU asleep with nothing to do, no timer, no hotplug, and work left: nobody can move."""
        machine, header = self.machine, self.machine.header
        hearts = tuple((words.generation, words.heart) for words in machine.cpus)
        left = header.nr_workload and header.tasks_done < header.nr_workload
        waits_for_us = machine.hotplug.busy or self._slowest_line() >= header.coordinator_line != LINE_END
        if not left or waits_for_us or hearts != self._rest.what or not all(map(self._idle, machine.cpus)):
            self._rest = _Still(hearts, now_ns)
            return
        self._rest.taken_ns += self.host.taken_ns(range(machine.dims.cpus))
        if self._rest.late_ns(now_ns) > self.limits.at_rest * SECOND:
            stuck = [task.comm for task in machine.tasks if task.index >= first_workload_task(machine.dims.cpus)
                     and task.state not in (TaskState.UNUSED, TaskState.DEAD)]
            self._found(oracles.HUNG_MACHINE, f"nobody can move, {len(stuck)} tasks have not ended "
                        f"({', '.join(stuck[:8])}): " + "; ".join(explain(machine, now_ns)[:8]))

    def _idle(self, words: Cpu) -> bool:
        if words.state != CpuState.RUNNING:
            return True
        return idle(words) and not words.timer_ns and self.host.state_of(words.index) in ("S", "")

    def _slowest_line(self) -> int:
        """Where the replay is; before every line where there is none."""
        return min((stream.next_line for stream in self.machine.streams), default=0)
