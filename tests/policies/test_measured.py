"""What is counted is what happened: counters of a real run against the events of its lossless trace."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cpuemu.layout import OOM_MOMENTS
from tests.launched import Launched
from tests.verdicts import behaves

TIGHT = ("--cpus", "4", "--memory", "16M", "--workload", "storm:4000", "--tasks", "10", "--trace", "all")
BEGIN = re.compile(r"cpuemu_drain_all_begin: cpus_with_pages=(\d+) cpus_online=(\d+) under_way=(\d+)")
END = re.compile(r"cpuemu_drain_all_end: usecs=(\d+) pages=(\d+) ipis=(\d+)")


def events(run: Launched, *names: str) -> str:
    command = [sys.executable, "-m", "cpuemu.report.trace_dump", str(run.run_dir)]
    for name in names:
        command += ["--event", name]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def judged(run: Launched) -> dict[str, Any]:
    code, said = run.end(100)
    assert behaves(code, said), said
    return said


@pytest.mark.parametrize("policy", ["on-each-cpu", "cpus-with-pages"])
def test_drains_as_their_events_say(launch: Callable[..., Launched], policy: str) -> None:
    run = launch(*TIGHT, "--policy", policy)
    said = judged(run)
    counts, trace = said["counts"], events(run, "cpuemu_drain_all_*", "mm_page_pcpu_drain", "mark_victim")
    begun = [[int(number) for number in each] for each in BEGIN.findall(trace)]
    ended = [[int(number) for number in each] for each in END.findall(trace)]
    assert counts["drain_all"] == len(begun) == len(ended) > 0
    assert counts["drain_avoidable"] == sum(2 * with_pages <= online for with_pages, online, _ in begun)
    assert counts["drain_overlap"] == sum(under_way for _, _, under_way in begun)
    assert said["drains_at_once"] == max(under_way for _, _, under_way in begun)
    assert counts["drain_found"] == sum(pages for _, pages, _ in ended) <= trace.count("mm_page_pcpu_drain:")
    assert counts["drain_empty"] == sum(pages == 0 for _, pages, _ in ended)
    assert counts["drain_ipi"] == sum(ipis for _, _, ipis in ended)
    assert counts["oom"] == trace.count("mark_victim:")


def test_oom_moments_and_allocations_as_their_events_say(launch: Callable[..., Launched]) -> None:
    run = launch(*TIGHT, "--policy", "local-only")
    said = judged(run)
    counts, trace = said["counts"], events(run, "cpuemu_oom_moment", "mark_victim", "mm_page_alloc")
    moments = re.findall(r"cpuemu_oom_moment: order=(\d+) missing=(\d+) .* moment=(\d+)", trace)
    assert said["oom"]["moments"] == len(moments) >= counts["oom"] == trace.count("mark_victim:") > 0
    kept = [(order, missing) for order, missing, number in moments if int(number) < OOM_MOMENTS]
    assert said["oom"]["not_kept"] == len(moments) - len(kept)
    assert said["oom"]["all"]["order_0"] == sum(order == "0" for order, _ in kept)
    assert said["oom"]["all"]["short"] == sum(order == "0" and missing != "0" for order, missing in kept)
    assert said["oom"]["all"]["after_drain"] == 0 and counts["oom_no_drain"] == counts["oom"]
    assert 0 < said["oom"]["first_kill_seconds"] <= said["seconds"]
    allocated = re.findall(r"mm_page_alloc: page=(\S+) pfn=\S+ order=(\d+)", trace)
    high = [page for page, order in allocated if order != "0"]
    assert counts["alloc"] + counts["alloc_failed"] == len(allocated)
    assert counts["alloc_high_order"] + counts["alloc_failed_high_order"] == len(high)
    assert counts["alloc_failed_high_order"] == high.count("(null)")
    latency = said["latency_us"]["alloc"]
    fast = 64 * said["cpus"]  # of each CPU's last sample
    assert abs(latency["n"] - len(allocated)) <= fast
    assert said["latency_us"]["alloc_slowpath"]["n"] < latency["n"]
