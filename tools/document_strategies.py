"""Runs every cell of the strategies' validation and writes docs/strategies.md: python -m tools.document_strategies."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.explore.cells import CELLS, COLUMNS, PROGRAMS, Cell, agrees, failures

PAGE = Path(__file__).resolve().parent.parent / "docs" / "strategies.md"
SCHEDULES = 20_000

INTRODUCTION = """\
# Strategies, measured against numbers that are not ours

Written by `python -m tools.document_strategies`, which runs every cell on real processes: one process an actor, one
event at a time, {schedules:,} schedules a cell. A cell shows the share of schedules that failed, and below it what the
model says: exact where it could be computed (dynamic programming over states, enumeration of all draws), with ± where
it was simulated with 100,000 runs. {verdict}

The programs are those of SCTBench, reduced to their shared accesses (`tests/explore/programs.py`); all actors exist at
the start. `tests/explore/test_strategies.py` holds {default} cells against the model in the default run, all of them
in the slow one.
"""

PUBLISHED = """\
## Beside the published figures

Shares of failing schedules from the published raw data of two comparisons, the SURW artefact (limit 10,000 schedules)
and the RFF artefact (limit 5 minutes), 20 trials each. They count every memory access as a point and have a main
thread that makes the others, so they check rank and order of magnitude, not equality.

| program | random | PCT(3) | PCT(3), RFF | POS | POS, RFF | SURW |
|---|---|---|---|---|---|---|
| reorder_3 | 0 of 200,000 | .0054 | .0041 | .012 | .0045 | .14 |
| twostage | .0022 | .079 | .11 | .066 | .068 | .13 |
| wronglock_3 | .028 | .017 | .025 | .093 | 1 | .11 |
| deadlock01 | .31 | .077 | .05 | .28 | .23 | .56 |
| bluetooth | .0047 | .0089 | .0062 | .028 | .014 | .014 |
| account | .055 | .23 | .11 | .24 | 1 | .17 |

Where they agree with the model: no strategy dominates. SURW is best on reorder, random walk is not bad at deadlock01,
and whoever must be held back for long (twostage) is found by PCT more often than by random walk. Without the main
thread most programs are easier for random walk, most of all reorder_3: the creator's steps are what blinds it there.
"""


def page(results: dict[str, int]) -> str:
    """The whole page, from the failures of each cell by its name."""
    off = [cell.name for cell in CELLS if not agrees(cell, results[cell.name], SCHEDULES)]
    verdict = f"Of {len(CELLS)} cells {len(CELLS) - len(off)} agree (two-sided, at a level of 1 in 10,000)"
    verdict += f"; not: {', '.join(off)}." if off else "."
    lines = [INTRODUCTION.format(schedules=SCHEDULES, verdict=verdict, default=6),
             f"| program | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    cells = {cell.name: cell for cell in CELLS}
    for program in PROGRAMS:
        row = [_cell(cells[f"{program}-{column}"], results[f"{program}-{column}"]) for column in COLUMNS]
        lines.append(f"| {program} | {' | '.join(row)} |")
    return "\n".join([*lines, "", PUBLISHED])


def _cell(cell: Cell, found: int) -> str:
    return f"{found / SCHEDULES:.4f}<br>{cell.p:.4f}{'±' if cell.simulated else ''}"


if __name__ == "__main__":
    results = {}
    for number, cell in enumerate(CELLS, 1):
        results[cell.name] = failures(cell, SCHEDULES, seed=12)
        print(f"{number}/{len(CELLS)} {cell.name}: {results[cell.name] / SCHEDULES:.4f}, model {cell.p:.4f}",
              file=sys.stderr)
    PAGE.write_text(page(results))
