"""The live display: a table that is drawn again a few times a second, from RAM, below the command.

It runs in the launcher's own loop, without a thread: the launcher forks, and waits for deaths.  When the run ends in
order the table goes and the summary takes its place; of a machine that failed the last picture stays, because that is
where it failed.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from types import TracebackType
from typing import IO, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cpuemu.cli.look import Watcher
from cpuemu.cli.screen import screen
from cpuemu.cli.terminal import Terminal
from cpuemu.coordinator.launcher import Progress
from cpuemu.core import now
from cpuemu.layout import Machine, MachineState

PERIOD_NS = 300_000_000
"""Between two pictures, at least: of the launcher's five looks a second every other one.  Numbers can be read."""
SHARE = 40
"""Many CPUs take long to draw: a fortieth of a core is enough for a display."""
FINISH_S = 1.0
"""What a slow terminal is given to take the end of the picture."""


class LiveDisplay:
    """The table, from the first look on until the run is over."""

    def __init__(self, descriptor: int, machine: Machine, title: str, goal_s: float | None) -> None:
        self.terminal = Terminal(descriptor)
        self.console = Console(file=cast("IO[str]", self.terminal), force_terminal=True, highlight=False, markup=False,
                               emoji=False)
        self.watcher, self.title, self.goal_s = Watcher(machine), title, goal_s
        self.live: Live | None = None
        self.size = (0, 0)
        self.next_ns = 0
        self.last: Progress | None = None
        self._suspended = False

    def __enter__(self) -> LiveDisplay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        failed = self.watcher.machine.header.state == MachineState.FAILED
        if failed and self.last is not None and self.terminal.ready():
            self._draw(replace(self.last, phase="failed", note=""))
        self._stop(vanish=not failed)
        if failed:
            self.console.line()
        self.terminal.finish(FINISH_S)
        self.terminal.close()

    def show(self, progress: Progress) -> None:
        if self._suspended:
            self._suspend()
        if now() >= self.next_ns and self.terminal.ready():
            began = time.thread_time_ns()
            self._draw(progress)
            self.next_ns = now() + max(PERIOD_NS, SHARE * (time.thread_time_ns() - began))

    def _draw(self, progress: Progress) -> None:
        self.last = progress
        size = self.terminal.size()
        picture = screen(self.watcher, progress, now(), size, self.title, self.goal_s)
        if size != self.size:
            self._resize(size)
        if self.live is None:
            self._start(picture)
        else:
            self.live.update(picture, refresh=True)

    # --- beginning, end, and what happens to a terminal ----------------------------------------------------

    def _start(self, picture: Text) -> None:
        if signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
            signal.signal(signal.SIGTSTP, self._wants_suspension)
        self.live = Live(picture, console=self.console, auto_refresh=False, redirect_stdout=False,
                         redirect_stderr=False, vertical_overflow="crop")
        self.live.start(refresh=True)

    def _stop(self, vanish: bool) -> None:
        if self.live is None:
            return
        self.live.transient = vanish
        self.live.stop()
        self.live = None
        if signal.getsignal(signal.SIGTSTP) == self._wants_suspension:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def _resize(self, size: tuple[int, int]) -> None:
        """Lines of another width have been folded by the terminal, nobody knows how: begin on an empty screen."""
        if self.live is not None:
            self._stop(vanish=True)
            self.console.clear()
        self.size = size
        self.console.width, self.console.height = size

    def _wants_suspension(self, number: int, _: object) -> None:
        self._suspended = True

    def _suspend(self) -> None:
        """Ctrl-Z: leave a terminal that a shell can use; afterwards draw anew below what the shell wrote."""
        self._suspended = False
        self._stop(vanish=True)
        self.terminal.finish(FINISH_S)
        os.kill(os.getpid(), signal.SIGTSTP)
