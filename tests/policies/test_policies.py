"""What each answer of 2012 does to the same machine: short of memory, CPUs calling each other or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.launched import ROOT, Launched
from tests.verdicts import behaves

TIGHT = ("--cpus", "4", "--memory", "16M", "--workload", "storm:4000", "--tasks", "10", "--checked")
EVEN = f"{ROOT}/tests/policies/even_cpus.py:EvenCpus"


def run(launch: Callable[..., Launched], *options: str) -> dict[str, Any]:
    code, said = launch(*TIGHT, "--trace", "all", *options).end(100)
    assert behaves(code, said), said
    assert said["counts"]["direct_reclaim"] > 0
    return said


@pytest.mark.parametrize("options", [
    ("--profile", "v3.2"), ("--profile", "v3.4"), ("--policy", "drain-with-hotplug-lock"), ("--policy", EVEN)],
    ids=["v3.2", "v3.4", "hotplug-lock", "even"])
def test_drains_of_all_cpus(launch: Callable[..., Launched], options: tuple[str, ...]) -> None:
    said = run(launch, *options)
    assert said["counts"]["drain_all"] > 0
    assert said["latency_us"]["drain_all"]["n"] == said["counts"]["drain_all"]


def test_the_patch_of_2012_interrupts_nobody(launch: Callable[..., Launched]) -> None:
    said = run(launch, "--profile", "gorman-2012")
    assert said["counts"]["drain_all"] == 0
    assert said["counts"]["drain"] > 0


def test_v34_never_hands_over_an_empty_mask(launch: Callable[..., Launched]) -> None:
    assert run(launch, "--profile", "v3.4")["findings"] == []


@pytest.mark.parametrize(("policy", "sentence"), [
    ("nobody", "unknown; known are on-each-cpu"), ("none.py:X", "there is no file none.py"),
    (f"{EVEN}X", "has no class EvenCpusX"), (EVEN.partition(":")[0], "name the class too")])
def test_a_policy_that_is_none(launch: Callable[..., Launched], policy: str, sentence: str) -> None:
    process = launch("--policy", policy, json=False).process
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
