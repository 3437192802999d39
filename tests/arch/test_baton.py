"""The baton: who can go on, and that nobody is waited for who has died."""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Callable
from random import Random

import pytest

from cpuemu.arch.baton import ActorDied, Baton
from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.core import Ram
from cpuemu.explore.conductor import Conductor
from cpuemu.explore.stage import Program, Stage
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.layout import WAIT_TERMS, Actor, ActorState, Op

pytestmark = pytest.mark.timeout(60)

HELD: dict[Op, Callable[[int, int], bool]] = {
    Op.EQ: lambda word, value: word == value, Op.NE: lambda word, value: word != value,
    Op.GE: lambda word, value: word >= value, Op.LE: lambda word, value: word <= value,
    Op.MASK_CLEAR: lambda word, value: not word & value, Op.MASK_SET: lambda word, value: word & value != 0,
}


def can_go_on(ram: Ram, actor: Actor, now_ns: int) -> bool:
    """What the compiled form must say: the rule as design has it, in Python."""
    if actor.state != ActorState.POINT:
        return False
    if actor.deadline_ns and actor.deadline_ns <= now_ns:
        return True
    terms = [(actor.term_word[number], Op(actor.term_op[number]), actor.term_value[number])
             for number in range(actor.nterms)]
    if not terms:
        return not actor.deadline_ns
    return any(HELD[op](ram.read(word), value) for word, op, value in terms)


def test_who_can_go_on_is_what_the_rule_says() -> None:
    actors, random = 4, Random(1)
    ram = Ram(mmap.mmap(-1, actors * Actor.SIZE + 64))
    baton = Baton(ram, 0, actors)
    words = [(actors * Actor.SIZE + 8 * number) << 2 | 3 for number in range(4)]
    told = set()
    for _ in range(2000):
        for word in words:
            ram.write(word, random.randrange(4))
        for actor in baton.actors:
            actor.state = random.choice(list(ActorState))
            actor.deadline_ns = random.choice((0, 5, 10))
            actor.nterms = random.randrange(WAIT_TERMS + 1)
            for number in range(actor.nterms):
                actor.term_word[number], actor.term_value[number] = random.choice(words), random.randrange(4)
                actor.term_op[number] = random.choice(list(HELD))
        now_ns = random.choice((1, 5, 20))
        expected = [actor.index for actor in baton.actors if can_go_on(ram, actor, now_ns)]
        assert baton.ready(now_ns) == expected
        told.add(tuple(expected))
    assert len(told) == 1 << actors


def test_a_wait_of_too_many_terms_is_refused() -> None:
    ram = Ram(mmap.mmap(-1, Actor.SIZE))
    with pytest.raises(IndexError, match="terms at most"):
        Baton(ram, 0, 1).step(0, 0, 0, Kind.READ, [Term(3, Op.EQ, 0)] * (WAIT_TERMS + 1))


def test_an_actor_that_dies_with_the_baton_is_not_waited_for() -> None:
    def dies(stage: Stage) -> None:
        stage.write(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    with Conductor(Program("dies", [dies])) as conductor, pytest.raises(ActorDied, match="actor 0 died"):
        conductor.run(RandomWalk(), 1)
