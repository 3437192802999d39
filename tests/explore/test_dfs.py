"""Exhaustive search against brute force: every interleaving, once, and no other."""

from __future__ import annotations

import pytest

from cpuemu.explore.conductor import Conductor
from cpuemu.explore.strategies.dfs import Dfs
from tests.explore.brute_force import TINY, Tiny, interleavings

pytestmark = pytest.mark.timeout(60)


def explored(tiny: Tiny, preemptions: int | None) -> list[tuple[str, tuple[int, ...]]]:
    search, found = Dfs(preemptions), []
    with Conductor(tiny.program()) as conductor:
        while not search.exhausted:
            run = conductor.run(search, seed=0)
            search.end()
            over = run.message if run.verdict == "failed" else run.verdict
            found.append((over, tuple(event.actor for event in run.events)))
    return found


@pytest.mark.parametrize("preemptions", [None, 0, 1, 2])
@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_every_interleaving_once(tiny: Tiny, preemptions: int | None) -> None:
    assert sorted(explored(tiny, preemptions)) == sorted(interleavings(tiny, preemptions))
