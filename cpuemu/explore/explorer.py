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
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgpack

from cpuemu.coordinator.processes import exit_status, kill, start, status_text
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
WORLD_LIMIT_S = 300.0


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
    """k: the most steps that a schedule took."""

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


def explore(scenario: Scenario, strategies: Sequence[str], schedules: int, seed: int, until_failure: bool,
            failed: Callable[[str, int, Result], None], tell: Callable[[Report], None]) -> Report:
    """Run so many schedules.  ``failed`` is given the first failure of each signature: strategy, seed, result."""
    report = Report({name: Tally() for name in strategies})
    seeds = Random(seed)
    profile = _profile([run_world(scenario, RandomWalk(), seeds.getrandbits(63)) for _ in range(PROFILE_RUNS)], report)
    for number in range(schedules):
        name = strategies[number % len(strategies)]
        drawn = seeds.getrandbits(63)
        result = run_world(scenario, strategy_named(name, report.steps, profile), drawn)
        tally = report.tallies[name]
        tally.schedules += 1
        report.steps = max(report.steps, result.steps)
        report.traces.add(result.trace)
        if result.bad:
            tally.failures += 1
            tally.first = tally.first or tally.schedules
            report.signatures[result.signature] += 1
            if report.signatures[result.signature] == 1:
                failed(name, drawn, result)
        tell(report)
        if result.bad and until_failure:
            break
    return report


def _profile(results: Sequence[Result], report: Report) -> Profile:
    counts: Counter[tuple[int, int]] = Counter()
    locks: set[int] = set()
    for result in results:
        counts |= Counter({(actor, word): count for actor, word, count in result.counts})
        locks |= set(result.locks)
        report.steps = max(report.steps, result.steps)
    return Profile(counts, frozenset(locks))


# --- a world, in a process of its own ------------------------------------------------------------------------------


def run_world(scenario: Scenario, strategy: Strategy, seed: int) -> Result:
    """One schedule in a process of its own, because ZeroMQ and a fork do not go together.  Raises UserError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    # Ours, not the world's: whoever kills the world leaves nothing behind.
    with tempfile.TemporaryDirectory(prefix="cpuemu-explore-") as directory:
        pid = start("cpuemu world", _world, scenario, strategy, seed, Path(directory), theirs, ours)
        theirs.close()
        try:
            said = _all_of(ours)
        except BaseException:
            kill(pid)
            raise
        finally:
            ours.close()
            pidfd = os.pidfd_open(pid)
            status = exit_status(pidfd)
            os.close(pidfd)
    if not said:
        raise RuntimeError(f"the world of a schedule ended with {status_text(status)}: what it said is above")
    answer: dict[str, Any] = msgpack.unpackb(said)
    if "error" in answer:
        raise UserError(answer["error"])
    return Result(**{**answer, "counts": [tuple(each) for each in answer["counts"]]})


def _all_of(channel: socket.socket) -> bytes:
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    parts: list[bytes] = []
    while poller.poll(int(WORLD_LIMIT_S * 1000)):
        part = channel.recv(1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
    raise RuntimeError(f"the world of a schedule does not answer within {WORLD_LIMIT_S:.0f} s")


def _world(scenario: Scenario, strategy: Strategy, seed: int, directory: Path, channel: socket.socket,
           other: socket.socket) -> None:
    other.close()
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
