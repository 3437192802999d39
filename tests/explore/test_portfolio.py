"""What strategies are told of the schedules before them, and strategies of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from cpuemu.errors import UserError
from cpuemu.explore.portfolio import PROFILE_RUNS, ROUND, Learnt, check_strategies
from cpuemu.explore.species import Access
from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.user import UserStrategy


def learnt(steps: Sequence[int], cut: Sequence[int] = ()) -> Learnt:
    found = Learnt()
    for number, each in enumerate(steps):
        if number < PROFILE_RUNS:
            found.walked([Access(0, 8, "here", True, False, number + 1), Access(1, 8, "there", False, False, 2)])
        found.count(each, number in cut)
    return found


def test_a_round_knows_what_was_known_when_the_one_before_it_began() -> None:
    grows = learnt([100] * PROFILE_RUNS + [200] * 2 * ROUND)
    assert [grows.of(number).steps for number in (0, 2 * ROUND - 1, 2 * ROUND)] == [125, 125, 250]


def test_k_does_not_follow_a_schedule_that_was_cut() -> None:
    steps = [100] * (PROFILE_RUNS + ROUND)
    steps[20] = 50_000
    assert learnt(steps, cut=[20]).of(2 * ROUND).steps == 125


def test_k_comes_down_when_it_is_twice_too_large() -> None:
    assert learnt([100] * PROFILE_RUNS + [60] * ROUND).of(2 * ROUND).steps == 125
    assert learnt([100] * PROFILE_RUNS + [20] * ROUND).of(2 * ROUND).steps == 25


def test_a_profile_is_the_most_of_its_walks() -> None:
    profile = learnt([9] * PROFILE_RUNS).of(0).profile
    assert profile.counts == {(0, 8): PROFILE_RUNS, (1, 8): 2}


def test_a_profile_taken_again_begins_a_series() -> None:
    found = learnt([9] * (PROFILE_RUNS + ROUND - PROFILE_RUNS))
    for _ in range(PROFILE_RUNS):
        found.walked([Access(0, 8, "here", True, False, 50)])
        found.count(9, cut=False)
    assert found.of(0).series("surw") == found.of(ROUND).series("surw") == "profile 1"
    assert found.of(2 * ROUND).series("surw") == "profile 2"
    assert found.of(2 * ROUND).profile.counts == {(0, 8): 50}
    assert found.of(0).series("pos") == found.of(2 * ROUND).series("pos") == ""


@pytest.mark.parametrize(("names", "sentence"), [
    (["luck"], "--strategy luck: unknown; known are random, pct:DEPTH"),
    (["pct"], "--strategy pct: unknown"), (["pct:0"], "unknown"), (["random:3"], "unknown"), (["dfs:x"], "unknown"),
    (["random", "dfs:1"], "--strategy dfs:1: an exhaustive search takes no turns with others"),
    (["no.py:Mine"], "there is no file no.py"), (["no.py"], "say which class of the file it is"),
])
def test_names_that_are_none(names: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        check_strategies(names)
    assert sentence in str(raised.value)


def test_pos_keeps_the_draw_of_a_delivery_across_its_cpus_own_steps() -> None:
    """A delivery that lost once is not drawn for again: else late interrupts would hardly ever happen."""
    pos = Pos()
    pos.begin(9, Random(1))
    cpu, delivery = Event(1, 64, True), Event(8, 4096, True, host=1)
    pos.choose([cpu, delivery])
    drawn = pos.priority[8]
    for word in (64, 128, 0):
        pos.executed(Event(1, word, True), [Event(1, word, True), delivery])
        assert pos.priority[8] == drawn
    pos.executed(Event(0, 4096, True), [Event(0, 4096, True), delivery])
    assert 8 not in pos.priority, "somebody else wrote its pending word"


LATE = """
class Late:
    def begin(self, actors, random):
        self.random = random

    def choose(self, enabled):
        return max(enabled, key=lambda event: (event.host is None, self.random.random()))
"""


def strategy(place: Path, text: str, name: str = "Late") -> UserStrategy:
    (place / "my.py").write_text(text)
    return UserStrategy(f"{place}/my.py:{name}")


def test_a_strategy_of_the_users_own(tmp_path: Path) -> None:
    late = strategy(tmp_path, LATE)
    late.begin(9, Random(1))
    events = [Event(0, 8, True), Event(1, 8, True), Event(7, 4096, True, host=1)]
    assert {late.choose(events).actor for _ in range(50)} == {0, 1}
    late.executed(events[0], events)


@pytest.mark.parametrize(("text", "sentence"), [
    ("class Late:\n  def choose(self enabled): pass", "cannot be loaded: line 2: SyntaxError"),
    ("import nothing_of_that_name", "cannot be loaded: line 1: ModuleNotFoundError"),
    ("class Other: pass", "has no class Late"),
    ("class Late: pass", "class Late has no method choose(self, enabled)"),
    ("class Late:\n  def __init__(self):\n    1 / 0\n  def choose(self, enabled): pass",
     "Late.__init__ failed: line 3: ZeroDivisionError: division by zero"),
])
def test_a_file_with_a_mistake(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        strategy(tmp_path, text)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(("body", "sentence"), [
    ("1 / 0", "Late.choose failed: line 3: ZeroDivisionError: division by zero"),
    ("return 7", "Late.choose, line 2, returned 7, which is none of the events that it was given (of actors 0, 1)"),
])
def test_a_choice_that_cannot_be(tmp_path: Path, body: str, sentence: str) -> None:
    late = strategy(tmp_path, f"class Late:\n  def choose(self, enabled):\n    {body}\n")
    late.begin(9, Random(1))
    with pytest.raises(UserError) as raised:
        late.choose([Event(0, 8, True), Event(1, 8, True)])
    assert sentence in str(raised.value)
