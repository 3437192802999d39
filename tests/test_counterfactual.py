"""A schedule to the instant before an OOM, continued with the drain and without: both come from the same machine."""

from __future__ import annotations

import pytest

from cpuemu import patches
from tools.counterfactual import BLOCK, DRAINS_FIRST, PAGE, SCENES, pairs, saved


def test_the_page_has_the_command_and_a_table() -> None:
    told = PAGE.read_text().partition(f"<!-- {BLOCK}: begin -->")[2].partition(f"<!-- {BLOCK}: end -->")[0]
    assert "$ python -m tools.counterfactual --schedules 200 --seed 1\n" in told
    assert all(name in told for name in SCENES) and "the drain saves that allocation" in told


def test_the_drain_is_a_patch_of_four_lines() -> None:
    assert patches.changed_lines(patches.changes(DRAINS_FIRST)[0].diff()) == 4


def test_saved_is_a_page_before_a_victim() -> None:
    def looks(*counts: tuple[int, int]) -> list[list[list[int]]]:
        return [[[0, 0, 0], [kills, pages, 0]] for kills, pages in counts]

    assert saved(looks((0, 5), (0, 5), (0, 6), (1, 6)), 1)
    assert not saved(looks((0, 5), (1, 5), (1, 6)), 1) and not saved(looks((0, 5), (0, 5)), 1)


@pytest.mark.timeout(110)
def test_both_continuations_of_a_schedule() -> None:
    of, found = pairs(SCENES["the others quiet"], 4, seed=1)
    assert of == 4 and 1 <= len(found) <= 4, "it comes to an OOM"
    for each in found:
        assert each.kills_without >= 1, "without the drain a victim is chosen at that instant"
        assert each.interrupts >= 1, "with it, others are interrupted"
