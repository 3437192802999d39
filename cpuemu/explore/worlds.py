"""Worlds: each schedule in a process of its own, and what it says of it.

``run_worlds`` gives results in the order of the runs, however many run at a time.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgpack

from cpuemu.coordinator.power_on import remove_sockets, socket_directory
from cpuemu.coordinator.processes import die_with, exit_status, kill, start
from cpuemu.errors import UserError
from cpuemu.explore import species
from cpuemu.explore.machine import run_schedule
from cpuemu.explore.schedule import Schedule
from cpuemu.explore.signature import signature
from cpuemu.explore.species import Access, Pair
from cpuemu.explore.strategies.base import Event, Search, Strategy
from cpuemu.explore.strategies.replay import Diverged
from cpuemu.layout import Machine
from cpuemu.scenarios.base import Scenario

WORLD_LIMIT_S = 300.0
LOOK_MS = 200


class Interrupted(Exception):
    """Somebody wants it to stop."""


@dataclass
class Result:
    """What a world says of its schedule.

    ``trace``, ``orders``, ``handovers``: hashes of what ran, from fine to coarse (cpuemu.explore.species).
    ``search``: what an exhaustive search has to know of it.  ``ran``: of one that failed, or was watched,
    every step, as the actor and its point.  ``signature``: of one that failed (cpuemu.explore.signature).
    """

    verdict: str
    message: str
    choices: list[int]
    steps: int
    trace: str
    orders: str = ""
    handovers: str = ""
    pairs: list[Pair] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    deliveries: int = 0
    preemptions: int = 0
    signature: str = ""
    ran: list[tuple[int, str]] = field(default_factory=list)
    search: Any = None
    watched: list[str] = field(default_factory=list)
    """What ``watch`` said before each step."""

    @property
    def bad(self) -> bool:
        return self.verdict != "ok"

    @property
    def switches(self) -> int:
        """Steps of another actor than moved before."""
        return sum(one[0] != other[0] for one, other in pairwise(self.ran))


Watch = Callable[[Machine, Sequence[Event]], str]
"""What is to be said of a machine and of who can move, before each step."""


def run_worlds(scenario: Scenario, runs: Iterable[tuple[Strategy, int]], jobs: int, interrupted: Sequence[float] = (),
               watch: Watch | None = None) -> Generator[Result]:
    """The result of each (strategy, seed), in their order, until ``interrupted`` is no longer empty.

    Worlds that were begun are ended whatever happens.
    """
    cores = sorted(os.sched_getaffinity(0))
    begun: deque[World] = deque()
    try:
        for number, (strategy, seed) in enumerate(runs):
            if len(begun) == jobs:
                yield begun[0].result(interrupted)
                begun.popleft()
            begun.append(World(scenario, strategy, seed, cores[number % len(cores)], watch))
        while begun:
            yield begun[0].result(interrupted)
            begun.popleft()
    except Interrupted:
        pass
    finally:
        for world in begun:
            world.end()


def run_world(scenario: Scenario, strategy: Strategy, seed: int) -> Result:
    """One schedule.  Raises UserError."""
    return next(run_worlds(scenario, [(strategy, seed)], 1))


class World:
    """One schedule in a process of its own, because ZeroMQ and a fork do not go together.

    ``core``: where all its processes run; a hand-over within one core costs a quarter of one between two.
    """

    def __init__(self, scenario: Scenario, strategy: Strategy, seed: int, core: int,
                 watch: Watch | None = None) -> None:
        # Ours, not the world's: whoever kills the world leaves nothing behind; if we are killed, the next one sweeps.
        self.directory = socket_directory()
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.pid = start("cpuemu world", _world, scenario, strategy, seed, core, watch, self.directory, theirs,
                         self.channel, os.getpid())
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)
        self.status: int | None = None

    def result(self, interrupted: Sequence[float] = ()) -> Result:
        """Wait for it.  Raises UserError, and Interrupted as soon as that is no longer empty."""
        try:
            said = self._all(interrupted)
        finally:
            self.end()
        if not said:
            raise RuntimeError("the world of a schedule ended without an answer: what it said is above")
        answer: dict[str, Any] = msgpack.unpackb(said)
        if "error" in answer:
            raise UserError(answer["error"])
        return Result(**{**answer, "pairs": [tuple(each) for each in answer["pairs"]],
                         "accesses": [Access(*each) for each in answer["accesses"]],
                         "ran": [tuple(each) for each in answer["ran"]]})

    def _all(self, interrupted: Sequence[float]) -> bytes:
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        parts: list[bytes] = []
        end = time.monotonic() + WORLD_LIMIT_S
        while time.monotonic() < end:
            if interrupted:
                raise Interrupted
            if not poller.poll(LOOK_MS):
                continue
            part = self.channel.recv(1 << 16)
            if not part:
                self._reap()
                return b"".join(parts)
            parts.append(part)
        raise RuntimeError(f"the world of a schedule does not answer within {WORLD_LIMIT_S:.0f} s")

    def _reap(self) -> None:
        try:
            self.status = exit_status(self.pidfd)
        except ChildProcessError:  # multiprocess reaps those that have ended when it starts another one
            self.status = 0
        os.close(self.pidfd)

    def end(self) -> None:
        """Nothing of it is left.  May be called again."""
        if self.status is None:
            kill(self.pid)
            self._reap()
        self.channel.close()
        remove_sockets(self.directory)


def _world(scenario: Scenario, strategy: Strategy, seed: int, core: int, watch: Watch | None, directory: Path,
           channel: socket.socket, other: socket.socket, parent: int) -> None:
    die_with(parent)
    other.close()
    os.sched_setaffinity(0, {core})
    said: list[str] = []
    observe = (lambda machine, enabled: said.append(watch(machine, enabled))) if watch else None
    try:
        schedule = run_schedule(scenario, strategy, seed, directory, observe)
        answer = {**vars(result_of(schedule, watch is not None)), "watched": said}
        if isinstance(strategy, Search):
            strategy.end(schedule.events, schedule.pending)
            answer["search"] = strategy.told()
    except (UserError, Diverged) as error:
        answer = {"error": str(error)}
    channel.sendall(msgpack.packb(answer))
    channel.close()


def result_of(schedule: Schedule, steps: bool = False) -> Result:
    """``steps``: name every step, whatever came of it."""
    events = schedule.events
    return Result(schedule.verdict, schedule.message, schedule.choices, len(events), species.trace(events),
                  species.orders(events), species.handovers(events), species.pairs(events), species.accesses(events),
                  sum(event.host is not None for event in events), schedule.preemptions,
                  signature(schedule.verdict, schedule.message, schedule.stack) if schedule.bad else "",
                  [(event.actor, species.point_name(event.site)) for event in events] if schedule.bad or steps else [])
