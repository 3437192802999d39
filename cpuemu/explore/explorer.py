"""Exploring a scenario: schedule after schedule, each in a process of its own, strategies in turn, failures kept.

A failure is kept once a *signature*: the verdict, the rule, and the CPUs that it names left out.  What was found is on
disk before the next schedule begins.
"""

from __future__ import annotations

import hashlib
import os
import re
import select
import socket
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import msgpack

from cpuemu.coordinator.interrupts import interrupts
from cpuemu.coordinator.processes import die_with, exit_status, kill, start
from cpuemu.errors import UserError
from cpuemu.explore.machine import Scenario, run_schedule
from cpuemu.explore.schedule import Schedule
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.delay import Delay
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.strategies.replay import Diverged
from cpuemu.explore.strategies.surw import Profile, Surw, Urw

PORTFOLIO = ("random", "pct:1", "pct:2", "pct:3", "pct:5", "pos", "surw")
KINDS = ("random", "pct:DEPTH", "pos", "basic-pos", "urw", "surw", "delay:DELAYS")
PROFILE_RUNS = 5
"""Random walks before the first strategy: they give k, and the profile that URW and SURW need."""
MARGIN = 1.25
"""k is so many times the longest of these: PCT's guarantee needs one that is no smaller than a schedule's steps."""
WORLD_LIMIT_S = 300.0
LOOK_MS = 200


class Interrupted(Exception):
    """Somebody wants it to stop."""


@dataclass
class Result:
    """What a world says of its schedule."""

    verdict: str
    message: str
    choices: list[int]
    steps: int
    trace: str
    counts: list[tuple[int, int, int]] = field(default_factory=list)
    locks: list[int] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        return self.verdict != "ok"

    @property
    def signature(self) -> str:
        """What stays the same when the same thing happens to others."""
        return re.sub(r"\b\d+(\.\d+)?\b", "N", f"{self.verdict}: {self.message}")[:200]


@dataclass
class Tally:
    """One strategy's schedules, kept apart from the others'."""

    schedules: int = 0
    failures: int = 0
    first: int = 0
    """Its number of schedules up to the first failure, 0: none yet."""


@dataclass
class Report:
    tallies: dict[str, Tally] = field(default_factory=dict)
    signatures: Counter[str] = field(default_factory=Counter)
    traces: set[str] = field(default_factory=set)
    steps: int = 0
    """The most steps that a schedule took."""
    interrupted: bool = False

    @property
    def schedules(self) -> int:
        return sum(tally.schedules for tally in self.tallies.values())

    @property
    def failures(self) -> int:
        return sum(tally.failures for tally in self.tallies.values())


def check_strategy(name: str) -> None:
    """Raises UserError on a name that is none."""
    kind, _, number = name.partition(":")
    with_number = kind in ("pct", "delay")
    if kind not in {each.partition(":")[0] for each in KINDS} or (with_number != number.isdigit()) or number == "0":
        raise UserError(f"--strategy {name}: unknown; known are {', '.join(KINDS)}")


def strategy_named(name: str, steps: int, profile: Profile) -> Strategy:
    """``steps``: k, an upper bound of a schedule's length."""
    kind, _, number = name.partition(":")
    made: dict[str, Callable[[], Strategy]] = {
        "random": RandomWalk, "pos": Pos, "basic-pos": lambda: Pos(resample=False), "urw": lambda: Urw(profile),
        "surw": lambda: Surw(profile), "pct": lambda: Pct(int(number), steps),
        "delay": lambda: Delay(int(number), steps),
    }
    return made[kind]()


def explore(scenario: Scenario, strategies: Sequence[str], schedules: int, seed: int, jobs: int, until_failure: bool,
            failed: Callable[[str, int, Result], None], tell: Callable[[Report], None]) -> Report:
    """Run so many schedules, ``jobs`` at a time; what comes out does not depend on how many.

    ``failed`` is given the first failure of each signature: strategy, seed, result.
    """
    report = Report({name: Tally() for name in strategies})
    seeds = Random(seed)
    walks = [(RandomWalk(), seeds.getrandbits(63)) for _ in range(PROFILE_RUNS)]
    with interrupts() as interrupted:
        profile = _profile(list(run_worlds(scenario, walks, jobs, interrupted)), report)
        steps = ceil(MARGIN * report.steps)
        plan = [(strategies[number % len(strategies)], seeds.getrandbits(63)) for number in range(schedules)]
        runs = ((strategy_named(name, steps, profile), drawn) for name, drawn in plan)
        worlds = run_worlds(scenario, runs, jobs, interrupted)
        for (name, drawn), result in zip(plan, worlds, strict=False):  # fewer when it is interrupted
            _count(report, name, result)
            if result.bad and report.signatures[result.signature] == 1:
                failed(name, drawn, result)
            tell(report)
            if result.bad and until_failure:
                break
        worlds.close()
        report.interrupted = bool(interrupted)
    return report


def _count(report: Report, name: str, result: Result) -> None:
    tally = report.tallies[name]
    tally.schedules += 1
    report.steps = max(report.steps, result.steps)
    report.traces.add(result.trace)
    if result.bad:
        tally.failures += 1
        tally.first = tally.first or tally.schedules
        report.signatures[result.signature] += 1


def _profile(results: Sequence[Result], report: Report) -> Profile:
    counts: Counter[tuple[int, int]] = Counter()
    locks: set[int] = set()
    for result in results:
        counts |= Counter({(actor, word): count for actor, word, count in result.counts})
        locks |= set(result.locks)
        report.steps = max(report.steps, result.steps)
    return Profile(counts, frozenset(locks))


# --- a world, in a process of its own ------------------------------------------------------------------------------


def run_worlds(scenario: Scenario, runs: Iterable[tuple[Strategy, int]], jobs: int,
               interrupted: Sequence[float] = ()) -> Generator[Result]:
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
            begun.append(World(scenario, strategy, seed, cores[number % len(cores)]))
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

    def __init__(self, scenario: Scenario, strategy: Strategy, seed: int, core: int) -> None:
        # Ours, not the world's: whoever kills the world leaves nothing behind.
        self.directory = tempfile.TemporaryDirectory(prefix="cpuemu-explore-")
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.pid = start("cpuemu world", _world, scenario, strategy, seed, core, Path(self.directory.name), theirs,
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
        return Result(**{**answer, "counts": [tuple(each) for each in answer["counts"]]})

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
        self.directory.cleanup()


def _world(scenario: Scenario, strategy: Strategy, seed: int, core: int, directory: Path, channel: socket.socket,
           other: socket.socket, parent: int) -> None:
    die_with(parent)
    other.close()
    os.sched_setaffinity(0, {core})
    try:
        answer = asdict(result_of(run_schedule(scenario, strategy, seed, directory)))
    except (UserError, Diverged) as error:
        answer = {"error": str(error)}
    channel.sendall(msgpack.packb(answer))
    channel.close()


def result_of(schedule: Schedule) -> Result:
    counts = Counter((event.actor, event.word) for event in schedule.events)
    steps = msgpack.packb([(event.actor, event.word, event.write, event.site) for event in schedule.events])
    return Result(schedule.verdict, schedule.message, schedule.choices, len(schedule.events),
                  hashlib.sha256(steps).hexdigest()[:16], [(*key, count) for key, count in counts.items()],
                  sorted({event.word for event in schedule.events if event.lock}))
