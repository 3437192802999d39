"""Exhaustive searches against brute force: every interleaving, or one of every class, once, and no other."""

from __future__ import annotations

import pytest

from cpuemu.explore.conductor import Conductor
from cpuemu.explore.strategies.dfs import Dfs
from cpuemu.explore.strategies.dpor import Dpor, happens_before
from tests.explore.brute_force import TINY, Tiny, interleavings

pytestmark = pytest.mark.timeout(60)


def explored(tiny: Tiny, preemptions: int | None) -> list[tuple[str, tuple[int, ...]]]:
    search, found = Dfs(preemptions), []
    with Conductor(tiny.program()) as conductor:
        while not search.exhausted:
            run = conductor.run(search, seed=0)
            search.end(run.events, run.pending)
            over = run.message if run.verdict == "failed" else run.verdict
            found.append((over, tuple(event.actor for event in run.events)))
    return found


@pytest.mark.parametrize("preemptions", [None, 0, 1, 2])
@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_every_interleaving_once(tiny: Tiny, preemptions: int | None) -> None:
    assert sorted(explored(tiny, preemptions)) == sorted(interleavings(tiny, preemptions))


@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_one_of_every_class(tiny: Tiny) -> None:
    """As many classes as there are, each once, and no final state is lost."""
    whole, reduced = Dfs(), Dpor()
    classes, states = set(), set()
    found, ends, runs = [], set(), 0
    with Conductor(tiny.program()) as conductor:
        while not whole.exhausted:
            run = conductor.run(whole, seed=0)
            whole.end(run.events, run.pending)
            classes.add(happens_before(run.events))
            states.add((run.verdict, run.message))
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
    assert runs < whole.schedules or len(classes) == whole.schedules
