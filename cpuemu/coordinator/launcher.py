"""The launcher's half of a run: power on, watch, clean up.  It never trusts the others to be alive.

It forks the coordinator while it has no thread, reaps whoever is left as their subreaper, and always ends with an
outcome.  Ctrl-C (or SIGTERM) stops the machine in order; a second one kills it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cpuemu.arch.ram import RamFile
from cpuemu.coordinator.coordinator import Orders, coordinator
from cpuemu.coordinator.host_time import process_state
from cpuemu.coordinator.hotplug_plan import Event
from cpuemu.coordinator.interrupts import interrupts
from cpuemu.coordinator.last_seen import machine_last_seen, process_last_seen
from cpuemu.coordinator.outcome import Outcome
from cpuemu.coordinator.power_on import STDERR, remove_sockets, socket_directory
from cpuemu.coordinator.processes import adopt_orphans, children, exit_status, kill, start, status_text
from cpuemu.coordinator.zygote import receive, send
from cpuemu.core import now
from cpuemu.kernel.hotplug_rows import row_under_way
from cpuemu.layout import LINE_END, Counter, Machine, MachineState, Mask

LOOK_MS = 200
REAP_LIMIT_S = 2.0
COORDINATOR_GRACE_S = 2.0
DEFECT_STATUS = 70


@dataclass(frozen=True)
class Progress:
    """What the machine shows while it runs.  ``running``: seconds of ``seconds`` since all CPUs were up."""

    seconds: float
    running: float
    phase: str
    done: int
    total: int
    online: int
    cpus: int
    allocs: int
    frees: int
    ipis: int
    hotplug: str
    note: str


def run(run_dir: Path, image: RamFile, orders: Callable[[str], Orders], events: Sequence[Event],
        show: Callable[[Progress], None]) -> Outcome:
    """Run the machine to its end.  Nothing is left behind: no process, no socket.

    ``orders`` is given the sockets' directory.
    Context: this process has no thread and no ZeroMQ context.  Raises UserError where sockets have no place.
    """
    adopt_orphans()
    sockets = socket_directory()
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    started = time.monotonic()
    try:
        with interrupts() as interrupted:
            pid = start("cpuemu coordinator", _coordinator, run_dir / STDERR, mine, orders(str(sockets)), events,
                        theirs, os.getpid())
            theirs.close()
            outcome = _Watch(image, pid, mine, interrupted, show, started).until_over()
            _reap()
    finally:
        mine.close()
        remove_sockets(sockets)
    if not outcome.seconds:
        outcome.seconds = time.monotonic() - started
    return outcome


def _coordinator(log: Path, mine: socket.socket, orders: Orders, events: Sequence[Event], theirs: socket.socket,
                 launcher: int) -> None:
    # What the machine's processes say goes into the run directory, not between the launcher's lines; and none of
    # them keeps the launcher's terminal or pipes open.
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, target in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(number, target)
    mine.close()
    coordinator(orders, events, theirs, launcher)


class _Watch:
    """The launcher, waiting for the coordinator's word or its death."""

    def __init__(self, image: RamFile, pid: int, channel: socket.socket, interrupted: list[float],
                 show: Callable[[Progress], None], started: float) -> None:
        self.image, self.pid, self.channel, self.interrupted = image, pid, channel, interrupted
        self.show, self.started, self.told, self.orphaned = show, started, 0, 0.0

    def until_over(self) -> Outcome:
        pidfd = os.pidfd_open(self.pid)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.register(self.channel, select.POLLIN)
        try:
            while True:
                ready = dict(poller.poll(LOOK_MS))
                if self.channel.fileno() in ready:
                    outcome = self._word()
                    if outcome is not None:
                        return self._after(outcome, pidfd)
                    poller.unregister(self.channel)
                if pidfd in ready:
                    return _death(pidfd, self.image.machine)
                if self._orphans():
                    kill(self.pid)
                    where = machine_last_seen(self.image.machine)
                    return Outcome("zygote-died", "zygote",
                                   f"the zygote died while {where}, and the coordinator did not act")
                if len(self.interrupted) > self.told and self._interrupt():
                    return Outcome("interrupted", "launcher", "interrupted twice: the machine was switched off hard")
                self.show(progress_of(self.image.machine, time.monotonic() - self.started, now(), self._note()))
        finally:
            os.close(pidfd)

    def _word(self) -> Outcome | None:
        """What the coordinator says at the end; None when it hung up."""
        message = receive(self.channel)
        return Outcome(**message["outcome"]) if message is not None else None

    def _after(self, outcome: Outcome, pidfd: int) -> Outcome:
        """What it comes to when the coordinator has had its last word: killed even then, the run has not ended well."""
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if outcome.kind in ("finished", "interrupted") and poller.poll(int(REAP_LIMIT_S * 1000)):
            status = exit_status(pidfd)
            return outcome if status >= 0 else _coordinator_died(status, self.image.machine)
        return outcome

    def _interrupt(self) -> bool:
        """Tell the coordinator; the second time kill it, and with it everybody: True."""
        self.told += 1
        if self.told > 1:
            kill(self.pid)
            return True
        with contextlib.suppress(OSError):  # it is dead: its pidfd says so
            send(self.channel, {"stop": True})
        return False

    def _orphans(self) -> bool:
        """Whether the zygote has been dead for too long, and the coordinator does not act: CPUs come to us then."""
        if children() == [self.pid] and not any(process_state(pid) == "Z" for pid in children(self.pid)):
            self.orphaned = 0.0
        elif not self.orphaned:
            self.orphaned = time.monotonic()
        return bool(self.orphaned) and time.monotonic() - self.orphaned > COORDINATOR_GRACE_S

    def _note(self) -> str:
        for name, pid in (("coordinator", self.pid), *(("zygote", pid) for pid in children(self.pid))):
            if process_state(pid) in ("T", "t"):
                return f"host-stopped: the {name}"
        return "stopping, once more Ctrl-C to switch off hard" if self.told else ""


