"""The coordinator: firmware, hotplug controller, watchdog.  It holds no emulated lock and never spins.

Phases: boot CPU by CPU, run, stop (tasks end, CPUs go idle), off.  Whatever happens in between (a CPU dies, the
launcher dies, a finding is fatal) leaves the phases by ``Over`` and ends everybody within the grace times.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cpuemu.arch.apic import Apic
from cpuemu.arch.ram import open_ram
from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.deaths import died, failure
from cpuemu.coordinator.hands import PLATFORM_GENERATION, Hands
from cpuemu.coordinator.host_time import process_state, zombie_status
from cpuemu.coordinator.hotplug import Operation
from cpuemu.coordinator.hotplug_plan import Event, Plan, plan_for, possible
from cpuemu.coordinator.last_seen import machine_last_seen
from cpuemu.coordinator.outcome import Outcome
from cpuemu.coordinator.power_on import remove_sockets
from cpuemu.coordinator.processes import children, gone, kill, start, status_text
from cpuemu.coordinator.rest import at_rest, steps
from cpuemu.coordinator.starvation import Starvation
from cpuemu.coordinator.thresholds import thresholds
from cpuemu.coordinator.verdict import judge, save
from cpuemu.coordinator.watchdog import Watchdog
from cpuemu.coordinator.zygote import Nursery, receive, send, zygote
from cpuemu.core import bucket, now
from cpuemu.kernel.hung_task import explain
from cpuemu.layout import (
    Counter,
    CpuState,
    Latency,
    MachineState,
    Process,
    ProcessState,
    nr_processes,
    process_name,
)

LOOK_MS = 100
QUIET_LIMIT_S = 30.0
LEAVE_LIMIT_S = 10.0
BOOT_LIMIT_S = 60.0
LEAVE_GRACE_NS = 1_000_000_000
HELD_UP_NS = 1_000_000_000
"""A look this late means that the host did not let us run."""
FAILED_STATUS, DEFECT_STATUS = 3, 70


@dataclass(frozen=True)
class Orders:
    """What the launcher wants: plain values."""

    run_dir: str
    socket_dir: str
    profile: str
    policy: str | None
    workload_path: str | None
    hotplug: str
    seed: int
    seconds: float | None
    config: LaunchConfig


class Over(Exception):
    """The run is over before its time."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


def coordinator(orders: Orders, events: Sequence[Event], launcher: socket.socket, launcher_pid: int) -> None:
    """The process's main function: runs the machine, sends the outcome to the launcher, who judges it."""
    machine = Coordinator(orders, events, launcher, launcher_pid)
    outcome = machine.run()
    with contextlib.suppress(OSError):
        if outcome.kind == "launcher-died":  # nobody is left to be told: the run directory has the verdict all the same
            save(Path(orders.run_dir), judge(machine.machine, machine.image.mapping, orders.config, outcome))
        else:
            send(launcher, {"outcome": asdict(outcome)})
    sys.stderr.flush()


