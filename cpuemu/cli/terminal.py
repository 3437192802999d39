"""The terminal as a file that never holds its writer up: one that is stopped, slow or gone costs a picture, not a run.

It is opened once more, so that O_NONBLOCK is ours alone and not the shell's too.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import time

DEFAULT_SIZE = (80, 24)
BEGIN_FRAME, END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronized output: a terminal that knows it shows what lies between at once; the others ignore it."""


class Terminal(io.TextIOBase):
    """Writes what the terminal takes, and keeps the rest of a picture for the next call."""

    def __init__(self, descriptor: int) -> None:
        self.stdout = descriptor
        flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self.descriptor = os.open(os.ttyname(descriptor), flags)
        except OSError:  # a terminal without a name here, as in a container: better than none
            self.descriptor = os.dup(descriptor)
        self.left = b""
        self.gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not self.gone:
            self.left += (BEGIN_FRAME + text + END_FRAME).encode()
            self.flush()
        return len(text)

    def flush(self) -> None:
        """As much as the terminal takes now."""
        try:
            while self.left and not self.gone:
                self.left = self.left[os.write(self.descriptor, self.left):]
        except BlockingIOError:
            pass
        except OSError:  # it was hung up
            self.gone = True

    def ready(self) -> bool:
        """Whether a picture can be drawn: all of the last one is out, and we are the ones who may write here."""
        self.flush()
        return not self.left and not self.gone and self.in_foreground()

    def in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.stdout) == os.getpgrp()
        except OSError:  # not our controlling terminal: nobody else's shell is on it either
            return True

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self.stdout)
        except OSError:
            return DEFAULT_SIZE
        return columns or DEFAULT_SIZE[0], lines or DEFAULT_SIZE[1]

    def finish(self, limit_s: float) -> None:
        """Give a terminal that is slow a moment to take the rest."""
        end = time.monotonic() + limit_s
        poller = select.poll()
        poller.register(self.descriptor, select.POLLOUT)
        while self.left and not self.gone and (rest := end - time.monotonic()) > 0:
            poller.poll(rest * 1000)
            self.flush()

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError):
                os.close(self.descriptor)
        super().close()
