"""What trace-dump can write: each format by its name, and who writes it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import click

from cpuemu.report.image import Image
from cpuemu.report.records import Record

LINES = 512
"""Written at a time."""


def _text(found: Iterable[Record], image: Image, out: BinaryIO) -> None:
    from cpuemu.report.text import heading, lines

    _write(heading(image), out)
    _write(lines(found, image), out)


def _json(found: Iterable[Record], image: Image, out: BinaryIO) -> None:
    from cpuemu.report.json_lines import json_lines

    _write(json_lines(found, image), out)


def _perfetto(found: Iterable[Record], image: Image, out: BinaryIO) -> None:
    try:
        from cpuemu.report.perfetto import write
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("perfetto", "google"):
            raise
        raise click.UsageError("--format perfetto: needs the package perfetto: pip install 'cpuemu[perfetto]'"
                               ) from None
    write(found, image, out)


def _trace_dat(found: Iterable[Record], image: Image, out: BinaryIO) -> None:
    from cpuemu.report.trace_dat import write

    write(found, image, out)


def _write(lines: Iterator[str], out: BinaryIO) -> None:
    while some := list(islice(lines, LINES)):
        out.write(("\n".join(some) + "\n").encode(errors="replace"))


FORMATS: dict[str, Callable[[Iterable[Record], Image, BinaryIO], None]] = {
    "text": _text, "json": _json, "perfetto": _perfetto, "trace.dat": _trace_dat}
BINARY = {"perfetto", "trace.dat"}


def dump(form: str, found: Iterable[Record], image: Image, output: Path | None) -> None:
    """Write a trace to a file or to standard output."""
    if output is not None:
        with _create(output) as file:
            FORMATS[form](found, image, file)
        return
    if form in BINARY and sys.stdout.isatty():
        raise click.UsageError(f"--format {form}: it is not for a terminal; give -o FILE")
    FORMATS[form](found, image, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _create(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise click.UsageError(f"-o {path}: {error.strerror}") from None
