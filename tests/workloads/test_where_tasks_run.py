"""Storm and pressure told where to run: --no-migration and --busy-cpus."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cpuemu.layout import Counter
from cpuemu.workloads.base import InputError, Request
from cpuemu.workloads.load import load
from cpuemu.workloads.storm import MOVES, moving
from tests.launched import Launched


def operations(run: Launched) -> list[int]:
    code, said = run.end(100)
    assert (code, said["verdict"]) == (0, "ok"), said
    return [cpu.counters[Counter.OPERATIONS] for cpu in run.image.machine.cpus]


def test_the_other_cpus_soon_idle(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "4", "--workload", "storm:8000", "--busy-cpus", "1", "--memory", "64M")
    assert run.running()
    done = operations(run)
    assert done[0] > 0.8 * sum(done)
    assert all(done[1:]), "they had their share at the beginning"


def test_tasks_stay_at_home(launch: Callable[..., Launched]) -> None:
    """But for their start: they are all made on the boot CPU, and six of them go home from there."""
    options = ("--cpus", "4", "--workload", "storm:20000", "--memory", "64M", "--tasks", "8")
    run = launch(*options, "--no-migration")
    assert run.running()
    operations(run)
    moved = sum(cpu.counters[Counter.TASK_MIGRATIONS] for cpu in run.image.machine.cpus)
    assert moved <= 6


def test_the_words_of_a_task() -> None:
    assert moving(Request(8), MOVES, 200_000) == (MOVES, 1000, 0)
    assert moving(Request(8, no_migration=True, busy_cpus=3), MOVES, 0) == (0, 1000, 3)
    assert moving(Request(8, busy_cpus=8), MOVES, 600) == (MOVES, 300, 8)
    for name in ("storm", "pressure"):
        assert load(name, Request(4, busy_cpus=2)).tasks[0].user[-1] == 2


@pytest.mark.parametrize(("workload", "request_", "sentence"), [
    ("storm", Request(4, busy_cpus=5), "--busy-cpus 5: the machine has 4 CPUs"),
    ("pressure", Request(4, busy_cpus=0), "--busy-cpus 0: the machine has 4 CPUs"),
    ("replay", Request(4, busy_cpus=2), "--busy-cpus: where tasks run is said for storm and pressure only"),
    ("idle", Request(4, no_migration=True), "--no-migration: where tasks run")])
def test_what_cannot_be_asked_for(workload: str, request_: Request, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load(workload, request_)
