"""What if the drain had been tried?  Schedules brought to the instant before an OOM, and continued twice.

    python -m tools.counterfactual [--schedules 200] [--page]

v3.2 drains other CPUs' lists when reclaim made progress and the allocation still failed.  Reclaim without progress
leads to the OOM killer without a drain.  The question of 2012 is whether the interrupts are worth it; here it is asked
of the allocations that had none.  A schedule runs up to the first allocation that is about to OOM.  From that instant
on it is continued once as v3.2 does, and once on a kernel with four more lines, which drains all CPUs first and looks
again.  Up to there both are the same machine, step for step: the recorded steps are followed and compared until the two
part.

A process runs one kernel, so each continuation is a process of its own (``--kernel``), which is given its schedules as
JSON on stdin and answers on stdout.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from cpuemu import patches
from cpuemu.explore.statistics import wilson
from cpuemu.scenarios.load import load_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpuemu.explore.strategies.base import Event
    from cpuemu.explore.worlds import Result
    from cpuemu.layout import Machine

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "drains-in-reclaim.md"
BLOCK = "counterfactual"
SCENES = {"the others quiet": "cpuemu/scenarios/near_oom.py:QUIET",
          "the others allocate on": "cpuemu/scenarios/near_oom.py:BUSY"}
DRAINS_FIRST = '''\
--- a/cpuemu/kernel/page_alloc.py
+++ b/cpuemu/kernel/page_alloc.py
@@ -1,3 +1,7 @@
             return pfn
         if gfp & Gfp.NOFAIL or not (order > PAGE_ALLOC_COSTLY_ORDER or lowmem(gfp)):
+            drain_from_reclaim(cpu, order)
+            pfn = get_page_from_freelist(cpu, request, Wmark.MIN, flags)
+            if pfn != NO_PAGE:
+                return pfn
             about_to_oom(cpu, order, request.classzone, flags)
'''


@dataclass(frozen=True)
class Pair:
    """One schedule with an OOM.  ``saved``: the drain gave the allocation its page; ``kills``: until the end."""

    saved: bool
    kills_without: int
    kills_with: int
    interrupts: int


# --- one kernel --------------------------------------------------------------------------------------------


def counted(machine: Machine, enabled: Sequence[Event]) -> str:
    """Of each CPU: OOM kills, allocations, drain interrupts, before each step."""
    from cpuemu.layout import Counter

    return " ".join(f"{cpu.counters[Counter.OOM]},{cpu.counters[Counter.ALLOC]},{cpu.counters[Counter.DRAIN_IPI]}"
                    for cpu in machine.cpus)


def run_kernel(spec: str, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run or continue each schedule on the kernel of this process."""
    from cpuemu.explore.strategies.follow import Follow, Step
    from cpuemu.explore.strategies.random_walk import RandomWalk
    from cpuemu.explore.worlds import run_worlds

    def strategy(order: dict[str, Any]) -> Any:
        steps = order.get("steps")
        return Follow([Step(*step) for step in steps], str, RandomWalk()) if steps is not None else RandomWalk()

    runs = ((strategy(order), order["seed"]) for order in orders)
    return [_told(result) for result in run_worlds(load_scenario(spec), runs, 2, watch=counted)]


def _told(result: Result) -> dict[str, Any]:
    counts = [[tuple(map(int, cpu.split(","))) for cpu in look.split()] for look in result.watched]
    parted = (result.search or {}).get("parted") if isinstance(result.search, dict) else None
    return {"verdict": result.verdict, "steps": result.ran, "counts": counts, "parted": parted[0] if parted else None}


# --- two kernels -------------------------------------------------------------------------------------------


