"""Worlds: machines in processes of their own, and what each says of the schedules that it runs.

Results come in the order of the runs, however many run at a time.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import msgpack

from cpuemu.coordinator.power_on import remove_sockets, socket_directory
from cpuemu.coordinator.processes import die_with, exit_status, kill, start
from cpuemu.errors import UserError
from cpuemu.explore import species
from cpuemu.explore.machine import Explored, Observe
from cpuemu.explore.schedule import Schedule
from cpuemu.explore.signature import signature
from cpuemu.explore.species import Access, Pair
from cpuemu.explore.strategies.base import Event, Search, Stateful, Strategy
from cpuemu.explore.strategies.replay import Diverged
from cpuemu.layout import Machine
from cpuemu.scenarios.base import Scenario

WORLD_LIMIT_S = 300.0
LOOK_MS = 200
LENGTH = struct.Struct("<I")


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


class Worlds:
    """Up to ``jobs`` worlds of one scenario; each runs one schedule after the other.  ``with`` ends them.

    ``interrupted``: no longer empty, nothing more is run.
    """

    def __init__(self, scenario: Scenario, jobs: int, interrupted: Sequence[float] = (),
                 watch: Watch | None = None) -> None:
        self.scenario, self.jobs, self.interrupted, self.watch = scenario, jobs, interrupted, watch
        cores = sorted(os.sched_getaffinity(0))
        first = os.getpid() % len(cores)  # explorations side by side do not all begin on the same core
        self.cores = cycle(cores[first:] + cores[:first])
        self.idle: deque[World] = deque()
        self.begun: deque[World] = deque()

    def __enter__(self) -> Worlds:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
        while self.idle:
            self.idle.pop().end()

    def run(self, runs: Iterable[tuple[Strategy, int]]) -> Generator[Result]:
        """The result of each (strategy, seed), in their order.  Those that were begun are dropped whatever happens."""
        try:
            for strategy, seed in runs:
                result = self._oldest() if len(self.begun) == self.jobs else None
                self._begin(strategy, seed)
                if result is not None:
                    yield result
            while self.begun:
                yield self._oldest()
        except Interrupted:
            pass
        finally:
            self.drop()

    def _begin(self, strategy: Strategy, seed: int) -> None:
        if self.idle:
            world = self.idle.popleft()
            world.begin(strategy, seed)
        else:
            world = World(self.scenario, strategy, seed, next(self.cores), self.watch)
        self.begun.append(world)

    def _oldest(self) -> Result:
        result = self.begun[0].result(self.interrupted)
        self.idle.append(self.begun.popleft())
        return result

    def drop(self) -> None:
        """End the worlds whose schedules are under way."""
        while self.begun:
            self.begun.pop().end()


def run_worlds(scenario: Scenario, runs: Iterable[tuple[Strategy, int]], jobs: int, interrupted: Sequence[float] = (),
               watch: Watch | None = None) -> Generator[Result]:
    """As ``Worlds.run``, in worlds that end with it."""
    with Worlds(scenario, jobs, interrupted, watch) as worlds:
        yield from worlds.run(runs)


def run_world(scenario: Scenario, strategy: Strategy, seed: int) -> Result:
    """One schedule.  Raises UserError."""
    return next(run_worlds(scenario, [(strategy, seed)], 1))


class World:
    """A machine in a process of its own, because ZeroMQ and a fork do not go together; schedule after schedule.

    The strategy of the first one comes to it by the fork, those of others are pickled.  ``core``: where all its
    processes run; a hand-over within one core costs a quarter of one between two.
    """

    def __init__(self, scenario: Scenario, strategy: Strategy, seed: int, core: int,
                 watch: Watch | None = None) -> None:
        # Ours, not the world's: whoever kills the world leaves nothing behind; if we are killed, the next one sweeps.
        self.directory = socket_directory()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.channel = Channel(ours)
        self.pid = start("cpuemu world", _world, scenario, strategy, seed, core, watch, self.directory, theirs, ours,
                         os.getpid())
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)
        self.status: int | None = None

    def begin(self, strategy: Strategy, seed: int) -> None:
        """The next schedule.  Context: the result of the one before has been taken."""
        self.channel.send(pickle.dumps((strategy, seed)))

    def result(self, interrupted: Sequence[float] = ()) -> Result:
        """Wait for it.  Raises UserError, and Interrupted as soon as that is no longer empty."""
        end = time.monotonic() + WORLD_LIMIT_S
        comes = False
        while not comes:
            if interrupted:
                raise Interrupted
            comes = self.channel.comes(LOOK_MS)
            if time.monotonic() > end:
                raise RuntimeError(f"the world of a schedule does not answer within {WORLD_LIMIT_S:.0f} s")
        said = self.channel.receive()
        if not said:
            raise RuntimeError("the world of a schedule ended without an answer: what it said is above")
        answer: dict[str, Any] = msgpack.unpackb(said)
        if "error" in answer:
            raise UserError(answer["error"])
        return Result(**{**answer, "pairs": [tuple(each) for each in answer["pairs"]],
                         "accesses": [Access(*each) for each in answer["accesses"]],
                         "ran": [tuple(each) for each in answer["ran"]]})

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


class Channel:
    """Messages over a stream, each behind its length."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream

    def comes(self, milliseconds: int) -> bool:
        """Whether a message comes, or the other side has ended, within so long."""
        poller = select.poll()
        poller.register(self.stream, select.POLLIN)
        return bool(poller.poll(milliseconds))

    def send(self, message: bytes) -> None:
        self.stream.sendall(LENGTH.pack(len(message)) + message)

    def receive(self) -> bytes:
        """The next message; empty: the other side has ended."""
        length = self._exactly(LENGTH.size)
        return self._exactly(LENGTH.unpack(length)[0]) if length else b""

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = self.stream.recv(min(size, 1 << 20))
            if not part:
                return b""
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self.stream.close()


