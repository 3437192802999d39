"""The page of the comparison: its commands are those that the tool runs, and every scene has its place."""

from __future__ import annotations

import pytest

from cpuemu.cli.compare_tables import Sheet
from cpuemu.cli.metrics import METRICS
from cpuemu.profiles import POLICIES
from tools.document_comparison import PAGE, PLOT, SCENES, block, markdown, parameters


@pytest.mark.parametrize("name", SCENES)
def test_the_page_has_the_scene_and_its_command(name: str) -> None:
    page, scene = PAGE.read_text(), SCENES[name]
    assert page.count(f"<!-- {name}: begin -->\n```\n$ {scene.command()}\n") == 1
    assert page.count(f"<!-- {name}: end -->") == 1
    assert parameters(scene)["policies"] == scene.policies
    assert set(scene.policies) <= set(POLICIES) and set(scene.metrics) <= set(METRICS)


def test_the_drawing_is_there() -> None:
    assert PLOT.read_text().startswith("<svg ")


def test_a_sheet_as_markdown() -> None:
    sheet = Sheet("mean", ("a", "b"), "* means it differs")
    sheet.group("drains")
    sheet.row("drains of all CPUs", ("3*", "–"))
    sheet.row("  of these", ("1", "2"))
    sheet.group("latency")
    sheet.row("drain", ("7", "8"))
    assert list(markdown(sheet, {"drains of all CPUs", "of these"})) == [
        "| mean | a | b |", "|---|---:|---:|", "| **drains** | | |", r"| drains of all CPUs | 3\* |  |",
        "| &emsp;of these | 1 | 2 |", "", r"\* means it differs.", ""]


def test_a_scene_without_a_place_is_refused() -> None:
    assert block("x\n<!-- s: begin -->\nold\n<!-- s: end -->\n", "s", "new\n") == (
        "x\n<!-- s: begin -->\nnew\n<!-- s: end -->\n")
    with pytest.raises(SystemExit, match="no place for 's'"):
        block("x", "s", "new\n")
