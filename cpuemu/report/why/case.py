"""What is known of a run's end, gathered once: the finding, the waits that matter, and what they come down to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cpuemu.events import Event, Ring
from cpuemu.kernel.hung_task import reach
from cpuemu.kernel.wait_graph import Edge
from cpuemu.kernel.wait_records import Node
from cpuemu.layout import NR_FINDINGS, CpuState, Finding, MachineState, Severity
from cpuemu.report.crash.reading import Reading
from cpuemu.report.records import Record, records

LONG_NS = 500_000_000
"""Of a machine that nobody judged: a wait this old is worth telling."""
TOLD = (Event.CPUEMU_FAULT, Event.CPUHP_ENTER, Event.CPUEMU_STOP_STATE, Event.CPUEMU_CPU_OFFLINE,
        Event.CPUEMU_CPU_ONLINE, Event.MARK_VICTIM)
"""Events that a story may have in it."""


@dataclass
class Case:
    """One run's end."""

    reading: Reading

    @cached_property
    def finding(self) -> Finding | None:
        """What ended the machine, else the first that was found; where a process's death ended it, not the latter."""
        machine = self.reading.machine
        complete = [machine.findings[number] for number in range(min(machine.header.nr_findings, NR_FINDINGS))
                    if machine.findings[number].done]
        fatal = [entry for entry in complete if entry.severity >= Severity.FATAL]
        died = machine.header.dead_process or self.reading.image.verdict.get("verdict") == "host-error"
        return next(iter(fatal if died else [*fatal, *complete]), None)

    @cached_property
    def moment_ns(self) -> int:
        """When it ended: at the finding; else at the latest time that stands anywhere."""
        if self.finding is not None:
            return self.finding.time_ns
        last = max((record.time_ns for record in self.slow_records[-1:]), default=0)
        return max(last, self.reading.now_ns)

    @cached_property
    def slow_records(self) -> list[Record]:
        return [record for record in records(self.reading.image, rings=(Ring.SLOW,)) if record.event in TOLD]

    # --- who stands still ----------------------------------------------------------------------------------

    @cached_property
    def waits(self) -> list[Edge]:
        """The waits that the end comes of: the cycle; else what those of the finding wait for; else the long ones."""
        reading = self.reading
        if reading.cycle:
            return reading.cycle
        nodes: set[Node] = set()
        for start in self._concerned():
            nodes |= reach(reading.edges, start)
        # Whoever waits for a CPU that was never told is part of it, whether the finding names them or not.
        silent = {edge.waiter for edge in reading.edges if edge.waiter in nodes and edge.kind == "frame"}
        found = [edge for edge in reading.edges if edge.waiter in nodes or edge.holder in silent]
        if not found and (self.finding is None or self.finding.severity < Severity.FATAL):
            old = [edge for edge in reading.edges if edge.since_ns and reading.now_ns - edge.since_ns > LONG_NS]
            nodes = set[Node]().union(*(reach(reading.edges, edge.waiter) for edge in old))
            found = [edge for edge in reading.edges if edge.waiter in nodes]
        return found

    def _concerned(self) -> list[Node]:
        """Where a finding was made, and of a CPU that died: who spins for what it holds."""
        machine, nodes = self.reading.machine, list[Node]()
        if self.finding is not None:
            nodes += [("task", number) for number in (self.finding.task, *self.finding.tasks)
                      if number < machine.dims.tasks]
            nodes += [("cpu", cpu) for cpu in self.reading.graph.bits(self.finding.cpus)]
        return nodes + [edge.waiter for edge in self.reading.edges
                        if edge.kind != "scheduler" and self.dead(edge.holder)]

    def dead(self, node: Node | None) -> bool:
        """Whether somebody who is waited for is a CPU whose process died, or runs on one."""
        cpu = self.cpu_of(node)
        return cpu is not None and self.reading.machine.cpus[cpu].state == CpuState.DEAD

    def cpu_of(self, node: Node | None) -> int | None:
        if node is None:
            return None
        kind, number = node
        task = self.reading.graph.task(number) if kind == "task" else None
        cpu = task.cpu if task is not None else number
        return cpu if cpu < self.reading.machine.dims.cpus else None

    @cached_property
    def ends(self) -> list[Node]:
        """Those who are waited for and wait for nobody: all comes down to them."""
        waiting = {edge.waiter for edge in self.reading.edges}
        return list(dict.fromkeys(edge.holder for edge in self.waits
                                  if edge.holder is not None and edge.holder not in waiting))

    # --- how it ended --------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the machine itself has ended, in order or not."""
        return self.reading.machine.header.state in (MachineState.OFF, MachineState.FAILED)

    @property
    def well(self) -> bool:
        """Nothing to explain: the verdict is ok, or it was stopped in order, and no oracle spoke."""
        verdict = self.reading.image.verdict.get("verdict")
        return verdict in ("ok", "interrupted") and self.finding is None and not self.waits
