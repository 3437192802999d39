"""``python -m benchmarks``: everything measured in one run, one table."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks import allocation, controlled, interrupts, life
from benchmarks.host import facts
from benchmarks.measure import Benchmark, Missing, Row, Settings
from benchmarks.table import plain, show, write_page

BENCHMARKS = (
    Benchmark("batch", "alloc + free through the batch loop", allocation.batches),
    Benchmark("calls", "alloc + free, leaf by leaf", allocation.calls),
    Benchmark("record", "a trace record", allocation.records),
    Benchmark("ipi", "calls to one CPU and to seven", interrupts.interrupts),
    Benchmark("barrier", "drain_all_pages and stop_machine", interrupts.barriers),
    Benchmark("boot", "boot of 8, 64, 256 CPUs", life.boot),
    Benchmark("hotplug", "offline and online", life.hotplug),
    Benchmark("largest", "256 CPUs from power on to power off", life.largest),
    Benchmark("memory", "memory of a CPU", life.memory),
    Benchmark("points", "points of controlled schedules", controlled.points),
    Benchmark("schedules", "controlled schedules of a machine", controlled.schedules),
)
NAMES = tuple(each.name for each in BENCHMARKS)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
               epilog="\b\nBenchmarks:\n" + "\n".join(f"  {each.name:9} {each.what}" for each in BENCHMARKS))
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Only this one; may be given again.")
@click.option("--repeat", type=click.IntRange(1), default=7, show_default=True, metavar="N",
              help="Turns of each side; the table gives their median, least and most.")
@click.option("--quick", is_flag=True, help="As little as shows that it works: the figures say nothing.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Every turn's figure, as JSON.")
@click.option("--page", type=click.Path(path_type=Path), metavar="FILE",
              help="Put the table into a page, between its marks (docs/performance.md).")
def main(only: tuple[str, ...], repeat: int, quick: bool, json_file: Path | None, page: Path | None) -> None:
    """Measure cpuemu beside the same work in plain C, both sides in turn, and print one table.

    A part that cannot run here (no C compiler, no libzmq to load) says what is missing; the others go on.
    """
    known = facts()
    with _bytecode():
        rows = [row for each in BENCHMARKS if not only or each.name in only for row in _rows(each, repeat, quick)]
    try:
        if json_file:
            json_file.write_text(json.dumps(plain(rows, known), indent=1) + "\n")
    except OSError as error:
        raise click.UsageError(f"--json {json_file}: cannot be written ({error.strerror}); name another file") from None
    if page:
        write_page(page, rows, known)
    show(rows, known)


def _rows(each: Benchmark, repeat: int, quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="cpuemu-benchmark-") as directory:
        try:
            for row in each.measure(Settings(repeat, Path(directory), quick)):
                print(row.name, file=sys.stderr)
                yield row
        except Missing as missing:
            yield Row(each.what, "", [], missing=str(missing))


@contextlib.contextmanager
def _bytecode() -> Iterator[None]:
    """Machines start from bytecode, as an installed cpuemu does, whatever this shell says; none stays in the tree."""
    with tempfile.TemporaryDirectory(prefix="cpuemu-bytecode-") as directory:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = directory
        yield


main(prog_name="python -m benchmarks")
