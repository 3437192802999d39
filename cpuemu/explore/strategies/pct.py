"""PCT: random priorities, and d - 1 steps after which whoever ran falls behind all others.

Burckhardt, Kothari, Musuvathi, Nagarakatte: "A randomized scheduler with probabilistic guarantees of finding bugs",
ASPLOS 2010.  With n actors and at most k steps a bug of depth d is found by a schedule with a probability of at least
1 / (n * k^(d-1)).  Here d is the paper's depth: PCT(1) has no change point.

The guarantee needs k to be no smaller than the steps really taken, and a strict order: nobody of lower priority runs
while one of higher priority could.  So a failed poll must disable its actor; no fairness is added here.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cpuemu.explore.strategies.base import Event


class Pct:
    """``depth``: of the bugs to be found, 1 or more.  ``steps``: k, the most that a schedule takes."""

    def __init__(self, depth: int, steps: int) -> None:
        self.name = f"pct:{depth}"
        self.depth, self.steps = depth, steps

    def begin(self, actors: int, random: Random) -> None:
        self.priority = list(range(self.depth, self.depth + actors))
        random.shuffle(self.priority)
        # With replacement, as in the paper: two change points at one step leave that actor at the later one's rank.
        self.changes = [random.randint(1, self.steps) for _ in range(self.depth - 1)]
        self.step = 0

    def choose(self, enabled: Sequence[Event]) -> Event:
        return max(enabled, key=lambda event: self.priority[event.actor])

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        self.step += 1
        for rank, step in enumerate(self.changes, 1):
            if step == self.step:
                self.priority[event.actor] = rank


def guarantee(depth: int, actors: int, steps: int) -> float:
    """The probability with which one schedule of PCT(depth) finds a bug of that depth, at least."""
    return 1 / (actors * float(steps) ** (depth - 1))