def on_kernel(patched: bool, spec: str, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    words = [sys.executable, "-m", "tools.counterfactual", "--kernel", "patched" if patched else "plain", spec]
    run = subprocess.run(words, cwd=ROOT, input=json.dumps(orders), capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr)
    told: list[dict[str, Any]] = json.loads(run.stdout)
    return told


def pairs(spec: str, schedules: int, seed: int) -> tuple[int, list[Pair]]:
    """Schedules that ran, and of those that came to an OOM both continuations."""
    seeds = Random(seed)
    first = on_kernel(False, spec, [{"seed": seeds.getrandbits(63)} for _ in range(schedules)])
    to_oom = [told for told in first if kills(told) and told["verdict"] == "ok"]
    orders = [{"seed": seeds.getrandbits(63), "steps": told["steps"]} for told in to_oom]
    with_drain = on_kernel(True, spec, orders)
    # The same instant, the same kernel as before, and draws of the same seed as the other one has from there on.
    again = [{**order, "steps": order["steps"][:drained["parted"]]}
             for order, drained in zip(orders, with_drain, strict=True)]
    without = on_kernel(False, spec, again)
    return schedules, [pair(*each) for each in zip(without, with_drain, orders, strict=True)]


def pair(without: dict[str, Any], drained: dict[str, Any], order: dict[str, Any]) -> Pair:
    at = drained["parted"]
    cpu = order["steps"][at][0]
    return Pair(saved(drained["counts"][at:], cpu), kills(without), kills(drained),
                sum(counts[2] for counts in drained["counts"][-1]) - sum(counts[2] for counts in drained["counts"][at]))


def kills(told: dict[str, Any]) -> int:
    return sum(counts[0] for counts in told["counts"][-1])


def saved(counts: list[list[list[int]]], cpu: int) -> bool:
    """Whether the CPU that was about to OOM next has a page, and not a victim."""
    began = counts[0][cpu]
    for look in counts:
        if look[cpu][0] != began[0]:
            return False
        if look[cpu][1] != began[1]:
            return True
    return False


def rows(schedules: int, seed: int) -> list[str]:
    """The table, as Markdown."""
    titles = ["schedules", "came to an OOM kill", "the drain saves that allocation",
              "and nobody is killed until the end", "kills until the end, without and with",
              "interrupts the drains cost, median"]
    columns = []
    for spec in SCENES.values():
        of, found = pairs(spec, schedules, seed)
        spared = sum(each.saved and not each.kills_with for each in found)
        columns.append([
            f"{of}", share(len(found), of), share(sum(each.saved for each in found), len(found)),
            share(spared, len(found)),
            f"{sum(each.kills_without for each in found)}, {sum(each.kills_with for each in found)}",
            f"{median(each.interrupts for each in found):g}" if found else "–"])
    lines = ["| | " + " | ".join(SCENES) + " |", "|---|" + "---:|" * len(SCENES)]
    return lines + [f"| {title} | " + " | ".join(cells) + " |" for title, *cells in zip(titles, *columns, strict=True)]


def share(found: int, of: int) -> str:
    low, high = wilson(found, of)
    return f"{found} of {of}, {found / of:.0%} ({low:.0%}–{high:.0%})" if of else "–"


@click.command()
@click.option("--schedules", default=200, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--page", is_flag=True, help=f"Write the table into {PAGE.name}.")
@click.option("--kernel", type=(click.Choice(["plain", "patched"]), str), hidden=True)
def main(schedules: int, seed: int, page: bool, kernel: tuple[str, str] | None) -> None:
    """Print how often the drain would have saved the allocation that came to an OOM."""
    if kernel:
        if kernel[0] == "patched":
            patches.apply(DRAINS_FIRST)
        json.dump(run_kernel(kernel[1], json.load(sys.stdin)), sys.stdout)
        return
    command = f"python -m tools.counterfactual --schedules {schedules} --seed {seed}"
    text = "\n".join(["```", f"$ {command}", "```", "", *rows(schedules, seed)]) + "\n"
    click.echo(text)
    if page:
        from tools.document_comparison import block

        PAGE.write_text(block(PAGE.read_text(), BLOCK, text))


if __name__ == "__main__":
    main()
