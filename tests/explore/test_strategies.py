"""Strategies against numbers that are not ours, on real processes: one an actor, one event at a time."""

from __future__ import annotations

import os
from collections import Counter
from random import Random

import pytest

from cpuemu.explore.conductor import Conductor, run_many
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.delay import Delay
from cpuemu.explore.strategies.pct import Pct, guarantee
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.strategies.replay import Diverged, Replay
from cpuemu.explore.strategies.surw import Urw, profile_of
from tests.explore import programs
from tests.explore.cells import CELLS, DEFAULT, Cell, agrees, binomial_p, failures

pytestmark = pytest.mark.timeout(120)
SCHEDULES = int(os.environ.get("CPUEMU_TEST_SCHEDULES", "2000"))


@pytest.mark.parametrize("cell", [each for each in CELLS if each.name in DEFAULT], ids=lambda cell: cell.name)
def test_as_often_as_the_model_says(cell: Cell) -> None:
    found = failures(cell, 2000, seed=11)
    assert agrees(cell, found, 2000), f"{found} of 2000 failed, expected {cell.p:.5f}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_cell(cell: Cell) -> None:
    schedules = max(SCHEDULES, 20_000)
    found = failures(cell, schedules, seed=12)
    assert agrees(cell, found, schedules), f"{found} of {schedules} failed, expected {cell.p:.5f}"


def test_the_comparison_itself() -> None:
    """Chance is let pass, an error of half the expected rate is not."""
    assert binomial_p(500, 1000, .5) == pytest.approx(1)
    assert binomial_p(5, 10, .1) == pytest.approx(0.0016349374, rel=1e-6)
    assert not agrees(Cell("x", "y", 1 / 20), 150, 2000)
    assert not agrees(Cell("x", "y", .3, simulated=100_000), 700, 2000)


M = 4
P_LATE = {
    "random": [2.0 ** -(j + 1) for j in range(M)] + [2.0 ** -M],
    "pct:1": [1 / 2] + [0.0] * (M - 1) + [1 / 2],
    "pct:2": [1 / 2] + [1 / (2 * (M + 1))] * (M - 1) + [1 / (M + 1)],
    "pos": [1 / 2] + [1 / ((j + 1) * (j + 2)) for j in range(1, M)] + [1 / (M + 1)],
    "urw": [1 / (M + 1)] * (M + 1),
}
"""The probability that an interrupt is taken after j of a CPU's M events."""


@pytest.mark.parametrize("name", P_LATE)
def test_how_late_an_interrupt_is_taken(name: str) -> None:
    program = programs.irq_window(M)
    runs = run_many(program, RandomWalk(), 20, seed=1)
    strategies: dict[str, Strategy] = {
        "random": RandomWalk(), "pct:1": Pct(1, M + 1), "pct:2": Pct(2, M + 1), "pos": Pos(),
        "urw": Urw(profile_of(run.events for run in runs))}
    late = Counter(int(run.message) for run in run_many(program, strategies[name], 1500, seed=5))
    for delay, expected in enumerate(P_LATE[name]):
        assert agrees(Cell("irq_window", name, expected), late[delay], 1500), (delay, late)


def test_the_same_seed_gives_the_same_schedule() -> None:
    program = programs.wronglock(3)
    first, second = (run_many(program, Pos(), 20, seed=3) for _ in range(2))
    assert [run.events for run in first] == [run.events for run in second]
    assert len({tuple(run.choices) for run in first}) > 10


def test_a_failure_is_replayed_exactly() -> None:
    program = programs.bluetooth()
    with Conductor(program) as conductor:
        seeds = Random(2)
        runs = (conductor.run(RandomWalk(), seeds.getrandbits(64)) for _ in range(2000))
        failed = next(run for run in runs if run.bad)
        for _ in range(20):
            again = conductor.run(Replay(failed.choices), seed=0)
            assert (again.events, again.verdict, again.message) == (failed.events, failed.verdict, failed.message)


def test_a_replay_of_something_else_says_where() -> None:
    with Conductor(programs.deadlock01()) as conductor:
        choices = conductor.run(RandomWalk(), seed=1).choices
        with pytest.raises(Diverged, match=r"decision 0: actor 7 is to move, and those who can are: 0, 1"):
            conductor.run(Replay([7, *choices]), seed=0)
        with pytest.raises(Diverged, match=r"decision 1: the schedule is over"):
            conductor.run(Replay(choices[:1]), seed=0)
        assert conductor.run(RandomWalk(), seed=1).choices == choices, "the next schedule is a whole one"


def test_a_deadlock_is_known_at_once() -> None:
    with Conductor(programs.deadlock01()) as conductor:
        stuck = conductor.run(Replay([0, 1]), seed=0)
    assert (stuck.verdict, stuck.message) == ("deadlock", "nobody can move; left: 0, 1")


def test_the_guarantee_of_pct() -> None:
    assert guarantee(2, actors=2, steps=10) == 1 / 20
    assert guarantee(1, actors=4, steps=100) == 1 / 4


def test_delays_are_deviations_from_a_default_order() -> None:
    """Without one there is a single schedule: each actor to its end, but for locks."""
    program = programs.reorder(3)
    runs = run_many(program, Delay(0, 6), 20, seed=1)
    assert {tuple(event.actor for event in run.events) for run in runs} == {(0, 0, 1, 1, 2, 2)}
    orders = {tuple(event.actor for event in run.events) for run in run_many(program, Delay(1, 6), 300, seed=1)}
    assert (0, 1, 1, 2, 2, 0) in orders
    assert len(orders) > 3
