"""``cpuemu zoo``: the bugs, what they are, and whether they are still found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cpuemu.cli.zoo_runs import Ran
    from cpuemu.scenarios.base import Bug

EXAMPLES = """
\b
Examples:
  cpuemu zoo                          all of them
  cpuemu zoo show 13b                 the biography of one
  cpuemu zoo diff 13b                 what mends it, line by line
  cpuemu zoo run 13b --schedules 500  look for it, and see the fixed kernel stay silent
  cpuemu zoo run --pinned             every known schedule, again
"""
RUN_EXAMPLES = """
\b
Examples:
  cpuemu zoo run                                all bugs, broken and fixed
  cpuemu zoo run 13b 24 --schedules 2000 --json
  cpuemu zoo run 13b --strategy pct:3
  cpuemu zoo run 13b --free 60                  on 8 processes at once, without a conductor, for a minute
  cpuemu zoo run --pinned                       one known schedule each

\b
Exit codes:
  0    every broken kernel failed as expected, every fixed one was silent (--free: whatever was found)
  1    one was not
  2    wrong usage or input
  130  interrupted
"""
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(epilog=EXAMPLES, context_settings=SETTINGS, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
@click.pass_context
def zoo(context: click.Context, as_json: bool) -> None:
    """Bugs that Linux had, each in a small machine that shows it.

    A bug is a scenario and two kernels, broken and fixed, that differ in a few lines of the emulated kernel.  What the
    broken one does is found by the same oracles that watch every run.
    """
    if context.invoked_subcommand is None:
        _list(as_json)


@zoo.command("list", context_settings=SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def list_bugs(as_json: bool) -> None:
    """All bugs, by number."""
    _list(as_json)


def _list(as_json: bool) -> None:
    from cpuemu.scenarios.load import bugs

    found = bugs()
    if as_json:
        sys.stdout.write(json.dumps({"bugs": [_data(bug) for bug in found]}, indent=2) + "\n")
    else:
        _print_list(found)


@zoo.command(context_settings=SETTINGS)
@click.argument("name")
def show(name: str) -> None:
    """The biography of a bug."""
    from cpuemu.scenarios.load import bug_named, story_of

    bug = bug_named(name)
    click.echo(story_of(bug))
    click.echo(f"cpuemu explore zoo:{bug.number}          cpuemu zoo diff {bug.number}")


@zoo.command(context_settings=SETTINGS)
@click.argument("name")
def diff(name: str) -> None:
    """What mends a bug: the difference between the broken kernel and the fixed one."""
    from cpuemu.scenarios.load import bug_named, mending

    click.echo(mending(bug_named(name)), nl=False)


@zoo.command(epilog=RUN_EXAMPLES, context_settings=SETTINGS)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--schedules", type=click.IntRange(1), default=200, show_default=True, metavar="N",
              help="How many of each kernel.")
@click.option("--fixed-schedules", type=click.IntRange(0), metavar="N", help="How many of the fixed one; 0: none.  [as "
              "many as of the broken one]")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME", help="As explore takes it.  [all in turn]")
@click.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Seed of every draw.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, metavar="N", help="How many "
              "schedules at a time.")
@click.option("--save", type=click.Path(path_type=Path), metavar="DIR", help="Where journals and failures go; the same "
              "command goes on there.  [nowhere: they are thrown away]")
@click.option("--pinned", is_flag=True, help="Instead: replay the schedule that is pinned to each bug.")
@click.option("--free", type=float, metavar="SECONDS", help="Instead: run the broken kernel on 8 processes at once, "
              "without a conductor, again and again for so long.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def run(names: tuple[str, ...], pinned: bool, free: float | None, as_json: bool, **asked: Any) -> None:
    """Look for the bugs: the broken kernel must fail as is known of it, the fixed one must be silent."""
    from cpuemu.cli.zoo_runs import Asked, explored, freely, replayed
    from cpuemu.coordinator.interrupts import interrupts
    from cpuemu.scenarios.load import bug_named, bugs

    chosen = [bug_named(name) for name in names] or bugs()
    done: list[Ran] = []
    with interrupts() as interrupted:
        for bug in chosen:
            if interrupted:
                break
            if pinned:
                ran = replayed(bug)
            elif free is not None:
                ran = freely(bug, free)
            else:
                ran = explored(bug, Asked(**asked))
            done.append(ran)
            if not as_json:
                click.echo(ran.line)
    if as_json:
        sys.stdout.write(json.dumps({"bugs": [each.data for each in done]}, indent=2) + "\n")
    else:
        well = sum(each.well for each in done)
        click.echo(f"verdict: {well} of {len(done)} as expected" + (", interrupted" if interrupted else ""))
    status = 130 if interrupted else 0 if all(each.well for each in done) else 1
    click.get_current_context().exit(status)


def _data(bug: Bug) -> dict[str, Any]:
    from cpuemu.patches import changed_lines
    from cpuemu.scenarios.load import mending, story_of, title_of

    return {"number": bug.number, "name": bug.name, "title": title_of(bug), "release": bug.release,
            "commit": bug.commit, "constructed": bug.constructed, "expects": list(bug.expects),
            "lines": changed_lines(mending(bug)), "cpus": bug.scenario.cpus, "preempt": bug.scenario.preempt,
            "tasks": len(bug.scenario.tasks), "hotplug": list(bug.scenario.hotplug), "pinned": bug.pinned,
            "story": story_of(bug)}


def _print_list(found: list[Bug]) -> None:
    from rich.console import Console
    from rich.table import Table

    from cpuemu.scenarios.load import title_of

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("no.", "name", "what it is", "release", "ends with"):
        table.add_column(column, no_wrap=column != "what it is")
    for bug in found:
        table.add_row(bug.number, bug.name, title_of(bug), bug.release, ", ".join(bug.expects))
    Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 140).print(table)
