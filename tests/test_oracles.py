"""Every oracle has a mutant that makes it fire: a deliberate defect, run by the real command in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.launched import ROOT
from tests.mutants import MUTANTS

STORM = ("--memory", "64M", "--workload", "storm:20000")
TIGHT = ("--memory", "16M", "--workload", "storm:3000", "--tasks", "12")

# mutant -> options, and the rules of which one must be found
TABLE: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "no_drain_of_the_dead": ((*STORM, "--hotplug", "1,2"), {"pages-on-dead-cpu"}),
    "a_block_is_lost": (STORM, {"page-conservation"}),
    "freed_twice": (STORM, {"double-free"}),
    "calls_without_looking": (("--workload", f"{ROOT}/tests/calls.py:Calls", "--hotplug", "1,2,3"),
                              {"ipi-to-offline", "csd-lock-wait", "deadlock"}),
    "no_acknowledgement": (TIGHT, {"csd-lock-wait", "deadlock"}),
    "an_ack_too_few": ((*STORM, "--hotplug", "2"), {"stop-machine-stuck", "deadlock"}),
    "called_with_irqs_off": (TIGHT, {"smp-call-irqs-off"}),
}


def test_every_mutant_is_in_the_table() -> None:
    assert set(TABLE) == set(MUTANTS)


@pytest.mark.parametrize("name", TABLE)
def test_the_oracle_fires(name: str, launch: Callable[..., Any], sockets: Path, tmp_path: Path) -> None:
    options, rules = TABLE[name]
    command = [sys.executable, "-m", "tests.mutants", name, "launch", "--cpus", "4", "--json",
               "--run-dir", str(tmp_path / "run"), *options]
    environment = {**os.environ, "TMPDIR": str(sockets), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert run.returncode == 1, (run.returncode, run.stdout[-2000:], run.stderr[-2000:])
    said = json.loads(run.stdout)
    assert said["verdict"] == "failed"
    assert {finding["rule"] for finding in said["findings"]} & rules, said["findings"]
