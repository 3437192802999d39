"""What to type next: the command that shows more of a run, and the one that runs it again."""

from __future__ import annotations

import shlex

from cpuemu.coordinator.config import LaunchConfig
from cpuemu.report.image import Image


def trace_dump_of(image: Image, rest: str) -> str:
    """``trace-dump RUN_DIR --why``"""
    return f"trace-dump {shlex.quote(str(image.directory))} {rest}"


def again(image: Image) -> str:
    """From the verdict; where nobody gave one, from the configuration; empty where both are damaged."""
    said = image.verdict.get("again")
    if said:
        return str(said)
    known = LaunchConfig.__dataclass_fields__
    try:
        return LaunchConfig(**{key: value for key, value in image.configuration.items() if key in known}).command()
    except (TypeError, ValueError):
        return ""
