"""The zygote: forks CPUs on request, is their parent, reaps them, reports true exit statuses.

It has everything imported, no thread and no ZeroMQ context.  It watches the launcher too: a coordinator that has not
ended the run within two seconds of the launcher's death, or three of a CPU's, or one when it is stopped, is killed, and
everything with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from cpuemu.arch.ram import open_ram
from cpuemu.coordinator.host_time import process_state
from cpuemu.coordinator.last_seen import mark_dead
from cpuemu.coordinator.processes import die_with, kill, title
from cpuemu.kernel.smpboot import smp_prepare_cpus
from cpuemu.layout import Machine

DEFECT_STATUS = 70
LAUNCHER_GRACE_S = 2.0
CPU_GRACE_S = 3.0
STOPPED_GRACE_S = 1.0
"""Of a coordinator that is stopped: it will not act, and a loaded host needs the rest of the five seconds."""
ORDERLY = (0, 3)
"""Exit statuses of a CPU that left because it was told to: the machine is off, or has failed."""


@dataclass(frozen=True)
class Nursery:
    """What every CPU process is given."""

    run_dir: str
    socket_dir: str
    doorbells: list[int]
    lifeline: int
    profile: str
    policy: str | None
    workload_path: str | None


def receive(channel: socket.socket) -> Any:
    """One message, None when the other side is gone."""
    try:
        data = channel.recv(65536)
    except ConnectionResetError:  # it died with messages of ours unread
        return None
    return msgpack.unpackb(data) if data else None


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.send(msgpack.packb(message))


def zygote(nursery: Nursery, channel: socket.socket, coordinator: int, launcher_fd: int, closed: list[int]) -> None:
    """The process's main function; ends with os._exit in its caller.  ``closed``: descriptors that are not for us."""
    die_with(coordinator)
    for descriptor in closed:
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    entry = importlib.import_module("workers.entry")  # by name: cpuemu never imports workers
    machine = open_ram(Path(nursery.run_dir)).machine
    smp_prepare_cpus(machine)  # after the last import: the table of sites is complete, every CPU inherits it
    gc.collect()
    gc.freeze()
    send(channel, {"ready": os.getpid()})
    _Zygote(nursery, channel, coordinator, launcher_fd, machine, entry.main, entry.Boot).run()


class _Zygote:
    def __init__(self, nursery: Nursery, channel: socket.socket, coordinator: int, launcher_fd: int, machine: Machine,
                 main: Callable[[Any], int], boot: Callable[..., Any]) -> None:
        self.nursery, self.channel, self.coordinator, self.launcher_fd = nursery, channel, coordinator, launcher_fd
        self.machine, self.main, self.boot = machine, main, boot
        self.children: dict[int, tuple[int, int]] = {}
        """pidfd -> (pid, entry of the process in RAM)"""
        self.died: int | None = None
        """The first process of a CPU that died out of order."""
        self.deadline: float | None = None
        """When the coordinator must have ended the run."""
        self.poller = select.poll()
        self.poller.register(channel, select.POLLIN)
        self.poller.register(launcher_fd, select.POLLIN)

    def run(self) -> None:
        while self.deadline is None or time.monotonic() < self.deadline:
            for descriptor, _ in self.poller.poll(None if self.deadline is None else 100):
                if descriptor == self.channel.fileno():
                    if not self._obey(receive(self.channel)):
                        return
                elif descriptor == self.launcher_fd:
                    self.poller.unregister(self.launcher_fd)
                    self._expect_the_end(LAUNCHER_GRACE_S)
                else:
                    self._reap(descriptor)
        if self.died is not None:  # for the launcher, which finds a dead coordinator
            mark_dead(self.machine, self.machine.processes[self.died])
        kill(self.coordinator)  # our parent: not reaped by anybody while we live

    def _expect_the_end(self, grace_s: float) -> None:
        if process_state(self.coordinator) in ("T", "t"):
            grace_s = min(grace_s, STOPPED_GRACE_S)
        deadline = time.monotonic() + grace_s
        self.deadline = deadline if self.deadline is None else min(self.deadline, deadline)

    def _obey(self, message: Any) -> bool:
        if message is None:
            return False
        if "start" in message:
            self._fork(*message["start"])
        elif "kill" in message:
            for pid, _ in self.children.values():
                kill(pid)
        elif "quit" in message:
            return False
        return True

    def _fork(self, cpu: int, generation: int, process: int) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            send(self.channel, {"failed": f"no process can be started for cpu {cpu}: {error.strerror}"})
            return
        if pid == 0:
            os._exit(self._cpu(cpu, generation, process, parent))
        # Not left to the child: it may be killed before it can say so.
        self.machine.processes[process].pid = self.machine.cpus[cpu].pid = pid
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = (pid, process)
        self.poller.register(pidfd, select.POLLIN)

    def _cpu(self, cpu: int, generation: int, process: int, parent: int) -> int:
        """In the child: nothing of the zygote's or of a sibling's stays open."""
        try:
            die_with(parent)
            self.channel.close()
            os.close(self.launcher_fd)
            for pidfd in self.children:
                os.close(pidfd)
            title(f"cpuemu cpu {cpu} gen {generation}")
            each = self.nursery
            return self.main(self.boot(
                cpu=cpu, generation=generation, process=process, run_dir=each.run_dir, socket_dir=each.socket_dir,
                doorbells=each.doorbells, lifeline=each.lifeline, profile=each.profile, policy=each.policy,
                workload_path=each.workload_path,
            ))
        except BaseException:
            traceback.print_exc()
            return DEFECT_STATUS

    def _reap(self, pidfd: int) -> None:
        pid, process = self.children.pop(pidfd)
        self.poller.unregister(pidfd)
        os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status not in ORDERLY:
            self.died = process if self.died is None else self.died
            self._expect_the_end(CPU_GRACE_S)
        with contextlib.suppress(OSError):  # the coordinator is dead, and so shall we be
            send(self.channel, {"exit": [process, status]})
