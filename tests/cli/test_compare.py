"""``cpuemu compare`` from end to end: real machines, their numbers in JSON, CSV and drawing, and every early end."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.launched import ROOT

TIGHT = ("--cpus", "4", "--workload", "storm:3000", "--memory", "16M", "--seeds", "2")
BROKEN = f"{ROOT}/tests/policies/irqs_off.py:IrqsOff"
NOBODY = f"{ROOT}/tests/policies/drain_nobody.py:DrainNobody"


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "cpuemu", "compare", *options]


def environment(sockets: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(sockets), "PYTHONPATH": str(ROOT)}


def compare(sockets: Path, *options: str) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(command(*options), capture_output=True, text=True, env=environment(sockets), timeout=100,
                         check=False)
    print(run.stdout, run.stderr, sep="\n")
    return run


def test_fewer_interrupts_where_only_cpus_with_pages_are_asked(launch: Callable[..., Any], sockets: Path,
                                                               tmp_path: Path) -> None:
    table, drawing = tmp_path / "runs.csv", tmp_path / "plot.svg"
    run = compare(sockets, "--policy", "on-each-cpu", "--policy", "cpus-with-pages", "--policy", "local-only",
                  "--policy", NOBODY, *TIGHT, "--json", "--csv", str(table), "--plot", str(drawing))
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    said = json.loads(run.stdout)
    every, some, none, nobody = said["policies"].values()
    assert list(said["policies"]) == ["on-each-cpu", "cpus-with-pages", "local-only", NOBODY]
    assert every["drains"]["mean"] > 0
    assert none["drains"] == {"mean": 0, "low": 0, "high": 0, "difference": none["drains"]["difference"]}
    assert none["ipis_per_drain"]["mean"] is None
    assert some["ipis_per_drain"]["mean"] < every["ipis_per_drain"]["mean"] <= 3
    assert some["ipis_per_drain"]["difference"]["mean"] < 0
    rows = list(csv.DictReader(table.open()))
    assert [(row["policy"], row["seed"]) for row in rows[:2]] == [("on-each-cpu", "1"), ("on-each-cpu", "2")]
    assert sum(float(row["drains"]) for row in rows[:2]) / 2 == every["drains"]["mean"]
    assert ElementTree.parse(drawing).getroot().tag.endswith("svg")
    # A drain that reaches nobody finds nothing.
    assert nobody["drains_found_nothing"]["mean"] == nobody["drains"]["mean"] > 0 == nobody["ipis_per_drain"]["mean"]
    assert none["oom_after_a_drain"]["mean"] == 0
    claims = said["claim"]
    assert claims["local-only"]["moments"] >= claims["local-only"]["kills"]["moments"]
    assert claims["local-only"]["after_drain"]["count"] == 0
    assert said["avoidable_drains"]["on-each-cpu"]["of"] == 2 * every["drains"]["mean"]


def test_a_table_for_a_person(launch: Callable[..., Any], sockets: Path) -> None:
    run = compare(sockets, "--policy", "on-each-cpu", "--policy", "local-only", "--cpus", "2", "--workload",
                  "storm:300", "--memory", "64M", "--seeds", "1", "--busy-cpus", "1", "--no-migration")
    assert run.returncode == 0
    assert run.stdout.startswith("storm:300 on 2 CPUs, 64M, profile v3.2, no migration, busy CPUs 1, 1 seed")
    for words in ("drains of all CPUs", "order-0 allocations about to OOM", "drains avoidable by the count of 2012"):
        assert words in run.stdout
    assert max(map(len, run.stdout.splitlines())) < 160, "no wider than it must be, and nothing cut off"
    assert "…" not in run.stdout
    assert run.stderr.splitlines()[0].startswith("seed 1, on-each-cpu: ok, 0 drains, 0 OOM kills (1 of 2, ")
    assert run.stderr.splitlines()[1].endswith("(2 of 2)")


@pytest.mark.parametrize(("options", "sentence"), [
    (("--policy", "on-each-cpu"), "give two different policies"),
    (("--policy", "on-each-cpu", "--policy", "nobody"), "unknown; known are"),
    (("--policy", "on-each-cpu", "--policy", "local-only", "--cpus", "0"), "--cpus 0"),
    (("--policy", "on-each-cpu", "--policy", "local-only", "--busy-cpus", "9"), "--busy-cpus 9: the machine has 8"),
    (("--policy", "on-each-cpu", "--policy", "local-only", "--csv", "/nowhere/x.csv"), "--csv /nowhere/x.csv: cannot"),
    (("--policy", "on-each-cpu", "--policy", "local-only", "--plot", "/"), "--plot /: cannot be written")])
def test_what_cannot_be_compared(launch: Callable[..., Any], sockets: Path, options: tuple[str, ...],
                                 sentence: str) -> None:
    """Said before the first machine runs, in one line."""
    run = compare(sockets, *options, "--workload", "storm:10", "--seeds", "1", "--memory", "16M")
    assert (run.returncode, run.stdout) == (2, "")
    assert sentence in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_machine_that_fails_ends_it_and_stays(launch: Callable[..., Any], sockets: Path, tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    run = compare(sockets, "--policy", "local-only", "--policy", BROKEN, *TIGHT, "--csv", str(table))
    try:
        assert run.returncode == 1
        [sentence] = [line for line in run.stderr.splitlines() if line.startswith("cpuemu: ")]
        assert sentence.startswith(f"cpuemu: seed 1 of {BROKEN} ended failed, and a comparison needs machines that")
        assert sentence.endswith("0 of 2 seeds are finished")
        [kept] = sockets.glob("cpuemu-compare-*")
        assert f"trace-dump {kept} --state" in sentence
        assert (kept / "verdict.msgpack").exists() and (kept / "ram").exists()
        assert run.stdout == "" and not table.exists(), "nothing was finished"
    finally:
        for directory in sockets.glob("cpuemu-compare-*"):
            shutil.rmtree(directory)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_prints_what_is_finished(launch: Callable[..., Any], sockets: Path,
                                                number: signal.Signals) -> None:
    process = subprocess.Popen(
        command("--policy", "on-each-cpu", "--policy", "local-only", "--cpus", "2", "--workload", "storm:2000",
                "--memory", "64M", "--seeds", "1000"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(sockets))
    watchdog = threading.Timer(90, process.kill)
    watchdog.start()
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(3)]  # the third run is of seed 2
    process.send_signal(number)
    out, err = process.communicate()
    watchdog.cancel()
    print(*lines, out, err)
    assert process.returncode == 130
    assert "cpuemu: interrupted; " in err and "Traceback" not in err
    finished = int(err.split("interrupted; ")[1].split()[0])
    assert finished >= 1
    assert f"64M, profile v3.2, {finished} seed" in out
