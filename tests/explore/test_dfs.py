"""Exhaustive searches against brute force: every interleaving, or one of every class, once, and no other."""

from __future__ import annotations

import pytest

from cpuemu.explore.conductor import Conductor
from cpuemu.explore.schedule import Schedule
from cpuemu.explore.species import orders
from cpuemu.explore.strategies.dfs import Frontier, Path
from cpuemu.explore.strategies.dpor import Dpor, happens_before
from tests.explore.brute_force import TINY, Tiny, interleavings

pytestmark = pytest.mark.timeout(60)


def explored(tiny: Tiny, preemptions: int | None, wave: int = 1) -> list[Schedule]:
    """Every schedule; fewer preemptions never come after more."""
    frontier, found, known = Frontier(), [], 0
    with Conductor(tiny.program()) as conductor:
        while prefixes := frontier.take(wave):
            for prefix in prefixes:
                path = Path(prefix, preemptions)
                found.append(conductor.run(path, seed=0))
                assert path.preempted >= known
                frontier.add(path.told())
            known = frontier.next_preemptions if not frontier.exhausted else known
    assert frontier.done == pytest.approx(1)
    return found


def end(run: Schedule) -> str:
    return run.message if run.verdict == "failed" else run.verdict


@pytest.mark.parametrize("preemptions", [None, 0, 1, 2])
@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_every_interleaving_once(tiny: Tiny, preemptions: int | None) -> None:
    found = [(end(run), tuple(event.actor for event in run.events)) for run in explored(tiny, preemptions)]
    assert sorted(found) == sorted(interleavings(tiny, preemptions))


def test_waves_change_nothing() -> None:
    assert ({tuple(run.choices) for run in explored(TINY[0], 2, wave=1)}
            == {tuple(run.choices) for run in explored(TINY[0], 2, wave=8)})


@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_one_of_every_class(tiny: Tiny) -> None:
    """As many classes as there are, each once, and no final state is lost."""
    reduced = Dpor()
    found, ends, runs = [], set(), 0
    whole = explored(tiny, None)
    classes, states = {happens_before(run.events) for run in whole}, {(run.verdict, run.message) for run in whole}
    with Conductor(tiny.program()) as conductor:
        while not reduced.exhausted:
            run = conductor.run(reduced, seed=0)
            reduced.end(run.events, run.pending)
            runs += 1
            if not reduced.redundant:
                found.append(happens_before(run.events))
                ends.add((run.verdict, run.message))
    assert len(found) == len(set(found)), "a class was run twice"
    assert set(found) == classes
    assert ends == states
    assert runs < len(whole) or len(classes) == len(whole)


@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_a_hash_tells_the_classes_apart(tiny: Tiny) -> None:
    """The cheap number of a schedule's class is the class: equal for equivalent schedules and for no others."""
    whole = explored(tiny, None)
    assert len({(orders(run.events), happens_before(run.events)) for run in whole}) \
        == len({orders(run.events) for run in whole}) == len({happens_before(run.events) for run in whole})
