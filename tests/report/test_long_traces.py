"""A long trace needs no more memory than a short one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cpuemu.report.formats import FORMATS
from tests.launched import ROOT
from tests.report.long_trace import long_trace

MORE_KIB = 5 << 10

PEAK = """
import sys
from pathlib import Path
from cpuemu.report.trace_dump import main
try:
    main()
finally:
    print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""
"""VmHWM: what wait4 reports for a child has its parent's peak before exec in it."""


def peak(run: Path, *options: str) -> tuple[int, int]:
    """The largest resident set of a dump, in KiB, and the bytes it wrote."""
    out = run.parent / "out"
    dumped = subprocess.run([sys.executable, "-c", PEAK, str(run), *options, "-o", str(out)], cwd=ROOT, text=True,
                            capture_output=True, check=True)
    return int(dumped.stdout), out.stat().st_size


def compare(tmp_path: Path, form: str, short: int, long: int) -> None:
    low, few = peak(long_trace(tmp_path / "short", short), "--format", form)
    high, many = peak(long_trace(tmp_path / "long", long), "--format", form)
    least = 0.4 if form == "trace.dat" else 0.7  # its heading is as long for a short trace
    assert many > few * long / short * least
    assert high < low + MORE_KIB, (low, high)


@pytest.mark.parametrize("form", FORMATS)
def test_constant_memory(tmp_path: Path, form: str) -> None:
    compare(tmp_path, form, 4_000, 80_000)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_million_events_in_constant_memory(tmp_path: Path, form: str) -> None:
    compare(tmp_path, form, 10_000, 1_000_000)
