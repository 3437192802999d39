"""Prints the trace of each of some schedules, under whatever Python: ``python -m tests.explore.traces JOBS``.

Of calls alone, and of a machine that has everything: pages, stepped leaves, hotplug, preemption, faults.
"""

from __future__ import annotations

import sys

from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.worlds import run_worlds
from cpuemu.kernel.uapi import Alloc, Call, CallAll, Free, Sleep
from cpuemu.scenarios.base import Scenario, Task
from tests.launched import ROOT

CALLERS = Scenario("callers", workload=f"{ROOT}/tests/explore/callers.py:Callers", cpus=4)
MIXED = Scenario("mixed", (Task(0, (Alloc(), Free(), Call(1), Alloc(3), CallAll(), Free())),
                           Task(2, (Alloc(), CallAll(), Sleep(2000), Free()))),
                 preempt="full", hotplug=("offline 1", "online 1"), stepped=True,
                 faults=("alloc-failure", "ipi-doubled"))


def main(jobs: int) -> None:
    strategies: tuple[Strategy, ...] = RandomWalk(), Pct(3, 400), Pos()
    for scenario, seeds in ((CALLERS, 3), (MIXED, 2)):
        runs = [(strategy, seed) for seed in range(seeds) for strategy in strategies]
        for result in run_worlds(scenario, runs, jobs):
            print(result.verdict, result.steps, result.trace)


if __name__ == "__main__":
    main(int(sys.argv[1]))
