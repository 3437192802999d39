"""The conductor of a stage: forks one process an actor, runs schedules under a strategy, records their decisions."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Sequence
from random import Random

from cpuemu.arch.baton import Baton
from cpuemu.coordinator.host_time import process_state
from cpuemu.coordinator.processes import die_with, kill, start
from cpuemu.core import Ram
from cpuemu.explore.schedule import Schedule, event_of
from cpuemu.explore.stage import Board, Failure, Over, Program, Stage, size_of
from cpuemu.explore.strategies.base import Event, Strategy
from cpuemu.layout import ActorState

STEP_LIMIT = 100_000


class Conductor:
    """Holds the actors' processes over many schedules; ``with`` ends them."""

    def __init__(self, program: Program) -> None:
        self.program, self.count = program, len(program.actors)
        self.memory = mmap.mmap(-1, size_of(self.count))
        self.ram = Ram(self.memory)
        self.board = Board(self.ram, 0)
        self.baton = Baton(self.ram, Board.SIZE, self.count)
        self.next: list[Event | None] = [None] * self.count
        """What each actor does next, None for one that is done: it changes only while the actor runs."""
        self.affinity = os.sched_getaffinity(0)
        # One core for all: a hand-over to a process on the core that just went idle costs a quarter.
        os.sched_setaffinity(0, {min(self.affinity)})
        self.pids = [start(f"cpuemu actor {actor}", _actor, program, self.baton, self.ram, actor, os.getpid())
                     for actor in range(self.count)]

    def __enter__(self) -> Conductor:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids:
            kill(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        os.sched_setaffinity(0, self.affinity)

    def run(self, strategy: Strategy, seed: int) -> Schedule:
        """One schedule, from the actors' first points to a failure, a deadlock or the end of all of them."""
        self._reset()
        strategy.begin(self.count, Random(seed))
        try:
            return self._run(strategy)
        finally:
            self._dismiss()

    def _run(self, strategy: Strategy) -> Schedule:
        schedule = Schedule()
        while not self.board.failed:
            enabled = [event for actor in self.baton.ready() if (event := self.next[actor])]
            schedule.pending.append(self._pending())
            if not enabled or schedule.too_long(STEP_LIMIT):
                break
            schedule.step(enabled, strategy, self._let)
        self._judge(schedule)
        return schedule

    def _pending(self) -> tuple[Event, ...]:
        return tuple(filter(None, self.next))

    def _reset(self) -> None:
        for number in range(len(self.board.words)):
            self.board.words[number] = self.program.initial[number] if number < len(self.program.initial) else 0
        self.board.over = self.board.failed = 0
        self.board.message = ""
        for actor in range(self.count):  # to its first point, before anybody has done anything
            self._let(actor)

    def _let(self, actor: int) -> None:
        self.baton.let(actor, self._alive)
        self.next[actor] = event_of(actor, self.baton.declared(actor))

    def _alive(self, actor: int) -> bool:
        return process_state(self.pids[actor]) not in ("", "Z")

    def _judge(self, schedule: Schedule) -> None:
        stuck = [str(actor.index) for actor in self.baton.actors if actor.state != ActorState.DONE]
        if self.board.failed:
            schedule.verdict, schedule.message = "failed", self.board.message
        elif schedule.verdict == "limit":
            pass
        elif stuck:
            schedule.verdict, schedule.message = "deadlock", f"nobody can move; left: {', '.join(stuck)}"
        elif self.program.check is not None and (message := self.program.check(self.board)):
            schedule.verdict, schedule.message = "failed", message

    def _dismiss(self) -> None:
        """Actors that are still at a point leave their programs there."""
        self.board.over = 1
        for actor in self.baton.actors:
            if actor.state == ActorState.POINT:
                self._let(actor.index)


def _actor(program: Program, baton: Baton, ram: Ram, actor: int, parent: int) -> None:
    """An actor's process: its program, once a schedule."""
    die_with(parent)
    stage = Stage(baton, ram, actor)
    while True:
        baton.wait(actor)
        try:
            program.actors[actor](stage)
        except Failure as failure:
            stage.board.message = str(failure)
            stage.board.failed = 1 + actor
        except Over:
            pass
        baton.leave(actor)


def run_many(program: Program, strategy: Strategy, schedules: int, seed: int = 1) -> Sequence[Schedule]:
    """So many schedules with seeds of their own, made from ``seed``."""
    seeds = Random(seed)
    with Conductor(program) as conductor:
        return [conductor.run(strategy, seeds.getrandbits(64)) for _ in range(schedules)]
