"""Machines started by the real command, in a directory of their own, for as long as a measurement takes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Missing
from cpuemu.core import now
from cpuemu.layout import MachineState
from cpuemu.report.image import Image, ImageError, open_image

ROOT = Path(__file__).resolve().parent.parent
INSIDE = Path(__file__).resolve().parent / "inside.py"
LIMIT_S = 180.0
RESULTS = "CPUEMU_BENCHMARK"
"""Names the file that ``inside.py`` reads its orders from and writes its figures to."""


class Launched:
    """``cpuemu launch`` under way.  ``started_ns``: CLOCK_MONOTONIC just before its exec."""

    def __init__(self, run_dir: Path, options: tuple[str, ...], environment: dict[str, str]) -> None:
        self.run_dir = run_dir
        self.started_ns = now()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cpuemu", "launch", "--run-dir", str(run_dir), "--json", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, cwd=ROOT)

    def end(self) -> dict[str, Any]:
        """What --json printed.  Raises Missing when the machine did not end well."""
        output, errors = self.process.communicate(timeout=LIMIT_S)
        said: dict[str, Any] = json.loads(output) if output else {}
        if said.get("verdict") not in ("ok", "known-defect"):
            why = errors.strip().splitlines()[-1:] or [f"verdict {said.get('verdict')}: {said.get('notes')}"]
            raise Missing(f"a machine that lives: {why[0]}")
        return said

    def running(self) -> Image:
        """Its memory, as soon as all CPUs are up."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(ImageError):
                image = open_image(self.run_dir)
                while image.machine.header.state == MachineState.BOOTING and self.process.poll() is None:
                    time.sleep(0.01)
                return image
            time.sleep(0.01)
        raise Missing("a machine that boots: cpuemu launch ended before its CPUs were up")


@contextlib.contextmanager
def launched(*options: str, environment: dict[str, str] | None = None) -> Iterator[Launched]:
    """A machine, and nothing left of it."""
    directory = Path(tempfile.mkdtemp(prefix="cpuemu-benchmark-"))
    machine = Launched(directory / "run", options, environment or {})
    try:
        yield machine
    finally:
        if machine.process.poll() is None:
            machine.process.terminate()
            machine.process.wait(LIMIT_S)
        shutil.rmtree(directory, ignore_errors=True)


def inside(cpus: int, look: Callable[[Image], None] = lambda image: None, **rounds: int) -> dict[str, list[int]]:
    """Figures taken by ``inside.py`` in the kernel of a machine: nanoseconds of each round, by name.

    One task runs on CPU 0, every other CPU is idle and asleep.  ``look`` is shown what the machine leaves.
    """
    with tempfile.NamedTemporaryFile("w+", suffix=".json") as file:
        json.dump(rounds, file)
        file.flush()
        # Reclaim that finds little makes progress that is not enough: that is when v3.2 drains.
        with launched("--cpus", str(cpus), "--workload", "pressure", "--tasks", "1", "--busy-cpus", "1",
                      "--reclaim-success", "0.02", "--hotplug", "none", "--policy", f"{INSIDE}:Inside",
                      environment={RESULTS: file.name}) as machine:
            machine.end()
            look(open_image(machine.run_dir))
        figures: dict[str, list[int]] = json.loads(Path(file.name).read_text())
    if not all(isinstance(figures.get(name), list) for name in rounds):
        raise Missing("a drain: the machine ended without one, so that nothing was measured in it")
    return figures
