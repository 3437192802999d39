"""The zygote: forks CPUs on request, is their parent, reaps them, reports true exit statuses.

It has everything imported, no thread and no ZeroMQ context.  It watches the launcher too: a coordinator that does not
act within two seconds of the launcher's death (it may be stopped) is killed, and everything with it.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from cpuemu.coordinator.processes import die_with, gone, kill, title

COORDINATOR_GRACE_S = 2.0


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
    data = channel.recv(65536)
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
    _prepare(nursery)
    gc.collect()
    gc.freeze()
    send(channel, {"ready": os.getpid()})
    _Zygote(nursery, channel, coordinator, launcher_fd, entry).run()


def _prepare(nursery: Nursery) -> None:
    # After the last import: the table of sites is complete, and every CPU inherits these numbers.
    from cpuemu.arch.ram import open_ram
    from cpuemu.kernel.smpboot import smp_prepare_cpus

    smp_prepare_cpus(open_ram(Path(nursery.run_dir)).machine)


class _Zygote:
    def __init__(self, nursery: Nursery, channel: socket.socket, coordinator: int, launcher_fd: int,
                 entry: Any) -> None:
        self.nursery, self.channel, self.coordinator, self.launcher_fd = nursery, channel, coordinator, launcher_fd
        self.entry = entry
        self.children: dict[int, tuple[int, int, int]] = {}
        """pidfd -> (pid, cpu, generation)"""
        self.poller = select.poll()
        self.poller.register(channel, select.POLLIN)
        self.poller.register(launcher_fd, select.POLLIN)

    def run(self) -> None:
        while True:
            for descriptor, _ in self.poller.poll():
                if descriptor == self.channel.fileno():
                    if not self._obey(receive(self.channel)):
                        return
                elif descriptor == self.launcher_fd:
                    self._launcher_died()
                else:
                    self._reap(descriptor)

    def _obey(self, message: Any) -> bool:
        if message is None:
            return False
        if "start" in message:
            self._fork(*message["start"])
        elif "kill" in message:
            for pid, cpu, _ in self.children.values():
                if message["kill"] is None or cpu == message["kill"]:
                    kill(pid)
        elif "quit" in message:
            return False
        return True

    def _fork(self, cpu: int, generation: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os._exit(self._cpu(cpu, generation, parent))
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = (pid, cpu, generation)
        self.poller.register(pidfd, select.POLLIN)

    def _cpu(self, cpu: int, generation: int, parent: int) -> int:
        """In the child: nothing of the zygote's or of a sibling's stays open."""
        try:
            die_with(parent)
            self.channel.close()
            os.close(self.launcher_fd)
            for pidfd in self.children:
                os.close(pidfd)
            title(f"cpuemu cpu {cpu} gen {generation}")
            run: Callable[..., int] = self.entry.main
            each = self.nursery
            return run(self.entry.Boot(
                cpu=cpu, generation=generation, run_dir=each.run_dir, socket_dir=each.socket_dir,
                doorbells=each.doorbells, lifeline=each.lifeline, profile=each.profile, policy=each.policy,
                workload_path=each.workload_path,
            ))  # fmt: skip
        except BaseException:
            import traceback

            traceback.print_exc()
            return 70

    def _reap(self, pidfd: int) -> None:
        pid, cpu, generation = self.children.pop(pidfd)
        self.poller.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        send(self.channel, {"exit": [cpu, generation, pid, os.waitstatus_to_exitcode(status)]})

    def _launcher_died(self) -> None:
        self.poller.unregister(self.launcher_fd)
        mine = os.pidfd_open(self.coordinator)
        end = time.monotonic() + COORDINATOR_GRACE_S
        poller = select.poll()
        poller.register(mine, select.POLLIN)
        poller.register(self.channel, select.POLLIN)
        while time.monotonic() < end and not gone(mine):
            for descriptor, _ in poller.poll(100):
                if descriptor == self.channel.fileno() and not self._obey(receive(self.channel)):
                    os._exit(0)
            for pidfd in [each for each in self.children if gone(each)]:
                self._reap(pidfd)
        kill(self.coordinator)
        os._exit(1)