def _death(pidfd: int, machine: Machine) -> Outcome:
    status = exit_status(pidfd)
    if machine.header.dead_process:
        process = machine.processes[machine.header.dead_process - 1]
        return Outcome("cpu-died", f"cpu {process.cpu}",
                       process_last_seen(machine, process, "the coordinator did not act"))
    if status == DEFECT_STATUS:
        return Outcome("defect", "coordinator", f"the coordinator failed: see {STDERR} in the run directory")
    return _coordinator_died(status, machine)


def _coordinator_died(status: int, machine: Machine) -> Outcome:
    return Outcome("coordinator-died", "coordinator",
                   f"the coordinator died ({status_text(status)}) while {machine_last_seen(machine)}")


def progress_of(machine: Machine, seconds: float, now_ns: int, note: str = "") -> Progress:
    """A look at the machine, from RAM alone."""
    hotplug = machine.hotplug
    allocs, frees, ipis = (sum(cpu.counters[number] for cpu in machine.cpus)
                           for number in (Counter.ALLOC, Counter.FREE, Counter.IPI_TAKEN))
    least = min((stream.next_line for stream in machine.streams), default=0)
    total = max((machine.ops[stream.first + stream.count - 1].line for stream in machine.streams if stream.count),
                default=0)
    stopped = [str(cpu.index) for cpu in machine.cpus if cpu.host_stopped]
    if stopped:
        note = f"host-stopped: cpu {', '.join(stopped)}"
    state = machine.header.state
    return Progress(
        seconds=seconds, running=(now_ns - machine.header.ready_ns) / 1e9 if machine.header.go else 0.0,
        phase=MachineState(state).name.lower() if state in list(MachineState) else "?",
        done=total if least == LINE_END else min(least, total), total=total,
        online=sum(bits.bit_count() for bits in machine.cpumasks[Mask.ONLINE].bits), cpus=machine.dims.cpus,
        allocs=allocs, frees=frees, ipis=ipis, note=note,
        hotplug=f"cpu {hotplug.cpu} {'online' if hotplug.up else 'offline'}: {row_under_way(hotplug)}"
        if hotplug.busy else "",
    )


def _reap() -> None:
    """Everybody's end: descendants whose parents are dead are our children now.  Who stays is killed."""
    end = time.monotonic() + REAP_LIMIT_S
    while time.monotonic() < end:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        if time.monotonic() > end - REAP_LIMIT_S / 2:
            for child in children():
                kill(child)
        select.poll().poll(5)
