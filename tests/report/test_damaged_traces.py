"""Rings that hold anything: every format tells what it can, and no number in a record stops or floods it."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cpuemu.events import RECORD, RECORD_SIZE, Event, Ring
from cpuemu.report.formats import FORMATS
from tests.handmade import T0
from tests.launched import ROOT
from tests.report.run_directory import RunDirectory

RECORDS = 512
MEMORY = 1 << 30
EDGES = (0, 1, 5, 63, 64, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damaged(path: Path, seed: int) -> Path:
    """Every event with arguments that no machine writes, tasks that do not exist, times that jump."""
    draw = random.Random(seed)
    run = RunDirectory(path, sizes=(RECORDS, RECORDS))
    for cpu in range(run.cpus):
        for ring in (Ring.PAGES, Ring.SLOW):
            for position in range(RECORDS):
                args = [draw.choice(EDGES) if draw.random() < 0.5 else draw.getrandbits(32) for _ in range(4)]
                event = draw.choice(list(Event)) if draw.random() < 0.9 else draw.getrandbits(8)
                time_ns = T0 + position * 1000 if draw.random() < 0.9 else draw.getrandbits(64)
                place = run.place(cpu, ring, position)
                run.rings[place : place + RECORD_SIZE] = RECORD.pack(
                    time_ns, position + 1, event, draw.getrandbits(8), draw.getrandbits(16), *args)
            run.head(cpu, ring).written = RECORDS
    return run.save()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", [1, 2])
def test_any_record(tmp_path: Path, form: str, seed: int) -> None:
    if form == "perfetto":
        pytest.importorskip("perfetto", reason="no package perfetto")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "tools.trace_dump", str(damaged(tmp_path / "run", seed)), "--format", form, "-o",
         str(out)], cwd=ROOT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)))
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    if form in ("text", "json"):
        lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
        assert len(lines) == 8 * RECORDS
    if form == "json":
        assert all(json.loads(line)["args"] for line in lines)
