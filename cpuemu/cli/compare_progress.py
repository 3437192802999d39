"""How far a comparison is: a bar with the time left on a terminal, a plain line a run elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class CompareProgress:
    """``plain``: whether lines are wanted where stderr is no terminal."""

    def __init__(self, runs: int, plain: bool) -> None:
        self.runs, self.plain, self.done, self.started = runs, plain, 0, time.monotonic()
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __enter__(self) -> CompareProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            # Drawn when told to, never by a thread: machines are forked from this process.
            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"),
                console=Console(file=sys.stderr), auto_refresh=False, transient=True, redirect_stdout=False,
                redirect_stderr=False)
            self.bar.start()
            self.task = self.bar.add_task("", total=self.runs, left="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()

    def begins(self, text: str) -> None:
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, description=text, refresh=True)

    def ended(self, text: str) -> None:
        self.done += 1
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.done, left=self.left(), refresh=True)
        elif self.plain:
            sys.stderr.write(f"{text} ({self.done} of {self.runs}{', ' * bool(self.left())}{self.left()})\n")
            sys.stderr.flush()

    def left(self) -> str:
        """``2 min 10 s left``, from the mean of the runs so far."""
        seconds = ceil((time.monotonic() - self.started) / max(1, self.done) * (self.runs - self.done))
        if not seconds:
            return ""
        minutes, rest = divmod(seconds, 60)
        return f"{minutes} min {rest} s left" if minutes else f"{rest} s left"
