"""Who waits for whom, from RAM alone: the edges of the wait-for graph (Linux: lockdep and hung_task hold parts of it).

Invariant:     an edge is drawn only for a waiter whose terms do not hold: who may go on waits for nobody.
Writers:       none: reads RAM without a lock; a running machine may change under it, so a cycle counts only when
               it is seen twice with the same times.
Steps:         none.
Not modelled:  who holds what has no owner in RAM: the edge then has no holder.

An edge is *firm* when nothing but its holder can end the wait: one term, no deadline, no preemption.  Only firm
edges make a deadlock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cpuemu.events import REASONS
from cpuemu.kernel.wait_holders import holders_of
from cpuemu.kernel.wait_records import Look, Node
from cpuemu.layout import Cpu, CpuState, Preempt, Program, SchedClass, Task, TaskState, Vector

IDLE_WAITS = {("stoppers", "head"), ("hotplug", "request"), ("kthread", "request"), ("kswapd", "wake")}
"""What a kernel thread without work waits for: nobody owes it anything."""

GUESSED = ("slots", "streams")
"""Words whose holder is the most likely one: good for a sentence, not for a verdict."""

_KINDS = {"csds": "csd", "cfds": "csd", "stop_machine": "stop_machine", "stop_done": "stop_machine", "locks": "lock",
          "hotplug": "hotplug", "kthread": "kthread", "cpumasks": "hotplug", "slots": "replay", "streams": "replay",
          "kgdb": "debugger", "kgdb_cpus": "debugger"}

LONG_NS, FOREVER = 1_000_000_000, 1 << 64
"""How long a CPU with interrupts on does not need to take one; no limit."""


@dataclass(frozen=True)
class Edge:
    """One wait: who, for which word, where, since when, and who could end it."""

    waiter: Node
    holder: Node | None
    kind: str
    word: str
    site: str
    since_ns: int
    text: str = field(compare=False)
    firm: bool = True


class WaitGraph(Look):
    """The graph of one look at the machine."""

    def edges(self) -> list[Edge]:
        """Every wait of the machine, and what those who are waited for wait for in turn."""
        todo: list[Node] = [self._waiter(task) for task in self.machine.tasks if self._waits(task)]
        for cpu in self.machine.cpus:
            if cpu.lock_wait:
                todo.append(("irq", cpu.index) if cpu.hardirq else ("task", cpu.current))
        seen: set[Node] = set()
        found: list[Edge] = []
        while todo:
            node = todo.pop(0)
            if node in seen:
                continue
            seen.add(node)
            for edge in self.out(node):
                found.append(edge)
                if edge.holder is not None:
                    todo.append(edge.holder)
        return found

    def _waits(self, task: Task) -> bool:
        if task.state in (TaskState.UNUSED, TaskState.DEAD):
            return False
        return bool(task.nterms) or task.sched_class == SchedClass.STOP

    def _in_handler(self, task: Task) -> bool:
        """Whether the wait record is that of an interrupt handler on top of the task."""
        return bool(task.nterms) and bool(task.wait_hardirq) and self.cpu(task.cpu) is not None

    def _waiter(self, task: Task) -> Node:
        return ("irq", task.cpu) if self._in_handler(task) else ("task", task.index)

    def out(self, node: Node) -> Iterator[Edge]:
        """The edges that leave a node."""
        kind, number = node
        if kind == "irq":
            yield from self._spins(node, number)
            cpu = self.cpu(number)
            interrupted = self.task(cpu.current) if cpu is not None else None
            if interrupted is not None and self._in_handler(interrupted) and self.blocked(interrupted):
                yield from self._terms(node, interrupted)
        elif kind == "cpu":
            yield from self._takes_no_interrupt(number)
        else:
            task = self.task(number)
            if task is not None and task.state not in (TaskState.UNUSED, TaskState.DEAD):
                yield from self._task(node, task)

    def _task(self, node: Node, task: Task) -> Iterator[Edge]:
        cpu = self.cpu(task.cpu)
        if cpu is not None and cpu.current == task.index and cpu.lock_wait:
            yield from self._spins(node, cpu.index)
        if self._in_handler(task):
            yield Edge(node, ("irq", task.cpu), "irqs", f"cpus[{task.cpu}].hardirq", self.site(task.why), task.wait_ns,
                       f"task {task.comm} on cpu {task.cpu} is interrupted by a handler that waits")
        elif self.blocked(task):
            yield from self._terms(node, task)
        elif cpu is not None and cpu.current != task.index and task.state == TaskState.RUNNING and task.on_rq:
            yield self._scheduler(node, task, cpu)

    # --- spinlocks, interrupts, scheduler ------------------------------------------------------------------

    def _spins(self, node: Node, number: int) -> Iterator[Edge]:
        cpu = self.machine.cpus[number]
        waited = cpu.lock_wait  # once: the CPU runs, and may have its lock at the next look
        if not 0 < waited <= len(self.machine.locks):
            return
        lock = self.machine.locks[waited - 1]
        owner = self.cpu((lock.word & 0xFFFF) - 1)
        if owner is None:
            return
        where = self.site(cpu.lock_wait_site)
        holder: Node = ("irq", owner.index) if owner.hardirq else ("task", owner.current)
        died = ", whose process died" if owner.state == CpuState.DEAD else self.host(owner)
        yield Edge(node, holder, "lock", lock.name, where, lock.since_ns,
                   f"cpu {number} ({self.comm(cpu.current)}) spins in {where} for {lock.name}: cpu {owner.index} holds "
                   f"it since {self.ago(lock.since_ns)}, taken in {self.site(lock.site)}{died}")

    def _takes_no_interrupt(self, number: int) -> Iterator[Edge]:
        cpu = self.machine.cpus[number]
        node: Node = ("cpu", number)
        task = self.task(cpu.current)
        where = self.site(cpu.point_site)
        since = task.wait_ns if task is not None and task.nterms else 0
        off = cpu.hardirq or cpu.irqs_off or cpu.lock_wait
        # What was pending for long when interrupts were on does not wait for their being off just now.
        missing = list(self._frames(node, cpu, cpu.open_ns - LONG_NS if off else FOREVER))
        if not off or (missing and len(missing) == sum(map(bool, cpu.pending))):
            yield from missing
        elif cpu.hardirq:
            yield Edge(node, ("irq", number), "irqs", f"cpus[{number}].hardirq", where, 0,
                       f"cpu {number} is in an interrupt handler, last seen at {where}{self.host(cpu)}")
        else:
            yield Edge(node, ("task", cpu.current), "irqs", f"cpus[{number}].irqs_off", where, since,
                       f"cpu {number} has interrupts off in {self.comm(cpu.current)}, last seen at {where}"
                       f"{self.host(cpu)}")

    def _frames(self, node: Node, cpu: Cpu, before_ns: int) -> Iterator[Edge]:
        """Interrupts pending on a CPU that takes interrupts, raised before then: their frames have not come."""
        for vector in range(Vector.NR):
            pending = cpu.pending[vector]
            source = (pending & 0xFFFF) - 1
            if pending and not self.in_hand(cpu) and cpu.state != CpuState.DEAD \
                    and cpu.raised_ns[vector] < before_ns:
                holder: Node | None = ("cpu", source) if self.cpu(source) is not None else None
                yield Edge(node, holder, "frame", f"cpus[{cpu.index}].pending[{vector}]", "", cpu.raised_ns[vector],
                           f"cpu {cpu.index} waits for the frame of ticket {pending >> 16} ({REASONS[vector]}), "
                           f"raised {self.ago(cpu.raised_ns[vector])} ago by {self.source(source)}", firm=False)

    def _scheduler(self, node: Node, task: Task, cpu: Cpu) -> Edge:
        running = self.task(cpu.current)
        model = self.machine.header.preempt_model
        name = Preempt(model).name if model in (0, 1, 2) else str(model)
        preemptible, since, state = False, 0, ""
        if running is not None:
            idle = running.sched_class == SchedClass.IDLE or running.program == Program.IDLE
            preemptible = idle or not running.in_kernel or (
                model == Preempt.FULL and not (running.preempt_count or cpu.irqs_off or cpu.hardirq)
                and running.sched_class == SchedClass.FAIR)
            # A stopper goes first: since it was woken, whoever runs has not called schedule().
            woken = task.since_ns if task.sched_class == SchedClass.STOP else 0
            since = running.wait_ns if running.nterms else woken
            state = (f"need_resched {cpu.need_resched}, preempt_count {running.preempt_count}, irqs "
                     f"{'off' if cpu.irqs_off else 'on'}, {'kernel' if running.in_kernel else 'user'} mode")
        long = f" for {self.ago(since)}" if since else ""
        return Edge(node, ("task", cpu.current), "scheduler", f"cpus[{cpu.index}].current", "schedule", since,
                    f"{self.node(node)} is runnable on cpu {cpu.index} but task {self.comm(cpu.current)} has not "
                    f"called schedule(){long} and the model is PREEMPT_{name} ({state}){self.host(cpu)}",
                    firm=not preemptible)

    # --- wait records --------------------------------------------------------------------------------------

    def _terms(self, node: Node, task: Task) -> Iterator[Edge]:
        terms = [(task.word[term], self.place(task.word[term])) for term in range(min(task.nterms, len(task.op)))]
        owed = [(word, place) for word, place in terms
                if place[0] != "header" and (place[0], place[2]) not in IDLE_WAITS]
        firm = len(owed) == 1 and all(place is owed[0][1] or place[0] == "header" for _, place in terms)
        firm = firm and not task.deadline_ns and owed[0][1][0] not in GUESSED
        where = self.site(task.why)
        who = f"cpu {task.cpu} ({task.comm}) waits" if task.busy else f"task {task.comm} on cpu {task.cpu} sleeps"
        for word, place in owed:
            name = self.word_name(word)
            for holder, reason in holders_of(self, place):
                yield Edge(node, holder, _KINDS.get(place[0], "wait"), name, where, task.wait_ns,
                           f"{who} in {where} for {name} since {self.ago(task.wait_ns)}: {reason}",
                           firm)
