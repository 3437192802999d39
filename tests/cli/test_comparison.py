"""What follows from runs whose numbers are known."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cpuemu.cli.compare_tables import claim_sheet, known_text, metrics_sheet, side_by_side
from cpuemu.cli.comparison import avoidable, claim, difference, estimated, oom_pairs, summary
from cpuemu.cli.metrics import METRICS
from cpuemu.coordinator.oom_moments import Moments
from tests.cli.verdicts import comparison, single, verdict


def test_the_numbers_of_one_run() -> None:
    made = verdict(1, drain_all=4, drain_ipi=10, drain_found=90, drain_empty=1, drain_overlap=6, alloc=110,
                   alloc_high_order=20, alloc_failed=30, alloc_failed_high_order=5, oom=3, oom_no_drain=1,
                   direct_reclaim=5, stranded=400)
    made.drains_at_once = 2
    values = single(made).values
    assert {name: values[name] for name in (
        "drains", "ipis_per_drain", "pages_per_drain", "drains_found_nothing", "concurrent_drains_max",
        "concurrent_drains_mean")} == {
        "drains": 4, "ipis_per_drain": 2.5, "pages_per_drain": 22.5, "drains_found_nothing": 1,
        "concurrent_drains_max": 2, "concurrent_drains_mean": 1.5}
    assert values["order_0_success"] == pytest.approx(100 * 90 / 115)
    assert values["high_order_success"] == 80
    assert (values["oom_kills"], values["oom_with_no_drain_tried"], values["oom_after_a_drain"]) == (3, 1, 2)
    assert (values["pages_stranded"], values["allocations_per_second"]) == (80, 55)


def test_what_a_run_does_not_have_is_not_zero() -> None:
    made = comparison({"a": [verdict(1, drain_all=2, drain_ipi=6), verdict(2)], "b": [verdict(1), verdict(2)]})
    plain = summary(made)
    assert plain["a"]["ipis_per_drain"]["mean"] == 3
    assert plain["a"]["ipis_per_drain"]["seeds_without"] == 1
    assert plain["b"]["ipis_per_drain"] == {"mean": None, "low": None, "high": None, "difference": None,
                                            "seeds_without": 2}
    assert plain["b"]["drains"] == {"mean": 0, "low": 0, "high": 0,
                                    "difference": {"mean": -1, "low": -2, "high": 0}}
    assert plain["b"]["first_oom_seconds"]["mean"] is None
    assert set(plain["a"]) == set(METRICS)


def test_only_pairs_are_compared() -> None:
    assert difference([1, None, 5], [None, 2, 3]) == estimated([2])
    assert difference([None], [1]) is None


def test_seeds_that_not_all_have_run_are_left_out() -> None:
    made = comparison({"a": [verdict(1), verdict(2), verdict(3)], "b": [verdict(1), verdict(2)]}).paired()
    assert made.seeds == 2
    assert [run.seed for run in made.runs["a"]] == [1, 2]


def test_ooms_that_one_policy_had_and_the_other_not() -> None:
    made = comparison({
        "first": [verdict(seed, oom=oom) for seed, oom in enumerate((2, 0, 1, 0), 1)],
        "other": [verdict(seed, oom=oom) for seed, oom in enumerate((0, 3, 4, 0), 1)],
    })
    [(policy, pairs)] = oom_pairs(made)
    assert policy == "other"
    assert (pairs.here, pairs.base, pairs.only_here, pairs.only_base) == (7, 3, [2], [1])
    assert (pairs.more_here, pairs.more_base) == (2, 1)


def test_the_claim_is_of_all_seeds_together() -> None:
    moments = Moments(order_0=5, short=4, enough=3, quiet=2, stayed=4, all_three=1, saved=3, missing_pages=12,
                      others_pages=100, window_ns=8000)
    runs = [single(verdict(1, moments=moments)), single(verdict(2)), single(verdict(3, moments=moments))]
    found = claim(runs)
    assert (found.moments, found.short, found.seeds) == (10, 8, 2)
    assert found.missing_pages is not None and found.missing_pages.mean == 3
    assert found.window_us is not None and found.window_us.mean == 2
    assert {name: each.count for name, each in found.shares.items()} == {
        "enough": 6, "quiet": 4, "stayed": 8, "all_three": 2, "saved": 6, "all_three_saved": 0, "own_saved": 0,
        "nobody": 0, "after_drain": 0}
    assert {each.of for each in found.shares.values()} == {8}
    nothing = claim([single(verdict(1))])
    assert nothing.missing_pages is None and nothing.plain()["enough"] == {"count": 0, "of": 0, "share": None}


def test_avoidable_drains() -> None:
    found = avoidable([single(verdict(1, drain_all=10, drain_avoidable=9)), single(verdict(2, drain_all=30))])
    assert (found.count, found.of) == (9, 40)


def sheets(seeds: int, known: str = "") -> tuple[dict[str, tuple[str, ...]], str, str]:
    """Rows by their text, the caption, and what is said of known defects."""
    made = comparison({
        "on-each-cpu": [verdict(seed, drain_all=40 + seed, drain_ipi=280) for seed in range(1, seeds + 1)],
        "[odd].py:Mine": [verdict(seed, drain_all=seed, known=known) for seed in range(1, seeds + 1)]})
    metrics, claims = metrics_sheet(made), claim_sheet(made)
    return {text.strip(): cells for text, cells in metrics.rows + claims.rows}, metrics.caption, known_text(made)


def test_the_table_marks_what_differs() -> None:
    rows, caption, known = sheets(8)
    assert rows["drains of all CPUs"][0].startswith("44.5 (") and rows["drains of all CPUs"][1].endswith(")*")
    assert rows["OOM kills"] == ("0", "0") and rows["runs that showed a known defect"] == ("0", "0")
    assert rows["of these below the min watermark"] == ("0", "0")
    assert "drain, median" not in rows, "nobody measured one"
    assert "on-each-cpu has an interval without 0" in caption and known == ""


def test_few_seeds_mark_nothing_and_say_so() -> None:
    rows, caption, known = sheets(5, known="13b")
    assert not any(cell.endswith("*") for cells in rows.values() for cell in cells)
    assert "that takes 6 seeds" in caption
    assert known == "runs with known defects: 13b (\\[odd].py:Mine 5): see docs/known-defects.md"


@pytest.mark.parametrize(("width", "tables"), [(200, 1), (60, 3), (20, 3)])
def test_a_narrow_terminal_has_the_policies_one_after_another(width: int, tables: int) -> None:
    made = comparison({name: [verdict(1, drain_all=12_345), verdict(2)] for name in ("on-each-cpu", "b" * 24, "[c]")})
    out = io.StringIO()
    parts = side_by_side(metrics_sheet(made), Console(file=out, width=width))
    assert len(parts) == tables
    Console(file=out, width=200).print(*parts)
    assert out.getvalue().count("6,172 (0–12,345)") == 3
    assert "[c]" in out.getvalue() and "…" not in out.getvalue()
