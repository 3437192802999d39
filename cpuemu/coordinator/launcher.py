"""The launcher's half of a run: power on, watch, clean up, judge.  It never trusts the others to be alive.

It forks the coordinator while it has no thread, reaps whoever is left as their subreaper, and always ends with a
verdict.  Ctrl-C stops the machine in order; a second one kills it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from cpuemu.arch.ram import RamFile
from cpuemu.coordinator.coordinator import Orders, coordinator
from cpuemu.coordinator.hotplug_plan import Event
from cpuemu.coordinator.outcome import Outcome
from cpuemu.coordinator.power_on import STDERR, remove_sockets, socket_directory
from cpuemu.coordinator.processes import adopt_orphans, kill, start
from cpuemu.coordinator.zygote import receive, send
from cpuemu.layout import LINE_END, Counter, MachineState, Mask, name_in

LOOK_MS = 200
REAP_LIMIT_S = 4.0


@dataclass(frozen=True)
class Progress:
    """What the machine shows while it runs."""

    seconds: float
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


@dataclass
class Machinery:
    """A machine with power, not running yet."""

    run_dir: Path
    image: RamFile
    orders: Orders
    events: Sequence[Event]


def save_configuration(run_dir: Path, configuration: dict[str, Any]) -> None:
    """machine.msgpack: every option, for whoever reads the run later."""
    (run_dir / "machine.msgpack").write_bytes(msgpack.packb(configuration))


def run(run_dir: Path, image: RamFile, orders: Callable[[str], Orders], events: Sequence[Event],
        show: Callable[[Progress], None]) -> Outcome:
    """Run the machine to its end.  Nothing is left behind: no process, no socket."""
    adopt_orphans()
    sockets = socket_directory()
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    started = time.monotonic()
    try:
        with _interrupts() as interrupted:
            pid = start("cpuemu coordinator", _coordinator, run_dir / STDERR, mine, orders(str(sockets)), events, theirs,
                        os.getpid())
            theirs.close()
            outcome = _watch(image, pid, mine, interrupted, show, started)
            _reap(image, pid)
    finally:
        mine.close()
        remove_sockets(sockets)
    if not outcome.seconds:
        outcome.seconds = time.monotonic() - started
    return outcome


def _coordinator(log: Path, mine: socket.socket, orders: Orders, events: Sequence[Event], theirs: socket.socket,
                 launcher: int) -> None:
    # What the machine's processes say on stderr goes into the run directory, not between the launcher's lines.
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    mine.close()
    coordinator(orders, events, theirs, launcher)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[float]]:
    """Times of Ctrl-C and SIGTERM, instead of exceptions anywhere."""
    times: list[float] = []
    previous = {each: signal.signal(each, lambda *_: times.append(time.monotonic()))
                for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield times
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(image: RamFile, pid: int, channel: socket.socket, interrupted: list[float],
           show: Callable[[Progress], None], started: float) -> Outcome:
    """Until the coordinator says how it ended, or is dead."""
    pidfd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(channel, select.POLLIN)
    told = 0
    try:
        while True:
            ready = dict(poller.poll(LOOK_MS))
            if channel.fileno() in ready:
                with contextlib.suppress(ConnectionResetError):
                    message = receive(channel)
                    if message is not None:
                        return Outcome(**message["outcome"])
                poller.unregister(channel)
            if pidfd in ready:
                return Outcome("coordinator-died", "coordinator", "the coordinator died")
            if len(interrupted) > told:
                told = len(interrupted)
                if told == 1:
                    with contextlib.suppress(OSError):
                        send(channel, {"stop": True})
                else:
                    kill(pid)
                    return Outcome("interrupted", "launcher", "interrupted twice: killed")
            show(progress_of(image, time.monotonic() - started))
    finally:
        os.close(pidfd)


def progress_of(image: RamFile, seconds: float, note: str = "") -> Progress:
    """A look at the machine, from RAM alone."""
    machine = image.machine
    header = machine.header
    counters = [sum(cpu.counters[number] for cpu in machine.cpus)
                for number in (Counter.ALLOC, Counter.FREE, Counter.IPI_TAKEN)]  # fmt: skip
    lines = [stream.next_line for stream in machine.streams]
    total = max((machine.ops[stream.first + stream.count - 1].line for stream in machine.streams if stream.count),
                default=0)  # fmt: skip
    least = min(lines, default=0)
    hotplug = f"cpu {machine.hotplug.cpu} {'online' if machine.hotplug.up else 'offline'}" if machine.hotplug.busy else ""
    stopped = [cpu.index for cpu in machine.cpus if cpu.host_stopped]
    if stopped:
        note = f"host-stopped: cpu {', '.join(map(str, stopped))}"
    state = header.state
    return Progress(
        seconds=seconds, phase=name_in(MachineState, state).lower(),
        done=total if least == LINE_END else min(least, total), total=total,
        online=sum(bits.bit_count() for bits in machine.cpumasks[Mask.ONLINE].bits), cpus=machine.dims.cpus,
        allocs=counters[0], frees=counters[1], ipis=counters[2], hotplug=hotplug, note=note,
    )  # fmt: skip


def _reap(image: RamFile, coordinator_pid: int) -> None:
    """Everybody's end: descendants whose parents are dead are our children now.  Who stays is killed."""
    end = time.monotonic() + REAP_LIMIT_S
    killed = False
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        if time.monotonic() > end - (REAP_LIMIT_S / 2) and not killed:
            killed = True
            for child in _children():
                kill(child)
        if time.monotonic() > end:
            return
        select.poll().poll(5)


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]
