"""``trace-dump RUN_DIR``: the trace and the state of a run, whether it lives, has ended, or was killed."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from cpuemu import __version__
from cpuemu.events import BY_ID, BY_NAME
from cpuemu.report.image import Image, ImageError, open_image
from cpuemu.report.records import Record, records, ring_states
from cpuemu.report.text import HEADER, lines

EXAMPLES = """
\b
Examples:
  trace-dump RUN_DIR --tail 50
  trace-dump RUN_DIR --cpu 3 --event 'mm_page_*' --since 1.5 --until 2
  trace-dump RUN_DIR --event 'cpuhp_*' --event 'ipi_*'
  trace-dump RUN_DIR --since -0.1
  trace-dump RUN_DIR --state
\b
cpuemu launch prints its run directory.  Times are seconds since power-on; a negative one counts from the last event.
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--cpu", "cpus", type=int, multiple=True, metavar="N", help="Only this CPU's events (may be repeated).")
@click.option("--event", "events", multiple=True, metavar="GLOB", help="Only events of this name (may be repeated).")
@click.option("--since", type=float, metavar="S", help="Only events from this time on.")
@click.option("--until", type=float, metavar="S", help="Only events before this time.")
@click.option("--tail", type=click.IntRange(min=1), metavar="N", help="Only the last N of what is left.")
@click.option("--state", is_flag=True, help="The machine's state from its RAM, instead of the trace.")
@click.version_option(__version__)
def trace_dump(run_dir: Path, cpus: tuple[int, ...], events: tuple[str, ...], since: float | None, until: float | None,
               tail: int | None, state: bool) -> None:
    """Print what a machine did, as ftrace text, from the files in its run directory.

    Nothing has to be alive: RAM and trace rings are files, and they are read without a lock.
    """
    image = open_image(run_dir)
    chosen = _chosen(image, cpus, events, since, until)
    if state:
        from cpuemu.report.state import state_text

        _complain(image)
        _print(state_text(image))
        return
    if image.rings is None:
        raise ImageError(image.problems[0])
    heading = list(_heading(image))
    _complain(image)
    found: Iterator[Record] = (record for record in records(image) if chosen(record))
    if tail is not None:
        found = iter(deque(found, maxlen=tail))
    _print(iter(heading))
    _print(lines(found, image))


def _complain(image: Image) -> None:
    for problem in image.problems:
        click.echo(f"trace-dump: {problem}", err=True)


def _heading(image: Image) -> Iterator[str]:
    """trace_pipe's header, and what was overwritten.  Records that --trace all has in files are not lost."""
    states = ring_states(image)
    written = sum(each.written for each in states)
    lost: Counter[int] = Counter()
    for each in states:
        lost.update(each.overwritten)
    yield HEADER.format(kept=written - lost.total(), written=written, cpus=image.machine.dims.cpus)
    if lost:
        names = (f"{count} {BY_ID[event].name if event in BY_ID else f'event_{event}'}"
                 for event, count in sorted(lost.items()))
        yield f"# overwritten in the rings: {', '.join(names)}"


def _chosen(image: Image, cpus: tuple[int, ...], events: tuple[str, ...], since: float | None,
            until: float | None) -> Callable[[Record], bool]:
    """The filter; raises UsageError for what cannot match anything."""
    for cpu in cpus:
        if not 0 <= cpu < image.machine.dims.cpus:
            raise click.UsageError(f"--cpu {cpu}: this machine has CPUs 0 to {image.machine.dims.cpus - 1}")
    kinds: set[int] = set()
    for pattern in events:
        matching = fnmatch.filter(BY_NAME, pattern)
        if not matching:
            raise click.UsageError(f"--event {pattern}: no event has this name; known are {', '.join(BY_NAME)}")
        kinds.update(int(BY_NAME[name].event) for name in matching)
    start = image.machine.header.boot_ns
    end = _last(image) if any(moment is not None and moment < 0 for moment in (since, until)) else 0
    low = None if since is None else (start if since >= 0 else end) + int(since * 1e9)
    high = None if until is None else (start if until >= 0 else end) + int(until * 1e9)

    def chosen(record: Record) -> bool:
        return (
            (not cpus or record.cpu in cpus) and (not kinds or record.event in kinds)
            and (low is None or record.time_ns >= low) and (high is None or record.time_ns < high)
        )

    return chosen


def _last(image: Image) -> int:
    """The time of the last event."""
    return max((record.time_ns for record in records(image)), default=0)


def _print(text: Iterator[str]) -> None:
    for line in text:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """The installed command: one sentence and exit code 2 for what cannot be read."""
    try:
        sys.exit(trace_dump.main(standalone_mode=False, prog_name="trace-dump"))
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read us has seen enough; the interpreter must not flush into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except (click.ClickException, ImageError, OSError) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"trace-dump: {text}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
