"""The table: on a terminal, as JSON, and into the page of documentation."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row

COLUMNS = ("", "ours", "C", "ratio", "goal", "")
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def cells(row: Row, notes: list[str]) -> list[str]:
    """One row as text; its note's number, entering it in ``notes`` where it is new."""
    name = row.name
    if row.note:
        if row.note not in notes:
            notes.append(row.note)
        name += f" [{notes.index(row.note) + 1}]"
    if not row.ours:
        return [name, "not measured", "", "", row.goal.text(row.unit), ""]
    reached = {None: "", True: "reached", False: "missed"}[row.reached]
    return [name, span(row.ours, row.unit), span(row.theirs, row.unit), span(row.ratios, "×"),
            row.goal.text(row.unit), reached]


def span(values: Sequence[float], unit: str) -> str:
    """Median and, of more than one, the least and the most."""
    if not values:
        return ""
    middle = number(statistics.median(values))
    spread = f" ({number(min(values))}–{number(max(values))})" if len(values) > 1 else ""
    return f"{middle}{spread} {unit}"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def missing(rows: Sequence[Row]) -> list[str]:
    """What could not be measured, one sentence each."""
    return list(dict.fromkeys(f"{row.name}: missing is {row.missing}" for row in rows if row.missing))


def show(rows: Sequence[Row], facts: Mapping[str, str]) -> None:
    """On stdout."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    console.print("; ".join(f"{name} {value}" for name, value in facts.items()))
    table = Table(box=None, padding=(0, 2, 0, 0))
    notes: list[str] = []
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("ours", "C", "ratio", "goal") else "left")
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in cells(row, notes)))
    console.print(table)
    for position, note in enumerate(notes, 1):
        console.print(f"[{position}] {note}", markup=False)
    for sentence in missing(rows):
        console.print(sentence, markup=False)


def plain(rows: Sequence[Row], facts: Mapping[str, str]) -> dict[str, Any]:
    """For --json."""
    return {"facts": dict(facts), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "rows": [
        {"name": row.name, "unit": row.unit, "ours": row.ours, "theirs": row.theirs, "ratios": row.ratios,
         "goal_ratio": row.goal.ratio, "goal_value": row.goal.value, "reached": row.reached, "note": row.note,
         "missing": row.missing} for row in rows]}


def markdown(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """What stands between the page's two marks."""
    notes: list[str] = []
    head = "; ".join(f"{name} {value}" for name, value in facts.items())
    lines = [f"Taken {time.strftime('%Y-%m-%d')}: {head}.", "",
             "| | ours | C | ratio | goal | |", "|---|--:|--:|--:|--:|---|"]
    lines += ["| " + " | ".join(cells(row, notes)) + " |" for row in rows]
    lines += ["", *(f"{position}. {note}" for position, note in enumerate(notes, 1))]
    lines += [f"- {sentence}" for sentence in missing(rows)]
    return "\n".join(lines)


def write_page(path: Path, rows: Sequence[Row], facts: Mapping[str, str]) -> None:
    """Put the table between the page's marks.  Raises click.UsageError where there are none."""
    try:
        text = path.read_text()
    except OSError as error:
        raise click.UsageError(f"--page {path}: cannot be read ({error.strerror}); name a page with a table") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise click.UsageError(f"--page {path}: has no place for the table; put {BEGIN} and {END} there")
    path.write_text(f"{before}{begin}\n{markdown(rows, facts)}\n{end}{after}")
