"""All states of a small machine: the same as all its schedules come to, and none with two futures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from random import Random
from types import FrameType, GeneratorType
from typing import Any

import pytest

from cpuemu.arch import bytecode, controlled, stacks
from cpuemu.core import slots_of
from cpuemu.errors import UserError
from cpuemu.explore import state
from cpuemu.explore.explorer import Exploration
from cpuemu.explore.strategies import dfs
from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.states import Graph, Known, StatePath, Told
from cpuemu.explore.summary import sentences
from cpuemu.explore.tally import Report, Search
from cpuemu.explore.worlds import Worlds
from cpuemu.kernel.uapi import CallAll
from cpuemu.layout import REGIONS
from cpuemu.scenarios.base import Scenario, Task
from cpuemu.scenarios.load import load_scenario
from tests.launched import ROOT

pytestmark = [pytest.mark.timeout(110),
              pytest.mark.skipif(sys.version_info >= (3, 14), reason="frames of CPython 3.11 to 3.13")]

ONE = Scenario("one", cpus=2, tasks=(Task(0, (CallAll(),)),))


class Looking(dfs.Path):
    """A schedule of the whole tree that notes each state it comes to, and ends at none."""

    beyond = True

    def begin(self, actors: int, random: Random) -> None:
        super().begin(actors, random)
        self.states: list[bytes] = []
        self.able: list[list[int]] = []
        self.moved: list[int] = []

    def knows(self, state: bytes, enabled: Sequence[Event]) -> bool:
        self.states.append(state)
        self.able.append([event.actor for event in enabled])
        return False

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        super().executed(event, enabled)
        self.moved.append(event.actor)

    def told(self) -> Any:
        return {**super().told(), "states": b"".join(self.states).hex(), "able": self.able, "moved": self.moved}


def known(place: Path) -> Graph:
    return Graph(Known(place / "states"))


def whole_tree(place: Path) -> tuple[Graph, int]:
    """What all schedules of one CPU calling the other come to, and how many there are."""
    graph, frontier, schedules = known(place), dfs.Frontier(), 0
    with Worlds(ONE, 1) as worlds:
        while wave := frontier.take(32):
            for result in worlds.run((Looking(prefix), 0) for prefix in wave):
                frontier.add(result.search)
                graph.taken = [(-1, -1)]
                graph.add(result.search)
                schedules += 1
    return graph, schedules


def following(graph: Graph) -> set[tuple[bytes, int, bytes]]:
    """Every step: from where, by whom, to where."""
    return {(graph.names[number], actor, graph.names[other]) for number, steps in enumerate(graph.following)
            for actor, other in steps.items()}


def test_as_all_schedules_have_it(tmp_path: Path) -> None:
    """Sixty-five schedules come to as many states, by as many steps, as the search that goes through each once."""
    (tmp_path / "tree").mkdir()
    tree, schedules = whole_tree(tmp_path / "tree")
    graph, paths = known(tmp_path), 0
    with Worlds(ONE, 1) as worlds:
        while wave := graph.take(8):
            for result in worlds.run((StatePath(prefix, graph.known), paths) for prefix in wave):
                assert result.verdict == "ok"
                graph.add(result.search)
                paths += 1
            graph.publish()
    assert (schedules, tree.torn, graph.torn) == (65, 0, 0)
    assert tree.again > tree.steps  # each step was walked more than once, on the average
    assert following(graph) == following(tree)
    assert graph.longest() == tree.longest() == 19
    assert paths < schedules / 2


@pytest.mark.parametrize("forgotten", ["stacks", "words"])
def test_a_state_that_is_not_whole_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: str) -> None:
    """Two ways into what is then one state have two futures."""
    if forgotten == "stacks":
        monkeypatch.setattr(controlled, "mark", lambda cpu: 0)
    else:
        monkeypatch.setattr(state, "REGIONS_LEFT_OUT", {region.name for region in REGIONS})
    tree, _ = whole_tree(tmp_path)
    assert tree.torn > 0


# --- what stands on a stack ----------------------------------------------------------------------------------


def _walk(items: list[int]) -> Generator[int]:
    total = 0
    for item in items:
        with Path(os.devnull).open():
            for other in (item, total):
                total += other
                yield total


def _frame(made: Generator[int]) -> FrameType:
    assert isinstance(made, GeneratorType)
    assert made.gi_frame is not None
    return made.gi_frame


def _told(made: Generator[int]) -> str:
    found: list[str] = []
    stacks._frame(_frame(made), found)
    return "".join(found).partition(" ")[2]


def test_what_a_frame_has_in_hand() -> None:
    """Two loops' iterators and the end of a block: none of them is a variable."""
    made = _walk([3, 4])
    next(made)
    frame = _frame(made)
    depth, _ = bytecode.state_at(frame.f_code, frame.f_lasti)
    held = slots_of(frame, depth)[-depth:]
    assert [type(each).__name__ for each in held] == ["list_iterator", "builtin_function_or_method", "tuple_iterator"]


def test_how_far_a_loop_is_counts() -> None:
    """The same place and the same variables, and another rest of the list; then the same rest."""
    one, other = _walk([0, 0, 0]), _walk([0, 0, 0])
    next(one)
    for _ in range(3):
        next(other)
    assert _told(one) != _told(other)
    next(one)
    next(one)
    assert _told(one) == _told(other)


