"""``trace-dump RUN_DIR``: the trace and the state of a run, whether it lives, has ended, or was killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cpuemu import __version__
from cpuemu.report.formats import FORMATS, dump
from cpuemu.report.image import Image, ImageError, open_image
from cpuemu.report.living import run_directory_alive, run_directory_of
from cpuemu.report.records import ring_states
from cpuemu.report.selection import Selection

LIVE = "live"
EXAMPLES = """
\b
Examples:
  trace-dump RUN_DIR --tail 50
  trace-dump RUN_DIR --cpu 3 --event 'mm_page_*' --since 1.5 --until 2
  trace-dump RUN_DIR --event 'cpuhp_*' --event 'ipi_*'
  trace-dump RUN_DIR --since -0.1
  trace-dump RUN_DIR --format perfetto -o trace.pftrace
  trace-dump RUN_DIR --pfn 0x3b96 --task 'replay/*' --format json | jq .args
  trace-dump RUN_DIR --state
  trace-dump RUN_DIR --why
  trace-dump RUN_DIR --cmd 'bt -a' --cmd locks
  trace-dump --run live --cmd waits
\b
cpuemu launch prints its run directory.  Times are seconds since power-on; a negative one counts from the last event.
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("run_dir", type=click.Path(path_type=Path), required=False)
@click.option("--run", "which", metavar="live|DIR", help="live: the machine that runs here now; it is not stopped.")
@click.option("--pid", type=int, metavar="N", help="The machine that this process of the host belongs to.")
@click.option("--cpu", "cpus", type=int, multiple=True, metavar="N", help="Only this CPU's events (may be repeated).")
@click.option("--event", "events", multiple=True, metavar="GLOB", help="Only events of this name (may be repeated).")
@click.option("--task", "tasks", multiple=True, metavar="NAME",
              help="Only what a task did and what was done to it: its name (a glob) or number (may be repeated).")
@click.option("--pfn", "pfns", multiple=True, metavar="N", help="Only the life of one page (may be repeated).")
@click.option("--since", type=float, metavar="S", help="Only events from this time on.")
@click.option("--until", type=float, metavar="S", help="Only events before this time.")
@click.option("--grep", multiple=True, metavar="REGEX", help="Only events whose line of text has a match (may be "
              "repeated: all must have one).")
@click.option("--tail", type=click.IntRange(min=1), metavar="N", help="Only the last N of what is left.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True,
              help="ftrace text, one JSON object a line, a timeline for ui.perfetto.dev, or for trace-cmd and "
                   "KernelShark (docs/trace-formats.md).")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write to a file instead of standard output.")
@click.option("--state", is_flag=True, help="The machine's state from its RAM, instead of the trace.")
@click.option("--why", is_flag=True, help="Explain the run's end: what happened in order, who waits for whom.")
@click.option("--cmd", "commands", multiple=True, metavar="COMMAND",
              help="Read RAM as crash does: ps, bt, waits, locks, … (may be repeated; --cmd help lists them).")
@click.option("--shell", is_flag=True, help="The same commands at a prompt, with completion.")
@click.version_option(__version__)
def trace_dump(run_dir: Path | None, which: str | None, pid: int | None, form: str, output: Path | None, state: bool,
               why: bool, commands: tuple[str, ...], shell: bool, **filters: Any) -> None:
    """Print what a machine did, from the files in its run directory.

    Nothing has to be alive: RAM and trace rings are files, and they are read without a lock.
    """
    image = open_image(_directory(run_dir, which, pid))
    if why or commands or shell:
        from cpuemu.report.answers import answer

        _complain(image)
        _print(answer(image, why, commands, shell))
        return
    found = Selection(**filters).records(image)
    if state:
        from cpuemu.report.state import state_text

        _complain(image)
        _print(state_text(image))
        return
    if image.rings is None:
        raise ImageError(image.problems[0])
    ring_states(image)  # for its complaints
    _complain(image)
    dump(form, found, image, output)


def _directory(run_dir: Path | None, which: str | None, pid: int | None) -> Path:
    """The one that was asked for, in one of three ways."""
    if sum(each is not None for each in (run_dir, which, pid)) > 1:
        raise click.UsageError("give RUN_DIR, --run or --pid, not two of them")
    if pid is not None:
        return run_directory_of(pid)
    if which == LIVE:
        return run_directory_alive()
    directory = run_dir or (Path(which) if which else None)
    if directory is None:
        raise click.UsageError("Missing argument 'RUN_DIR' (or --run live, --pid N).")
    return directory


def _complain(image: Image) -> None:
    for problem in image.problems:
        click.echo(f"trace-dump: {problem}", err=True)


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
