"""``cpuemu top``: the live table of a machine that another launch runs.

It only reads RAM, without a lock: nothing is stopped.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import click

from cpuemu.cli.look import Watcher
from cpuemu.cli.screen import screen
from cpuemu.coordinator.launcher import Progress, progress_of
from cpuemu.core import now
from cpuemu.errors import UserError
from cpuemu.layout import MachineState
from cpuemu.report.crash.reading import Reading
from cpuemu.report.image import Image, ImageError, open_image
from cpuemu.report.living import processes_alive, run_directory_alive

EXAMPLES = """
\b
Examples:
  cpuemu top                          the machine that runs here, if there is one
  cpuemu top cpuemu-runs/20261125-1
  cpuemu top RUN_DIR --once > look.txt
\b
Ctrl-C ends it; the machine runs on.
"""
PERIOD_S = 0.1
BETWEEN_S = 0.5
"""The two looks of ``--once``: steps a second need two."""
PLAIN_SIZE = (100, 50)
"""Of a picture that nobody's terminal limits."""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("run_dir", type=click.Path(path_type=Path), required=False)
@click.option("--once", is_flag=True, help="One picture, as plain text.")
def top(run_dir: Path | None, once: bool) -> None:
    """Watch a machine that another launch runs, as that launch shows it: each CPU, whom it waits for, memory, hotplug.

    Looking takes no lock and stops nothing.  Of a machine that has ended, the last picture is shown.
    """
    try:
        image = open_image(run_dir or run_directory_alive())
    except ImageError as error:
        raise UserError(str(error)) from None
    try:
        if once or not sys.stdout.isatty() or not processes_alive(image):
            _once(image)
        else:
            _watch(image)
    except (IndexError, ValueError, OverflowError) as error:
        raise UserError(f"{image.directory}: RAM is damaged: {error}; trace-dump {image.directory} --state shows what "
                        "can be read") from None


def _once(image: Image) -> None:
    watcher = Watcher(image.machine)
    alive = bool(processes_alive(image))
    if alive:
        watcher.look(now(), image.machine.dims.cpus)
        time.sleep(BETWEEN_S)
    columns, lines = shutil.get_terminal_size(PLAIN_SIZE)
    moment = now() if alive else Reading(image).now_ns
    lines = max(lines, PLAIN_SIZE[1])
    text = screen(watcher, _progress(image, moment), moment, (columns, lines), _title(image), _goal(image)).plain
    click.echo("\n".join(line.rstrip() for line in text.split("\n")))
    click.echo(_after(image, alive))


def _watch(image: Image) -> None:
    """Until the machine has ended, or Ctrl-C."""
    from cpuemu.cli.live import LiveDisplay

    try:
        with LiveDisplay(sys.stdout.fileno(), image.machine, _title(image), _goal(image)) as display:
            while processes_alive(image):
                display.show(_progress(image, now()))
                time.sleep(PERIOD_S)
    except KeyboardInterrupt:
        return
    click.echo(_after(image, alive=False))


def _progress(image: Image, moment_ns: int) -> Progress:
    seconds = (moment_ns - image.machine.header.start_ns) / 1e9
    return progress_of(image.machine, max(0.0, seconds), moment_ns)


def _title(image: Image) -> str:
    plan = image.configuration
    words = [f"{image.machine.dims.cpus} CPUs", plan.get("profile"), f"preempt {plan.get('preempt', '?')}",
             plan.get("workload_name"), f"seed {image.machine.header.seed}"]
    return ", ".join(str(word) for word in words if word)


def _goal(image: Image) -> float | None:
    seconds = image.configuration.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def _after(image: Image, alive: bool) -> str:
    """Where there is more."""
    if alive:
        return f"it runs on; who waits for whom: trace-dump {image.directory} --cmd waits"
    image = open_image(image.directory)
    said = image.verdict.get("verdict")
    failed = image.machine.header.state == MachineState.FAILED or not said
    return f"the machine has ended: {f'verdict {said}' if said else 'nobody gave a verdict'}" + (
        f"; trace-dump {image.directory} --why" if failed else "")