def _sends(number: int) -> Generator[int]:
    once = number * 2
    yield once
    again = 7
    yield again


def test_a_variable_without_a_future_does_not_count() -> None:
    one, other = _sends(1), _sends(2)
    next(one)
    next(other)
    assert _told(one) == _told(other)  # neither is read any more


def test_what_is_not_known_is_an_error() -> None:
    with pytest.raises(bytecode.UnknownObject, match="memoryview"):
        stacks._object(memoryview(b""), [])


# --- the command ---------------------------------------------------------------------------------------------

ONE_FILE = """
from cpuemu.kernel.uapi import CallAll
from cpuemu.scenarios.base import Scenario, Task

SCENARIO = Scenario("one", cpus=2, tasks=(Task(0, (CallAll(),)),))
"""


def explored(place: Path, spec: str, *options: str, text: bool = False, seconds: int = 100) -> Any:
    run = subprocess.run([sys.executable, "-m", "cpuemu", "explore", spec, "--strategy", "states",
                          *([] if text else ["--json"]), *options], cwd=place, capture_output=True, text=True,
                         timeout=seconds, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.returncode in (0, 1), run.stderr
    return run.stdout if text else json.loads(run.stdout)


def test_stopped_and_gone_on_with(tmp_path: Path) -> None:
    """One at a time, two at a time, in two parts: the same journal; and the word "complete" when all was done."""
    (tmp_path / "one.py").write_text(ONE_FILE)
    part = explored(tmp_path, "one.py", "--schedules", "9", "--save", "parts", text=True)
    assert "still to be taken: not all" in part
    assert "complete" not in part
    whole = explored(tmp_path, "one.py", "--schedules", "500", "--save", "parts", "--jobs", "1")
    again = explored(tmp_path, "one.py", "--schedules", "500", "--save", "once", "--jobs", "2")
    assert (tmp_path / "parts" / "journal").read_text() == (tmp_path / "once" / "journal").read_text()
    assert whole["search"] == again["search"]
    assert (whole["search"]["states"], whole["search"]["transitions"], whole["search"]["longest"]) == (44, 65, 19)


def test_failures_are_steps_like_others(tmp_path: Path) -> None:
    """Calls that cross: every way ends with the warning, and each failure comes back from its file."""
    found = explored(tmp_path, "zoo:11", "--schedules", "2000", "--save", "kept")
    assert found["search"]["exhausted"]
    assert not found["search"]["torn"]
    assert all("smp-call-irqs-off" in signature for signature in found["signatures"])
    assert found["failures"] > 1
    replayed = subprocess.run([sys.executable, "-m", "cpuemu", "replay", found["files"][0]], cwd=tmp_path, check=False,
                              capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "verdict: the same" in replayed.stdout


@pytest.mark.parametrize("preempt", ["none", "full"])
def test_a_copied_mask_is_found(tmp_path: Path, preempt: str) -> None:
    """Bug 1, broken: an interrupt to a CPU that has just gone, on a machine of two."""
    found = explored(tmp_path, "zoo:1/small", "--schedules", "500", "--until-failure", "--preempt", preempt, "--save",
                     "kept")
    assert found["failures"] == 1
    assert next(iter(found["signatures"])).startswith("failed: ipi-to-offline")
    assert not found["search"]["torn"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("preempt", ["none", "full"])
def test_a_drain_against_a_cpu_that_goes(tmp_path: Path, preempt: str) -> None:
    """Bug 1, fixed: v3.2 as it was, all states of a machine of two."""
    found = explored(tmp_path, "zoo:1/fixed/small", "--schedules", "100000", "--preempt", preempt, "--save", "kept",
                     seconds=3500)
    assert found["failures"] == found["search"]["torn"] == 0
    assert found["search"]["exhausted"]
    assert found["search"]["longest"]


def test_faults_are_refused() -> None:
    with pytest.raises(UserError, match="what a fault has left behind is not compared"):
        Exploration(Scenario("one", cpus=2, tasks=(Task(0, (CallAll(),)),), faults=("ipi-lost",)), ["states"], 5).run()


def test_small_machines() -> None:
    assert load_scenario("zoo:1/fixed/small").cpus == 2
    assert load_scenario("zoo:1/small").patch
    with pytest.raises(UserError, match="bug 2 has no small machine"):
        load_scenario("zoo:2/small")


def _verdict(**found: Any) -> str:
    return list(sentences(Report(search=Search(None, **found))))[-1]


def test_complete_only_when_it_is() -> None:
    done = {"states": 5, "transitions": 6, "exhausted": True, "longest": 4, "again": 3}
    assert "complete: 5 states, 6 steps between them (3 walked again" in _verdict(**done)
    assert "every schedule ends, within 4 steps" in _verdict(**done)
    assert "some schedules go round for ever" in _verdict(**{**done, "longest": None})
    for short in ({"torn": 1}, {"exhausted": False, "waiting": 2}):
        assert "complete" not in _verdict(**{**done, **short})


def test_ways_that_go_round(tmp_path: Path) -> None:
    graph = known(tmp_path)
    graph.take(1)
    names = [bytes([number]) * 16 for number in (1, 2)]
    graph.add(Told(states=b"".join([*names, names[0]]).hex(), able=[[0], [0], [0]], moved=[0, 0]))
    assert not graph.open
    assert graph.longest() is None
