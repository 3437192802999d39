"""The leaves' stepped form on a machine: others move in the middle of a list operation; alone it is as the fast one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import pytest

from cpuemu.core import _stepped
from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.onward import Onward
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.worlds import Result, run_worlds
from cpuemu.kernel.uapi import Alloc, Free
from cpuemu.layout import Machine
from cpuemu.scenarios.base import Scenario, Task
from tests.explore.test_machine import cpuemu

pytestmark = pytest.mark.timeout(110)

PAGES = (Alloc(), Alloc(3), Free(), Alloc(), Free(), Free())
TWO = Scenario("pages", (Task(0, PAGES), Task(1, PAGES)), cpus=2, stepped=True)
STEPS = set(_stepped.STEPS)


def records(machine: Machine, enabled: Sequence[Event]) -> str:
    pages = machine.placed["mem_map"]
    found = machine.mem_map.mem.load_bytes(pages.base, pages.count * pages.region.struct.SIZE)
    return sha256(found).hexdigest()


def points(result: Result) -> list[tuple[int, str]]:
    return [(actor, point) for actor, point in result.ran if actor < 2]


def test_others_move_in_the_middle_of_a_list_operation() -> None:
    result, = run_worlds(TWO, [(RandomWalk(), 1)], 1, watch=records)
    ran = points(result)
    assert result.verdict == "ok" and {"list_add:prev.next", "prep_new_page:owner"} <= {point for _, point in ran}
    # Whose list_add is not done when the other one moves: it goes on there, after it.
    open_at = [ran[at + 1:] for at, (actor, point) in enumerate(ran)
               if point == "list_add:entry.prev" and ran[at + 1][0] != actor]
    assert open_at
    for (actor, _), *rest in open_at:
        own = next(point for other, point in rest if other != actor)
        assert own == "list_add:entry.next"
    result, = run_worlds(replace(TWO, stepped=False), [(RandomWalk(), 1)], 1, watch=records)
    assert not STEPS & {point for _, point in points(result)}


def test_memory_is_what_the_fast_form_leaves() -> None:
    """At each step that both forms have, every record of a page is the same."""
    alone = Scenario("alone", (Task(0, PAGES * 3),), cpus=1)
    fast, = run_worlds(alone, [(Onward(), 1)], 1, watch=records)
    stepped, = run_worlds(replace(alone, stepped=True), [(Onward(), 1)], 1, watch=records)
    seen = [(said, point) for (_, point), said in zip(stepped.ran, stepped.watched, strict=False)]
    assert [each for each in seen if each[1] not in STEPS] == [
        (said, point) for (_, point), said in zip(fast.ran, fast.watched, strict=False)]
    assert stepped.watched[-1] == fast.watched[-1]
    moved = [said for said, _ in groupby(stepped.watched)]
    assert len(moved) > 3 * len(list(groupby(fast.watched))), "and it is never changed by more than a store at a time"


def test_a_command_steps_too(tmp_path: Path) -> None:
    (tmp_path / "pages.py").write_text(
        "from cpuemu.kernel.uapi import Alloc, Free\nfrom cpuemu.scenarios.base import Scenario, Task\n"
        "SCENARIO = Scenario('pages', (Task(0, (Alloc(), Free())),), cpus=1)\n")
    steps = []
    for words in ([], ["--stepped"]):
        run = cpuemu(tmp_path, "explore", "pages.py", "--schedules", "7", "--json", *words)
        assert run.returncode == 0, run.stderr
        steps.append(json.loads(run.stdout)["all_steps"])
    assert steps[1] > 2 * steps[0]
    run = cpuemu(tmp_path, "explore", "pages.py", "--strategy", "states", "--stepped")
    assert run.returncode == 2 and "--strategy states: how far a compiled leaf has come" in run.stderr, run.stderr