def _world(scenario: Scenario, strategy: Strategy, seed: int, core: int, watch: Watch | None, directory: Path,
           stream: socket.socket, other: socket.socket, parent: int) -> None:
    die_with(parent)
    other.close()
    os.sched_setaffinity(0, {core})
    channel = Channel(stream)
    try:
        machine = Explored(scenario, directory, watch is not None, isinstance(strategy, Stateful))
    except UserError as error:
        channel.send(msgpack.packb({"error": str(error)}))
        return
    channel.send(msgpack.packb(_answer(machine, strategy, seed, watch)))
    while said := channel.receive():
        strategy, seed = pickle.loads(said)
        channel.send(msgpack.packb(_answer(machine, strategy, seed, watch)))
    machine.end()


def _answer(machine: Explored, strategy: Strategy, seed: int, watch: Watch | None) -> dict[str, Any]:
    said: list[str] = []
    observe: Observe = (lambda words, enabled: said.append(watch(words, enabled))) if watch else lambda *_: None
    try:
        schedule = machine.run(strategy, seed, observe)
        answer = {**vars(result_of(schedule, watch is not None)), "watched": said}
        if isinstance(strategy, Search):
            strategy.end(schedule.events, schedule.pending)
            answer["search"] = strategy.told()
    except (UserError, Diverged) as error:
        return {"error": str(error)}
    return answer


def result_of(schedule: Schedule, steps: bool = False) -> Result:
    """``steps``: name every step, whatever came of it."""
    events = schedule.events
    return Result(schedule.verdict, schedule.message, schedule.choices, len(events), species.trace(events),
                  species.orders(events), species.handovers(events), species.pairs(events), species.accesses(events),
                  sum(event.host is not None for event in events), schedule.preemptions,
                  signature(schedule.verdict, schedule.message, schedule.stack) if schedule.bad else "",
                  [(event.actor, species.point_name(event.site)) for event in events] if schedule.bad or steps else [])