class Coordinator:
    def __init__(self, orders: Orders, events: Sequence[Event], launcher: socket.socket, launcher_pid: int) -> None:
        self.orders, self.events, self.launcher = orders, events, launcher
        self.image = open_ram(Path(orders.run_dir))
        self.machine = self.image.machine
        self.header = self.machine.header
        cpus = self.machine.dims.cpus
        bells = cpus + 1 + nr_processes(cpus)
        self.doorbells = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(bells)]
        self.bell = self.doorbells[cpus]
        lifeline, self.lifeline = os.pipe()
        self.launcher_fd = os.pidfd_open(launcher_pid)
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        nursery = Nursery(orders.run_dir, orders.socket_dir, self.doorbells, lifeline, orders.profile, orders.policy,
                          orders.workload_path)
        closed = [self.lifeline, self.channel.fileno(), launcher.fileno()]
        self.zygote = start("cpuemu zygote", zygote, nursery, theirs, os.getpid(), self.launcher_fd, closed)
        self.zygote_fd = os.pidfd_open(self.zygote)
        theirs.close()
        os.close(lifeline)
        # From here on there may be a ZeroMQ thread in this process: nobody is forked from it any more.
        self.apic = Apic(self.image.ram, self.machine, cpus, PLATFORM_GENERATION, orders.socket_dir)
        self.hands = Hands(self.machine, self.image.ram, self.apic, self.channel, self.doorbells)
        self.watchdog = Watchdog(self.machine, self.image.ram, self._pid_of,
                                 thresholds(orders.config.watchdog))
        self.starvation = Starvation(self.machine, self._pid_of, orders.seed)
        self.outcome = Outcome("finished")
        self.operation: Operation | None = None
        self.plan: Plan | None = None
        self.stop = ""
        self.looked_ns = self.look_ns = now()
        self.held_up_ns = 0
        self.zygote_ready = False
        self.poller = select.poll()
        for descriptor in (self.bell, self.channel.fileno(), self.launcher.fileno(), self.launcher_fd, self.zygote_fd):
            self.poller.register(descriptor, select.POLLIN)

    def _pid_of(self, process: int) -> int | None:
        return self.machine.processes[process].pid if process in self.hands.alive else None

    # --- phases --------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        try:
            self._boot()
            self._work()
            self.starvation.end(now())
            self._stop()
            self._off()
        except Over as over:
            self._ends_by(over.outcome)
            self.starvation.end(now())
            self._end_everybody()
        if self.header.go:
            self.outcome.seconds = (now() - self.header.ready_ns) / 1e9
        self._dismiss_zygote()
        return self.outcome

    def _ends_by(self, cause: Outcome) -> None:
        self.outcome.kind, self.outcome.who, self.outcome.detail = cause.kind, cause.who, cause.detail

    def _boot(self) -> None:
        self.header.boot_ns = now()
        self._until(lambda: self.zygote_ready, BOOT_LIMIT_S, "the zygote does not answer")
        self.plan = plan_for(self.orders.hotplug, self.machine, self.events, self.orders.seed)
        for cpu in range(self.machine.dims.cpus):
            self.hands.start_process(cpu)
        boot_cpu = self.machine.cpus[0]
        self._until(lambda: boot_cpu.state == CpuState.RUNNING, BOOT_LIMIT_S, "cpu 0 does not boot")
        for cpu in range(1, self.machine.dims.cpus):
            result = self._operate(cpu, up=True)
            if result:
                raise Over(Outcome("hung", f"cpu {cpu}", f"cpu {cpu} did not come online at boot (errno {-result})"))
        self.header.ready_ns = self.header.pace_start_ns = now()
        self.outcome.boot_seconds = (self.header.ready_ns - self.header.start_ns) / 1e9
        self.header.go = 1
        self.header.state = MachineState.RUNNING
        self.hands.ring_all()

    def _work(self) -> None:
        assert self.plan is not None
        limit = self.orders.seconds
        end = self.header.ready_ns + int(limit * 1e9) if limit is not None else 0
        while not self.stop and not (end and now() >= end):
            if self.operation is None and self._over():
                return
            self._hotplug(self.plan)
            self.starvation.turn(now())
            self._turn(self._timeout_ms(end))

    def _over(self) -> bool:
        """All tasks have ended, and the recording's hotplug operations are done."""
        header = self.header
        if not header.nr_workload or header.tasks_done < header.nr_workload:
            return False
        return self.orders.seconds is not None or self.plan is None or self.plan.over()

    def _timeout_ms(self, end: int) -> int:
        plan = self.plan.wake_ns() if self.plan and not self.operation else 0
        times = [each for each in (end, plan, self.starvation.wake_ns()) if each]
        soonest = min([LOOK_MS, *(max(0, (each - now()) // 1_000_000 + 1) for each in times)])
        return int(soonest)

    def _stop(self) -> None:
        if self.operation is not None:
            self._until(self._advance, BOOT_LIMIT_S, "a hotplug operation does not end")
        if self.stop:
            self.outcome.kind = self.stop
        self.header.state = MachineState.STOPPING
        self.hands.ring_all()
        self._until(self._quiet, QUIET_LIMIT_S, "the CPUs do not come to rest")

    def _quiet(self) -> bool:
        """At rest from the first CPU to the last with nobody having moved meanwhile.

        One that was looked at early may have been called by one that was looked at late.
        """
        before = steps(self.machine)
        return at_rest(self.machine) and steps(self.machine) == before

    def _off(self) -> None:
        self.hands.leaving.update(self.hands.alive)
        self.header.state = MachineState.OFF
        self.hands.ring_all()
        while left := len(self.hands.alive):  # the limit is for each: many processes take a loaded host long to end
            self._until(partial(self._fewer_than, left), LEAVE_LIMIT_S, self._still_there, "defect")

    def _fewer_than(self, left: int) -> bool:
        return len(self.hands.alive) < left

    def _still_there(self) -> str:
        names = (process_name(self.machine.processes[entry]) for entry in self.hands.alive)
        return f"the machine is off, and processes do not end: {', '.join(names)}"

    # --- hotplug -------------------------------------------------------------------------------------------

    def _hotplug(self, plan: Plan) -> None:
        moment = now()
        if self.operation is not None:
            if self._advance() and plan.finished(moment):
                self.hands.ring_all()
            return
        change = plan.due(moment)
        if change is None:
            return
        if possible(self.machine, change) and (not change.up or self.hands.room()):
            self.operation = Operation(self.machine, self.hands, change.cpu, change.up)
            self._hotplug(plan)
        else:
            self._skip(change.cpu)
            if plan.finished(moment):
                self.hands.ring_all()

    def _advance(self) -> bool:
        """Move the operation under way; True when it is over."""
        operation = self.operation
        if operation is None:
            return True
        if not operation.advance(now()):
            return False
        if operation.result:
            self._skip(operation.cpu)
        elif self.header.go:
            self._count(operation)
        self.operation = None
        return True

    def _count(self, operation: Operation) -> None:
        """A hotplug operation of the run is done: counted and measured in RAM, under its CPU."""
        kind = Latency.ONLINE if operation.up else Latency.OFFLINE
        self.machine.cpus[operation.cpu].counters[Counter.ONLINE if operation.up else Counter.OFFLINE] += 1
        took = operation.finished_ns - operation.started_ns
        histogram = self.machine.histogram(operation.cpu, kind)
        histogram.n += 1
        histogram.total_ns += took
        histogram.max_ns = max(histogram.max_ns, took)
        histogram.buckets[bucket(took)] += 1

    def _skip(self, cpu: int) -> None:
        """One that this machine cannot do, or that the kernel refused."""
        self.machine.cpus[cpu % self.machine.dims.cpus].counters[Counter.HOTPLUG_SKIPPED] += 1

    def _operate(self, cpu: int, up: bool) -> int:
        operation = self.operation = Operation(self.machine, self.hands, cpu, up)
        self._until(self._advance, BOOT_LIMIT_S, f"cpu {cpu} does not come {'online' if up else 'offline'}")
        return operation.result

    # --- one turn of the loop ------------------------------------------------------------------------------

    def _until(self, done: Callable[[], bool], limit_s: float, what: str | Callable[[], str],
               kind: str = "hung") -> None:
        """Turn until something is so.  The limit is for the machine: time that the host took does not count."""
        end = now() + int(limit_s * 1e9)
        taken = self._host_time()
        while not done():
            if now() > end + self._host_time() - taken:
                said = what if isinstance(what, str) else what()
                raise Over(Outcome(kind, "machine", "; ".join([said, *explain(self.machine, now())])))
            self._turn(20)

    def _host_time(self) -> int:
        return self.held_up_ns + max(cpu.stopped_ns + cpu.starved_ns for cpu in self.machine.cpus)

    def _turn(self, timeout_ms: int) -> None:
        for descriptor, _ in self.poller.poll(timeout_ms):
            if descriptor == self.bell:
                os.eventfd_read(self.bell)
            elif descriptor == self.channel.fileno():
                self._zygote_says(receive(self.channel))
            elif descriptor == self.launcher.fileno():
                message = receive(self.launcher)
                if message is None:
                    self.poller.unregister(self.launcher)
                else:
                    self.stop = "interrupted"
            elif descriptor == self.launcher_fd:
                raise Over(self._gone("launcher"))
            elif descriptor == self.zygote_fd:
                raise Over(self._gone("zygote"))
        if self.header.state == MachineState.FAILED:
            raise Over(failure(self.machine))
        self._look()

    def _look(self) -> None:
        moment = now()
        if moment < self.look_ns:
            return
        late, since, self.looked_ns = moment - self.look_ns, moment - self.looked_ns, moment
        zygote_stopped = process_state(self.zygote) in ("T", "t")
        if late > HELD_UP_NS or zygote_stopped:
            self.held_up_ns += since  # we were stopped, or the zygote is: nobody could go or come meanwhile
        if zygote_stopped:
            self._look_for_the_dead()
        self.watchdog.look(moment)
        # Many CPUs take long to look at: a tenth of a core is enough for a watchdog.
        self.look_ns = moment + max(LOOK_MS * 1_000_000, 10 * (now() - moment))
        if self.watchdog.fatal:
            raise Over(failure(self.machine))

    def _look_for_the_dead(self) -> None:
        """What a stopped zygote does not tell: a CPU that ended, and was not to."""
        pids = children(self.zygote)
        known = {self.machine.processes[entry].pid: entry for entry in reversed(self.hands.alive)}
        # The zygote may be stopped between a fork and the note of its pid: the first one without a process is meant.
        nameless = next((entry for entry in self.hands.alive if self.machine.processes[entry].pid not in pids), None)
        for pid in pids:
            status, entry = zombie_status(pid), known.get(pid, nameless)
            if status is None or entry is None:
                continue
            if not self._in_order(process := self.machine.processes[entry], status):
                raise Over(died(self.image.ram, self.machine, process, status_text(status)))

    def _in_order(self, process: Process, status: int) -> bool:
        """Whether a CPU's process was told to end as it did."""
        return status == 0 and (process.state == ProcessState.GONE or process.index in self.hands.leaving)

    def _zygote_says(self, message: dict[str, Any] | None) -> None:
        if message is None:
            raise Over(self._gone("zygote"))
        if "ready" in message:
            self.zygote_ready = True
            return
        if "failed" in message:
            raise Over(Outcome("defect", "zygote", str(message["failed"])))
        entry, status = message["exit"]
        process = self.machine.processes[entry]
        self.hands.reaped(entry, status)
        if self._in_order(process, status):
            return
        if status == FAILED_STATUS and self.header.state == MachineState.FAILED:
            return
        outcome = died(self.image.ram, self.machine, process, status_text(status))
        raise Over(failure(self.machine) if self.header.last_words or status == DEFECT_STATUS else outcome)

    def _gone(self, who: str) -> Outcome:
        return Outcome(f"{who}-died", who, f"the {who} died while {machine_last_seen(self.machine)}")

    # --- the end -------------------------------------------------------------------------------------------

    def _end_everybody(self) -> None:
        """The machine is dead: freeze the rings, wake everybody, wait a moment, kill who does not leave."""
        self.header.frozen = 1
        if self.header.state != MachineState.OFF:
            self.header.state = MachineState.FAILED
        self.hands.ring_all()
        end = now() + LEAVE_GRACE_NS
        self._drain_until(end)
        if self.hands.alive:
            with contextlib.suppress(OSError):  # the zygote is gone, and its CPUs with it
                send(self.channel, {"kill": None})
            self._drain_until(end + LEAVE_GRACE_NS)

    def _drain_until(self, end_ns: int) -> None:
        while self.hands.alive and not gone(self.zygote_fd) and now() < end_ns:
            self._drain_channel()

    def _drain_channel(self) -> None:
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        poller.register(self.zygote_fd, select.POLLIN)
        for descriptor, _ in poller.poll(50):
            if descriptor == self.channel.fileno():
                message = receive(self.channel)
                if message is None:
                    self.hands.alive.clear()
                elif "exit" in message:
                    self.hands.reaped(*message["exit"])

    def _dismiss_zygote(self) -> None:
        with contextlib.suppress(OSError):
            send(self.channel, {"quit": True})
        poller = select.poll()
        poller.register(self.zygote_fd, select.POLLIN)
        by_us = bool(self.hands.alive) or not poller.poll(1000)  # it does not answer; its CPUs die with it
        if by_us:
            kill(self.zygote)
        status = os.waitstatus_to_exitcode(os.waitpid(self.zygote, 0)[1])
        if status < 0 and not by_us and self.outcome.kind in ("finished", "interrupted"):
            self._ends_by(self._gone("zygote"))
        if gone(self.launcher_fd):
            remove_sockets(Path(self.orders.socket_dir))
