"""The command: every part runs, what cannot run says so, figures come as a table, as JSON, and into the page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from benchmarks import interrupts
from benchmarks.measure import Goal, Missing, Row, Settings
from benchmarks.table import BEGIN, END, markdown, plain, write_page

ROOT = Path(__file__).resolve().parents[2]
SHORTEST = ("batch", "record", "ipi", "hotplug", "memory", "points", "schedules")


def benchmarks(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "benchmarks", *options], cwd=ROOT, capture_output=True, text=True,
                          timeout=110, env={**os.environ, "COLUMNS": "200"})


def test_one_command_one_table(tmp_path: Path) -> None:
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    done = benchmarks("--quick", "--repeat", "1", "--json", str(figures), "--page", str(page),
                      *(word for name in SHORTEST for word in ("--only", name)))
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(figures.read_text())["rows"]}
    for name, compared in (("alloc + free of one page, traced", True), ("ring record from Python", True),
                           ("call and acknowledgement", True), ("broadcast to 7, wait for all", True),
                           ("offline + online, process kept", False), ("memory of a CPU, 8 CPUs", False),
                           ("point, the same actor goes on", False), ("point, another process goes on", False),
                           ("a schedule on 4 CPUs, with its reset", False)):
        assert rows[name]["ours"][0] > 0, name
        assert len(rows[name]["ratios"]) == (compared and not rows[name]["missing"]), name
        assert name in done.stdout and name in page.read_text()
    assert page.read_text().startswith("before\n") and page.read_text().endswith("\nafter\n")
    assert "old" not in page.read_text()


def test_wrong_usage_is_one_sentence(tmp_path: Path) -> None:
    assert "Choice" not in (done := benchmarks("--only", "nothing")).stderr and done.returncode == 2
    (tmp_path / "page.md").write_text("nothing here\n")
    with pytest.raises(click.UsageError, match="has no place for the table"):
        write_page(tmp_path / "page.md", [], {})


def test_without_libzmq_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> Path:
        raise Missing("libzmq: none")

    monkeypatch.setattr(interrupts, "libzmq", nothing)
    monkeypatch.setattr(interrupts, "inside", lambda cpus, *look, **rounds: {name: [2000] for name in rounds})
    rows = [row for row in interrupts.interrupts(Settings(1, tmp_path, quick=True)) if not row.name.startswith("…")]
    assert [row.ours for row in rows] == [[2.0]] * 3
    assert {row.missing for row in rows} == {"libzmq: none"}
    assert "missing is libzmq: none" in markdown(rows, {})


def test_goals() -> None:
    """Ratios are taken turn by turn; a goal without figures is neither reached nor missed."""
    row = Row("both", "ns", [10, 30, 20], [5, 10, 20], Goal(ratio=2.0))
    assert row.ratios == [2, 3, 1] and row.reached is True
    assert Row("slow", "s", [3, 2, 1], goal=Goal(value=1.5)).reached is False
    assert Row("unknown", "s", [], goal=Goal(value=1.5)).reached is None
    assert plain([row], {})["rows"][0]["ratios"] == [2, 3, 1]
