"""Failure probabilities that are not ours: programs of model M1 under each strategy, exact or simulated elsewhere.

Random walk and URW by dynamic programming over states, PCT by enumeration of all its draws, POS by recursion over the
order of its draws; the rest by simulation with so many runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, lgamma, log, sqrt
from random import Random

from cpuemu.explore.conductor import Conductor
from cpuemu.explore.stage import Program
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.strategies.surw import Profile, Surw, Urw, profile_of
from tests.explore import programs

PROFILE_RUNS = 100


@dataclass(frozen=True)
class Cell:
    """One program under one strategy.  ``simulated``: runs behind ``p``, 0 when it is exact."""

    program: str
    strategy: str
    p: float
    simulated: int = 0

    @property
    def name(self) -> str:
        return f"{self.program}-{self.strategy}"


PROGRAMS: Mapping[str, tuple[Program, int]] = {
    "reorder_3": (programs.reorder(3), 6), "reorder_4": (programs.reorder(4), 8), "twostage": (programs.twostage(), 13),
    "wronglock_3": (programs.wronglock(3), 18), "deadlock01": (programs.deadlock01(), 12),
    "bluetooth": (programs.bluetooth(), 10), "stack_3": (programs.stack(3), 18), "account": (programs.account(), 9),
    "token_ring": (programs.token_ring(), 12),
}
"""Each with k, the most events of a run."""

COLUMNS = ("random", "urw", "pct:1", "pct:2", "pct:3", "basic-pos", "pos", "surw")
_ROWS: Mapping[str, tuple[float | str, ...]] = {
    # A number is exact; with a trailing ± it was simulated with 100,000 runs.
    "reorder_3": (20 / 81, 14 / 45, 0, 1 / 9, 11 / 54, 23 / 90, 29 / 90, ".349±"),
    "reorder_4": (.22266, .27143, 0, 1 / 16, .11719, ".232±", ".285±", ".288±"),
    "twostage": (1 / 32, 1 / 26, 0, 3 / 26, .17751, 1 / 12, 1 / 10, ".058±"),
    "wronglock_3": (.37158, .28587, 0, 1 / 12, .13194, ".209±", ".372±", ".299±"),
    "deadlock01": (1 / 2, 6 / 11, 0, 1 / 12, 23 / 144, 1 / 3, 1 / 3, ".335±"),
    "bluetooth": (5 / 128, 1 / 63, 0, 1 / 20, 3 / 40, 5 / 64, 1 / 15, ".059±"),
    "stack_3": (1 / 4, 3 / 10, 0, 1 / 6, 1 / 4, ".221±", ".249±", ".221±"),
    "account": (1 / 3,) * 8,
    "token_ring": (1 / 6,) * 8,
}
CELLS = [
    Cell(program, column, float(value.rstrip("±")) if isinstance(value, str) else value,
         100_000 if isinstance(value, str) else 0)
    for program, row in _ROWS.items() for column, value in zip(COLUMNS, row, strict=True)
]
DEFAULT = ("account-random", "bluetooth-pct:2", "twostage-pos", "deadlock01-urw", "reorder_3-surw", "stack_3-pct:3")
"""Cells of the default run: one a strategy, and those where an error of one step shows most."""


def strategy_for(column: str, steps: int, profile: Profile) -> Strategy:
    kind, _, number = column.partition(":")
    if kind == "pct":
        return Pct(int(number), steps)
    others: dict[str, Strategy] = {"random": RandomWalk(), "urw": Urw(profile), "basic-pos": Pos(resample=False),
                                   "pos": Pos(), "surw": Surw(profile)}
    return others[kind]


def failures(cell: Cell, schedules: int, seed: int) -> int:
    """How many of so many schedules fail."""
    program, steps = PROGRAMS[cell.program]
    seeds = Random(seed)
    with Conductor(program) as conductor:
        walk = RandomWalk()
        profile = profile_of([conductor.run(walk, seeds.getrandbits(64)).events for _ in range(PROFILE_RUNS)])
        strategy = strategy_for(cell.strategy, steps, profile)
        return sum(conductor.run(strategy, seeds.getrandbits(64)).bad for _ in range(schedules))


# --- is that so? -----------------------------------------------------------------------------------------------------


def agrees(cell: Cell, found: int, schedules: int, level: float = 1e-4) -> bool:
    """Whether so many failures are compatible with the cell, at this two-sided level."""
    if cell.p in (0, 1):
        return found == cell.p * schedules
    if not cell.simulated:
        return binomial_p(found, schedules, cell.p) >= level
    pooled = (found + cell.p * cell.simulated) / (schedules + cell.simulated)
    deviation = sqrt(pooled * (1 - pooled) * (1 / schedules + 1 / cell.simulated))
    rounding = .0005  # published with three digits
    return abs(found / schedules - cell.p) - rounding <= 3.89 * deviation  # two-sided 1e-4 of a normal


def binomial_p(found: int, schedules: int, p: float) -> float:
    """Two-sided: the probability of all outcomes no more likely than this one."""
    def likely(k: int) -> float:
        return exp(lgamma(schedules + 1) - lgamma(k + 1) - lgamma(schedules - k + 1)
                   + k * log(p) + (schedules - k) * log(1 - p))

    mine = likely(found) * (1 + 1e-9)
    return min(1.0, sum(each for k in range(schedules + 1) if (each := likely(k)) <= mine))
