"""Writes the counts of docs/the-hang-of-2012.md: python -m tools.document_hang [--schedules 210] [--states].

Each explanation of the mails is a bug of the zoo.  It runs under each preemption model twice: with the oracles, which
say what they find and end the schedule there, and without them, to see whether the machine stands still.  ``--states``
goes through all states of the first one's small machine, and of its broken sibling's until that fails: many minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from tools.document_comparison import block

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "the-hang-of-2012.md"
STILL = "the machine stands still"
MODELS = ("none", "voluntary", "full")


class Suspect(NamedTuple):
    """An explanation of the mails.  ``spec``: what is explored for it."""

    spec: str
    says: str


SUSPECTS = (
    Suspect("zoo:1/fixed", "v3.2's drain: interrupts to all CPUs while one goes"),
    Suspect("zoo:1/broken", "the same, if the mask were copied and not looked at again"),
    Suspect("zoo:2/broken", "the hotplug lock around the drain in reclaim"),
    Suspect("zoo:2/fixed", "v3.2's drain, without that lock"),
    Suspect("zoo:13b/broken", "an interrupt mask that was not empty, and is"),
    Suspect("zoo:6/broken", "num_online_cpus() changes while stop_machine counts"),
    Suspect("zoo:4/broken", "a call to a CPU that leaves before it has taken it"),
    Suspect("zoo:4b/broken", "memory is allocated, and drained for, while everybody is stopped"),
    Suspect("zoo:11/broken", "calls that cross, with interrupts off"),
)


SEARCHES = tuple(f"{spec} --strategy states --schedules 100000 --preempt {model}"
                 for spec in ("zoo:1/fixed/small", "zoo:1/small --until-failure") for model in ("none", "full"))


class Count(NamedTuple):
    """Of schedules: how many ran, in how many an oracle spoke, how many stood still."""

    schedules: int
    told: int
    still: int

    def __str__(self) -> str:
        if self.told == self.still == 0:
            return f"0 of {self.schedules}"
        return f"stands still {self.still}, told {self.told} of {self.schedules}"


def count(spec: str, preempt: str, schedules: int) -> Count:
    watched, alone = explore(spec, preempt, schedules), explore(spec, preempt, schedules, "--no-oracles")
    still = sum(found for signature, found in alone["signatures"].items() if STILL in signature)
    # A schedule that the limit of steps cut is no verdict: a strategy may have let one task poll for ever.
    return Count(watched["schedules"], watched["failures"] - watched["cut"], still)


def explore(spec: str, preempt: str, schedules: int, *options: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cpuemu-hang-") as place:
        run = subprocess.run([sys.executable, "-m", "cpuemu", "explore", spec, "--preempt", preempt, "--schedules",
                              str(schedules), "--save", f"{place}/kept", "--json", *options], cwd=ROOT,
                             capture_output=True, text=True, check=False)
    if not run.stdout:
        raise RuntimeError(run.stderr)
    said: dict[str, Any] = json.loads(run.stdout)
    return said


def table(schedules: int) -> Iterator[str]:
    yield "```"
    yield f"$ cpuemu explore zoo:NUMBER/VARIANT --preempt MODEL --schedules {schedules} [--no-oracles]"
    yield from ("```", "")
    yield "| | explored | " + " | ".join(f"preempt {model}" for model in MODELS) + " |"
    yield "|---|---|" + "---|" * len(MODELS)
    for suspect in SUSPECTS:
        counts = [str(count(suspect.spec, model, schedules)) for model in MODELS]
        click.echo(f"{suspect.spec}: {'; '.join(counts)}", err=True)
        yield f"| {suspect.says} | `{suspect.spec}` | " + " | ".join(counts) + " |"


def searched() -> Iterator[str]:
    yield "```"
    for search in SEARCHES:
        with tempfile.TemporaryDirectory(prefix="cpuemu-hang-") as place:
            run = subprocess.run([sys.executable, "-m", "cpuemu", "explore", *search.split(), "--save",
                                  f"{place}/kept"], cwd=ROOT, capture_output=True, text=True, check=False)
        yield f"$ cpuemu explore {search}"
        yield from (line for line in run.stdout.splitlines() if " × " in line or line.startswith("verdict"))
    yield "```"


@click.command()
@click.option("--schedules", default=210, show_default=True)
@click.option("--states", is_flag=True)
def main(schedules: int, states: bool) -> None:
    if states:
        PAGE.write_text(block(PAGE.read_text(), "states", "\n".join(searched()) + "\n"))
        return
    PAGE.write_text(block(PAGE.read_text(), "suspects", "\n".join(table(schedules)) + "\n"))


if __name__ == "__main__":
    main()
