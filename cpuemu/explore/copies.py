"""The processes of an explored machine: brought up once, and each schedule runs in copies of them.

A process that *stands by* has come to a point, closed its interrupt controller (no thread of ZeroMQ's is left in it),
and sleeps on a socket.  Whoever asks it there gets the pid of a copy, which has all that it had: kernel stacks with the
greenlets that they are, variables of Python's, of the kernel, of a policy or a workload of the user's.  So each
schedule begins exactly as the one before began, and one that is over leaves nothing behind: no cleanup of its copies
runs.  A copy that waits for the baton goes back to where it was made, memory and registers (core/rewind.h): that costs
half of a new one.  One that does not, since it is dead, has lent its CPU, or keeps tasks, is killed where it stands.

One process more, the *spare*, stands by for CPUs whose own process keeps tasks when they come back.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpuemu.arch.apic import Apic
from cpuemu.arch.baton import Baton
from cpuemu.arch.controlled import GO_BACK, Clock, ControlledGate, DecidedFaults, no_copy
from cpuemu.arch.cpu import PowerOff
from cpuemu.arch.lending import run
from cpuemu.arch.ram import open_ram, open_rings
from cpuemu.coordinator.host_time import process_state
from cpuemu.coordinator.processes import die_with, kill, start, title
from cpuemu.core import CAN_REWIND, rewind, rewind_here
from cpuemu.kernel.sched import CpuOffline
from cpuemu.layout import Machine, ProcessState
from cpuemu.scenarios.base import Scenario
from cpuemu.workloads.python_task import Guarded

ASKED = struct.Struct("iiI")
"""CPU, entry and generation of a spare's copy; a CPU's own process knows them."""
COPIED = struct.Struct("i")
LOOK_MS = 500


class Template:
    """A process that stands by, as the conductor has it."""

    def __init__(self, name: str, target: Callable[..., None], *args: Any) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = start(name, target, *args, theirs, os.getpid())
        theirs.close()

    def ask(self, cpu: int = 0, entry: int = 0, generation: int = 0) -> None:
        """Have it make a copy of itself."""
        with contextlib.suppress(BrokenPipeError):  # ``copied`` says so
            self.channel.send(ASKED.pack(cpu, entry, generation))

    def copied(self) -> int:
        """The copy's pid."""
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        while not poller.poll(LOOK_MS) and process_state(self.pid) not in ("", "Z"):
            pass
        said = b""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):  # it died, with our question read or unread
            said = self.channel.recv(COPIED.size, socket.MSG_DONTWAIT)
        if not said:
            raise RuntimeError(f"process {self.pid}, which is to be copied, has died")
        pid, = COPIED.unpack(said)
        return int(pid)

    def end(self) -> None:
        kill(self.pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.channel.close()


class Processes:
    """All of a machine's.  Context: forked before there is a ZeroMQ context in this process."""

    def __init__(self, scenario: Scenario, boot: Any, baton: Baton, clock: Clock, stacks: bool) -> None:
        made = _Made(scenario, baton, clock, stacks)
        self.templates = {cpu: Template(f"cpuemu cpu {cpu} gen 1", _cpu, made, replace(boot, cpu=cpu, process=cpu))
                          for cpu in range(scenario.cpus) if cpu not in scenario.absent}
        self.spare = Template("cpuemu spare", _spare, made, boot) if any(up for _, up in scenario.requests) else None
        self.copies: dict[int, int] = {}
        """Of the schedule under way: entry in RAM to pid."""

    def pid(self, entry: int) -> int:
        """Of whoever runs in an entry of RAM."""
        return self.copies[entry] if self.copies else self.templates[entry].pid

    def copy(self, machine: Machine, baton: Baton, alive: Callable[[int], bool]) -> None:
        """A copy of each CPU, at its point.  Those of the schedule before go back there if they can, or are ended."""
        back = {entry for entry in self.copies if self._can_go_back(machine, entry) and baton.ask(entry, GO_BACK)}
        if others := self.copies.keys() - back:
            self.end_copies(*others)
        new = [cpu for cpu in self.templates if cpu not in self.copies]
        for cpu in new:
            baton.grant(cpu)
            self.templates[cpu].ask()
        self.copies |= {cpu: self.templates[cpu].copied() for cpu in new}
        for cpu in new:
            baton.await_back(cpu, alive)

    def _can_go_back(self, machine: Machine, entry: int) -> bool:
        """Whether a copy waits for the baton of its own CPU: at a point, parked, or at the machine's end."""
        cpu = machine.cpus[entry] if entry in self.templates else None
        return (CAN_REWIND and cpu is not None and cpu.runner == entry
                and machine.processes[entry].state in (ProcessState.RUNNING, ProcessState.PARKED)
                and process_state(self.copies[entry]) not in ("", "Z"))

    def tell(self, machine: Machine) -> None:
        """Who they are, into RAM."""
        for entry, pid in self.copies.items():
            machine.processes[entry].pid = machine.cpus[entry].pid = pid

    def copy_spare(self, cpu: int, entry: int, generation: int) -> None:
        assert self.spare is not None
        self.spare.ask(cpu, entry, generation)
        self.copies[entry] = self.spare.copied()

    def end_copies(self, *entries: int) -> None:
        """Kill all, or some; none of them does anything after this.

        Their templates reap them, when they are asked for another one: until then a pid is theirs.
        """
        ends = []
        for pid in [self.copies.pop(entry) for entry in entries or tuple(self.copies)]:
            ends.append(os.pidfd_open(pid))
            kill(pid)
        for end in ends:
            select.select([end], [], [])
            os.close(end)

    def end(self) -> None:
        self.end_copies()
        for template in (*self.templates.values(), *filter(None, [self.spare])):
            template.end()


class _Made:
    """What all processes of a machine are forked with."""

    def __init__(self, scenario: Scenario, baton: Baton, clock: Clock, stacks: bool) -> None:
        self.scenario, self.baton, self.clock, self.stacks = scenario, baton, clock, stacks


def _copy(channel: socket.socket, goes_back: bool = False) -> tuple[int, int, int]:
    """Stand by.  Returns in each copy, with what was asked for; in one that ``goes_back``, each time that it does."""
    template = os.getpid()
    gc.collect()
    gc.freeze()  # what a copy's collector does not look at stays shared with us
    while asked := channel.recv(ASKED.size):
        with contextlib.suppress(ChildProcessError):  # those of schedules that are over
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        pid = os.fork()
        if not pid:
            die_with(template)
            gc.disable()  # what it makes lives for one schedule
            if goes_back:
                rewind_here()
            return ASKED.unpack(asked)
        channel.send(COPIED.pack(pid))
    os._exit(0)  # the conductor has gone


def _cpu(made: _Made, boot: Any, channel: socket.socket, parent: int) -> None:
    """A CPU's process, from the baton's first touch to the end of the machine.  ``boot``: as workers.entry has it."""
    die_with(parent)

    def stand_by() -> None:
        made.baton.stand_by(boot.cpu)
        _copy(channel, CAN_REWIND)

    made.baton.wait(boot.cpu)
    _lives(made, boot, stand_by)


def _spare(made: _Made, boot: Any, channel: socket.socket, parent: int) -> None:
    """A process for a CPU whose own one keeps tasks when it comes back."""
    die_with(parent)
    cpu, entry, generation = _copy(channel)
    title(f"cpuemu cpu {cpu} gen {generation}")
    made.baton.wait(cpu)
    _lives(made, replace(boot, cpu=cpu, process=entry, generation=generation))


def _lives(made: _Made, boot: Any, stand_by: Callable[[], None] = no_copy) -> None:
    """One life of the CPU after the other.  Context: it has the baton."""
    entry = importlib.import_module("workers.entry")  # by name: cpuemu never imports workers
    boots, park = importlib.import_module("workers.boot"), importlib.import_module("workers.park")
    image, rings = open_ram(Path(boot.run_dir)), open_rings(Path(boot.run_dir))
    lives = []  # greenlets that are collected run their cleanup: no CPU that has left may do that
    apics: list[Apic] = []

    def go_back() -> None:
        for apic in apics:
            apic.close(linger_ms=0)  # ends ZeroMQ's threads: a process goes back alone
        rewind()

    while True:
        gate = ControlledGate(made.baton, made.clock, made.stacks, stand_by, go_back)
        cpu = entry.plug_in(boot, image, rings, gate)
        lives.append(cpu)
        apics.append(cpu.apic)
        if cpu.faults is not None:
            cpu.faults, cpu.apic.wire = DecidedFaults(cpu, gate), None
        if made.scenario.tasks:
            cpu.workload = Guarded(made.scenario, Path(made.scenario.name))
        cpu.core.control()
        try:
            (boots.secondary_processor if boot.cpu else boots.boot_processor)(cpu)
            run(cpu)
        except CpuOffline:
            pass
        except PowerOff:
            made.baton.leave(cpu.number)
            break
        try:
            if not park.play_dead(cpu):
                return  # it had kept tasks, and its CPU has a new process
        except PowerOff:
            return
        if made.baton.wait(boot.cpu) == GO_BACK:
            go_back()
        boot = replace(boot, generation=image.machine.processes[boot.process].generation)
    if not cpu.borrowed and made.baton.wait(boot.cpu) == GO_BACK:
        go_back()
