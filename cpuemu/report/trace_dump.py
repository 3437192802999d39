"""``trace-dump RUN_DIR``: the trace and the state of a run, whether it lives, has ended, or was killed."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from cpuemu.events import BY_ID, BY_NAME
from cpuemu.report.image import Image, ImageError, open_image
from cpuemu.report.records import Record, records, ring_states
from cpuemu.report.state import state_text
from cpuemu.report.text import HEADER, line_of, names_of

EXAMPLES = """
\b
Examples:
  trace-dump cpuemu-runs/20261124-120000-4711 --tail 50
  trace-dump RUN_DIR --cpu 3 --event 'mm_page_*' --since 1.5 --until 2
  trace-dump RUN_DIR --event 'cpuhp_*' --event 'ipi_*'
  trace-dump RUN_DIR --state
\b
Times are seconds since power-on; a negative one counts from the last event.
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--cpu", "cpus", type=int, multiple=True, metavar="N", help="Only this CPU's events (may be repeated).")
@click.option("--event", "events", multiple=True, metavar="GLOB", help="Only events of this name (may be repeated).")
@click.option("--since", type=float, metavar="S", help="Only events from this time on.")
@click.option("--until", type=float, metavar="S", help="Only events before this time.")
@click.option("--tail", type=click.IntRange(min=1), metavar="N", help="Only the last N of what is left.")
@click.option("--state", is_flag=True, help="The machine's state from its RAM, instead of the trace.")
def trace_dump(run_dir: Path, cpus: tuple[int, ...], events: tuple[str, ...], since: float | None, until: float | None,
               tail: int | None, state: bool) -> None:
    """Print what a machine did, as ftrace text, from the files in its run directory.

    Nothing has to be alive: RAM and trace rings are files, and they are read without a lock.
    """
    image = open_image(run_dir)
    if state:
        _print(state_text(image))
        return
    for problem in image.problems:
        click.echo(f"trace-dump: {problem}", err=True)
    chosen = _chosen(image, cpus, events, since, until)
    found: Iterator[Record] = (record for record in records(image) if chosen(record))
    if tail is not None:
        found = iter(deque(found, maxlen=tail))
    names = names_of(image)
    _print(_with_header(image, (line_of(record, image, names) for record in found)))


def _with_header(image: Image, lines: Iterator[str]) -> Iterator[str]:
    states = ring_states(image)
    written = sum(each.written for each in states)
    lost: dict[int, int] = {}
    for each in states:
        for event, count in each.overwritten.items():
            lost[event] = lost.get(event, 0) + count
    yield HEADER.format(kept=written - sum(lost.values()), written=written, cpus=image.machine.dims.cpus)
    if lost:
        names = ", ".join(f"{count} {BY_ID[event].name if event in BY_ID else event}" for event, count in sorted(lost.items()))
        yield f"# overwritten in the rings: {names}"
    yield from lines


def _chosen(image: Image, cpus: tuple[int, ...], events: tuple[str, ...], since: float | None,
            until: float | None) -> Callable[[Record], bool]:
    for cpu in cpus:
        if not 0 <= cpu < image.machine.dims.cpus:
            raise click.UsageError(f"--cpu {cpu}: this machine has CPUs 0 to {image.machine.dims.cpus - 1}")
    kinds = {int(BY_NAME[name].event) for pattern in events for name in fnmatch.filter(BY_NAME, pattern)}
    if events and not kinds:
        raise click.UsageError(f"--event {events[0]}: no event has this name; known are {', '.join(BY_NAME)}")
    start = image.machine.header.boot_ns
    end = _last(image) if (since is not None and since < 0) or (until is not None and until < 0) else 0
    low = None if since is None else (start if since >= 0 else end) + int(since * 1e9)
    high = None if until is None else (start if until >= 0 else end) + int(until * 1e9)

    def chosen(record: Record) -> bool:
        return (
            (not cpus or record.cpu in cpus) and (not kinds or record.event in kinds)
            and (low is None or record.time_ns >= low) and (high is None or record.time_ns < high)
        )  # fmt: skip

    return chosen


def _last(image: Image) -> int:
    return max((record.time_ns for record in records(image)), default=0)


def _print(lines: Iterator[str]) -> None:
    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough; the interpreter must not flush into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def main() -> None:
    """The installed command: one sentence and exit code 2 for what cannot be read."""
    try:
        trace_dump.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit(130)
    except (click.ClickException, ImageError) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"trace-dump: {text}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
