"""What a launch shows while it runs: a live table, a line in place, plain lines, or nothing."""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol

from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.launcher import Progress
from cpuemu.layout import Machine

PLAIN_EVERY_S = 2.0


class Display(Protocol):
    """Shows Progress until the run is over."""

    def show(self, progress: Progress) -> None: ...


class Nothing:
    """For ``--quiet`` and ``--json``."""

    def show(self, progress: Progress) -> None:
        pass


class Lines:
    """On stderr: one line, in place, on a terminal; elsewhere a line every two seconds."""

    def __init__(self, in_place: bool) -> None:
        self.in_place = in_place
        self.last = time.monotonic()
        self.width = 0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._erase()

    def show(self, progress: Progress) -> None:
        if self.in_place:
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


def display(config: LaunchConfig, machine: Machine, workload: str) -> AbstractContextManager[Display]:
    """The display that fits: live where a person looks at stdout, and lines on stderr where none does."""
    if config.quiet or config.json:
        return nullcontext(Nothing())
    smart = os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    if smart and sys.stdout.isatty() and sys.stdout.encoding.lower().startswith("utf"):
        from cpuemu.cli.live import LiveDisplay

        title = f"{config.cpus} CPUs, {config.profile}, preempt {config.preempt}, {workload}, seed {config.seed}"
        return LiveDisplay(sys.stdout.fileno(), machine, title, config.seconds)
    return Lines(in_place=smart and sys.stderr.isatty())


def line(progress: Progress) -> str:
    """``12.3 s running  cpus 7/8  alloc 1.2M  free 1.1M  ipi 3.4k  cpu 3 offline: CPU_DEAD, 6 of 8``"""
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
