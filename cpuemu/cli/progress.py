"""The progress line: in place on a terminal, a plain line every two seconds elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from cpuemu.coordinator.launcher import Progress

PLAIN_EVERY_S = 2.0


class Display:
    """Shows Progress until the run is over."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.terminal = sys.stderr.isatty()
        self.last = time.monotonic()
        self.width = 0

    def __enter__(self) -> Display:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._erase()

    def show(self, progress: Progress) -> None:
        if self.quiet:
            return
        if self.terminal:
            self._erase()
            text = line(progress)[:118]
            self.width = len(text)
            sys.stderr.write(text)
        elif time.monotonic() - self.last >= PLAIN_EVERY_S:
            self.last = time.monotonic()
            sys.stderr.write(line(progress) + "\n")
        sys.stderr.flush()

    def _erase(self) -> None:
        if self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            sys.stderr.flush()
            self.width = 0


def line(progress: Progress) -> str:
    """``12.3 s running 45% cpus 7/8 alloc 1.2M free 1.1M ipi 3.4k  cpu 3 offline``"""
    parts = [f"{progress.seconds:5.1f} s {progress.phase}"]
    if progress.total:
        parts.append(f"{100 * progress.done // progress.total}% of {progress.total} lines")
    parts.append(f"cpus {progress.online}/{progress.cpus}")
    parts += [f"alloc {short(progress.allocs)}", f"free {short(progress.frees)}", f"ipi {short(progress.ipis)}"]
    parts += [each for each in (progress.hotplug, progress.note) if each]
    return "  ".join(parts)


def short(number: int) -> str:
    """1234 -> 1.2k"""
    value = float(number)
    for unit in ("", "k", "M"):
        if value < 1000:
            return f"{value:.0f}" if not unit else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}G"
