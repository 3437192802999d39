"""What ``trace-dump`` is asked besides the trace: ``--why``, ``--cmd`` and ``--shell``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from cpuemu.report.crash.commands import run
from cpuemu.report.crash.reading import Reading, UsageError
from cpuemu.report.image import Image
from cpuemu.report.why.text import why_text


def answer(image: Image, why: bool, commands: Sequence[str], shell: bool) -> Iterator[str]:
    """The lines, in the order of the command line's help.  Raises click.UsageError for a command that cannot be."""
    if why:
        yield from why_text(image)
    for line in commands:
        try:
            yield from run(Reading(image), line)
        except UsageError as error:
            raise click.UsageError(f"--cmd {line}: {error}") from None
    if shell:
        from cpuemu.report.crash.shell import interactive

        interactive(image)
