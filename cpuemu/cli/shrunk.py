"""``cpuemu replay --shrink``: what it shows while it runs, and what it leaves."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpuemu.cli.explored import CLEAR, EVERY_S
from cpuemu.cli.told import tell as tell_story
from cpuemu.errors import UserError

if TYPE_CHECKING:
    from cpuemu.explore.failure import Failure
    from cpuemu.explore.shrink import Shrinking, Size

INTERRUPTED = 130


def beside(file: Path) -> Path:
    """Where the smaller one of a file goes."""
    return file if file.stem.endswith("-small") else file.with_name(f"{file.stem}-small{file.suffix}")


def shrink(file: Path, failure: Failure, schedules: int, seconds: float | None, jobs: int, as_json: bool,
           everything: bool) -> int:
    """Make it smaller; every step on the way is kept at once.  The exit code.  Raises UserError."""
    from cpuemu.coordinator.interrupts import interrupts
    from cpuemu.explore.failure import save
    from cpuemu.explore.shrink import Shrinking

    small = beside(file)
    began = time.monotonic()
    progress = _Progress(schedules, began)

    def tell(shrinking: Shrinking) -> None:
        if progress.show(shrinking):
            save(shrinking.smallest, small)

    with interrupts() as interrupted:
        until = began + seconds if seconds is not None else float("inf")
        shrinking = Shrinking(failure, schedules, until, jobs, interrupted, tell)
        try:
            smallest = shrinking.run()
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
        finally:
            progress.end()
    save(smallest, small)
    why = "interrupted" if interrupted else "a limit ended it" if shrinking.over else ""
    if as_json:
        sys.stdout.write(json.dumps(_data(small, shrinking, progress.first, why), indent=2) + "\n")
    else:
        click.echo(f"{_change(progress.first, shrinking.size)} ({shrinking.tried} schedules, "
                   f"{time.monotonic() - began:.1f} s{f'; {why}' if why else ''})")
        click.echo(f"{smallest.verdict}: {smallest.message}\n  cpuemu replay {small}")
        if not interrupted:
            click.echo()
            tell_story(smallest, False, everything)
    return INTERRUPTED if interrupted else 0


class _Progress:
    """On stderr: each smaller one, and now and then how many were tried."""

    def __init__(self, wanted: int, began: float) -> None:
        self.wanted, self.began, self.shown = wanted, began, began
        self.terminal = sys.stderr.isatty()
        self.first: Size | None = None
        self.last: Size | None = None

    def show(self, shrinking: Shrinking) -> bool:
        """Whether it is smaller than the last time."""
        smaller = self.last is not None and shrinking.size != self.last
        self.first, self.last = self.first or shrinking.size, shrinking.size
        now = time.monotonic()
        if now - self.shown >= (EVERY_S / 10 if self.terminal else EVERY_S):
            self.shown = now
            line = (f"  {shrinking.tried} of at most {self.wanted} schedules, {now - self.began:.0f} s: "
                    f"{_change(self.first, shrinking.size)}")
            click.echo((CLEAR if self.terminal else "") + line, nl=not self.terminal, err=True)
        return smaller

    def end(self) -> None:
        if self.terminal:
            click.echo(CLEAR, nl=False, err=True)


def _change(first: Size | None, last: Size) -> str:
    """What there was and what is left: "CPUs 4 → 3, steps 246 → 62"; what never was there is not named."""
    before = first or last
    told = []
    for name, old, new in zip(last._fields, before, last, strict=True):
        if old or new:
            told.append(f"{'CPUs' if name == 'cpus' else name} {f'{old} → ' if old != new else ''}{new}")
    return ", ".join(told)


def _data(small: Path, shrinking: Shrinking, first: Size | None, why: str) -> dict[str, Any]:
    return {"file": str(small), "schedules": shrinking.tried, "ended": why or "nothing smaller was found",
            "signature": shrinking.signature, "before": (first or shrinking.size)._asdict(),
            "after": shrinking.size._asdict()}
