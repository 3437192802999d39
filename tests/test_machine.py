"""Whole machines, of the sizes and preemption models that tox varies: what is printed is what happened."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from tests.launched import ROOT, Launched
from tests.matrix import CPUS, PREEMPT
from tests.verdicts import behaves

pytestmark = pytest.mark.timeout(110)
PREEMPTION = ("--preempt", PREEMPT)
PAGE_EVENTS = {"alloc": "mm_page_alloc", "free": "mm_page_free", "refill": "mm_page_alloc_zone_locked",
               "drain": "mm_page_pcpu_drain"}


@pytest.mark.parametrize("cpus", CPUS)
def test_boot_storm_hotplug_power_off(launch: Callable[..., Launched], cpus: int) -> None:
    """Page conservation is exact, whatever the number of CPUs; every write but on the largest is a declared one."""
    checked = ("--checked",) if cpus <= 8 else ()
    run = launch("--cpus", str(cpus), *checked, "--workload", "storm", "--memory", "64M", "--seconds", "2", "--hotplug",
                 "random:0.05" if cpus > 1 else "none", *PREEMPTION)
    code, said = run.end(100)
    assert behaves(code, said), (said, run.log)
    pages, counts = said["pages"], said["counts"]
    assert pages["managed"] == pages["buddy"] + pages["pcp"] + pages["allocated"]
    assert (said["cpus"], said["preempt"]) == (cpus, PREEMPT)
    assert counts["alloc"] and counts["free"]
    assert counts["offline"] - counts["online"] in (0, *range(cpus)) and (counts["offline"] or cpus == 1)


@pytest.mark.parametrize("cpus", CPUS)
def test_the_recording(launch: Callable[..., Launched], cpus: int) -> None:
    code, said = launch("--cpus", str(cpus), *PREEMPTION).end(100)
    assert behaves(code, said), said
    pages = said["pages"]
    assert pages["managed"] == pages["buddy"] + pages["pcp"] + pages["allocated"]


def test_counters_are_the_events_of_a_lossless_trace(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "4", "--workload", "storm:20000", "--memory", "64M", "--hotplug", "random:0.1", "--trace",
                 "all", *PREEMPTION)
    code, said = run.end(100)
    assert behaves(code, said), (said, run.log)
    result = subprocess.run([sys.executable, "-m", "tools.trace_dump", str(run.run_dir)], cwd=ROOT, text=True,
                            capture_output=True, check=True)
    kept, written = re.findall(r"entries-written: (\d+)/(\d+)", result.stdout)[0]
    assert kept == written == str(sum(line[0] != "#" for line in result.stdout.splitlines()))
    events = Counter(re.findall(r"^[^#]{16}-\d+ .*?\d: (\w+):", result.stdout, re.MULTILINE))
    failed = len(re.findall(r" mm_page_alloc: page=\(null\)", result.stdout))
    found = {name: events[event] for name, event in PAGE_EVENTS.items()}
    found["alloc"] -= failed  # the kernel traces an allocation that failed, too
    assert found == {name: said["counts"][name] for name in PAGE_EVENTS}
    assert failed == said["counts"]["alloc_failed"]
    assert events["cpuemu_cpu_offline"] == said["counts"]["offline"]
    assert events["ipi_raise"] == said["counts"]["ipi_sent"]
    times = [float(moment) for moment in re.findall(r"(\d+\.\d{6}): ", result.stdout)]
    assert times == sorted(times)


def test_pages_counted_from_the_documentation(launch: Callable[..., Launched]) -> None:
    """By a program that is no part of the machine: it reads the RAM file as docs/layout.md says."""
    run = launch("--cpus", "2", "--workload", "storm:3000", "--memory", "32M", *PREEMPTION)
    _, said = run.end(60)
    counted = subprocess.run([sys.executable, "-m", "tests.count_pages", str(run.run_dir)], cwd=ROOT, text=True,
                             capture_output=True, check=True)
    assert json.loads(counted.stdout) == said["pages"]
