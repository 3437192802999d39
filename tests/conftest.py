"""What tests that start a machine share: a place of its own for sockets, and a check that nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpuemu.coordinator.processes import adopt_orphans
from tests.launched import Launched, OnTerminal, children, is_zombie, title_of

GRACE_S = 5.0
"""What the tree is given to end after a death."""


@pytest.fixture(scope="session", autouse=True)
def _orphans_come_to_us() -> None:
    """Processes whose launcher was killed become children of the test run: none of them can hide."""
    adopt_orphans()


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A short temporary directory for socket directories; empty again at the end."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as name:
        yield Path(name)
        assert not list(Path(name).iterdir()), "socket directories are left behind"


@pytest.fixture
def launch(sockets: Path, tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """``launch("--workload", "storm")`` starts the real command; at the end no process of it may be there."""
    before = set(children(os.getpid()))
    started: list[Launched] = []

    def start(*options: str, json: bool = True, largest_file: int | None = None, module: str = "cpuemu",
              terminal: tuple[int, int] | None = None, in_shell: bool = False, **environment: str) -> Launched:
        environment = {"TMPDIR": str(sockets), **environment}
        run_dir = tmp_path / f"run{len(started)}"
        run = (Launched(run_dir, options, environment, json, largest_file, module) if terminal is None
               else OnTerminal(run_dir, options, environment, terminal, in_shell))
        started.append(run)
        return run

    yield start
    for run in started:
        run.process.kill()
        run.process.communicate()
    left = _wait_until_gone(before)
    _sweep_after_killed_launchers(started, sockets)
    assert not left, f"processes are left behind: {left}"


def _wait_until_gone(before: set[int]) -> list[str]:
    """Reap our new children until none is left; who is still alive after the grace."""
    end = time.monotonic() + GRACE_S
    while True:
        living = []
        for pid in set(children(os.getpid())) - before:
            if is_zombie(pid):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            else:
                living.append(f"{pid} {title_of(pid)}")
        if not living or time.monotonic() > end:
            return living
        time.sleep(0.02)


def _sweep_after_killed_launchers(started: list[Launched], sockets: Path) -> None:
    # A launcher and its coordinator killed together cannot remove their sockets: the next launch does it.
    if any(run.process.returncode == -9 for run in started):
        from cpuemu.coordinator.power_on import remove_stale

        remove_stale(sockets)
