"""Prints the trace of each of some schedules, under whatever Python: ``python -m tests.explore.traces JOBS``."""

from __future__ import annotations

import sys

from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.worlds import run_worlds
from cpuemu.scenarios.base import Scenario
from tests.launched import ROOT

CALLERS = Scenario("callers", workload=f"{ROOT}/tests/explore/callers.py:Callers", cpus=4)


def main(jobs: int) -> None:
    strategies: tuple[Strategy, ...] = RandomWalk(), Pct(3, 400), Pos()
    for result in run_worlds(CALLERS, [(strategy, seed) for seed in range(3) for strategy in strategies], jobs):
        print(result.verdict, result.steps, result.trace)


if __name__ == "__main__":
    main(int(sys.argv[1]))
