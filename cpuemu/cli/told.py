"""The story of a failure, on a terminal of whatever width."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cpuemu.explore.failure import Failure

WIDTH = 80
"""Where there is no terminal."""


def tell(failure: Failure, as_json: bool, everything: bool) -> None:
    """Raises UserError where the failure does not come back."""
    from cpuemu.explore.story import story_of
    from cpuemu.explore.story_text import text

    story = story_of(failure)
    if as_json:
        sys.stdout.write(json.dumps(story.data, indent=2) + "\n")
        return
    for line in text(story, shutil.get_terminal_size((WIDTH, 24)).columns, everything):
        click.echo(line)
