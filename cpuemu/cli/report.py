"""``cpuemu report``: a run directory as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

EXAMPLES = """
\b
Examples:
  cpuemu report RUN_DIR
  cpuemu report RUN_DIR -o monday.html
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html",
              help="Where the report goes.  [report.html in the run directory]")
def report(run_dir: Path, output: Path | None) -> None:
    """Write a run as one HTML file that opens in any browser and needs no network.

    Verdict and findings, a timeline of the CPUs to zoom into, free pages against the watermarks, interrupts from CPU
    to CPU, latencies, who waits for whom, and the life of single pages.  Nothing has to be alive: the files are enough.
    """
    from cpuemu.errors import UserError
    from cpuemu.report.html.document import write_report
    from cpuemu.report.image import ImageError, open_image

    path = output or run_dir / "report.html"
    try:
        size = write_report(open_image(run_dir), path)
    except ImageError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another place with -o") from None
    click.echo(f"{path}: {size / 1e6:.1f} MB")
