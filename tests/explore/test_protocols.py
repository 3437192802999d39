"""The machine's own protocols under chosen schedules: no oracle has anything to say, whatever is interleaved."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.explore.protocols import ALL
from tests.explore.test_machine import cpuemu
from tests.launched import ROOT

SECONDS = 3.0
LONG_SECONDS = float(os.environ.get("CPUEMU_PROTOCOL_SECONDS", "120"))
MODELS = ("none", "voluntary", "full")


TURNS = 10
"""How often a moment is gone on with, until something was interleaved: a loaded host needs more than one."""


def silent(place: Path, name: str, preempt: str, seconds: float, seed: int) -> None:
    for _ in range(TURNS):
        run = cpuemu(place, "explore", f"{ROOT}/tests/explore/protocols.py:{name.upper()}", "--preempt", preempt,
                     "--seconds", str(seconds), "--schedules", "1000000", "--seed", str(seed), "--json",
                     wait=seconds + 90)
        said = json.loads(run.stdout)
        assert (run.returncode, said["failures"], said["cut"]) == (0, 0, 0), (said["signatures"], said["files"])
        if said["orders"] > 1:
            return
    raise AssertionError("nothing was interleaved")


@pytest.mark.timeout(110)
@pytest.mark.parametrize(("name", "preempt"), list(zip(ALL, ("full", "none", "voluntary", "full"), strict=True)))
def test_a_protocol_for_a_moment(tmp_path: Path, name: str, preempt: str) -> None:
    silent(tmp_path, name, preempt, SECONDS, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(LONG_SECONDS + 120)
@pytest.mark.parametrize("preempt", MODELS)
@pytest.mark.parametrize("name", ALL)
def test_a_protocol_for_long(tmp_path: Path, name: str, preempt: str) -> None:
    silent(tmp_path, name, preempt, LONG_SECONDS, seed=2)
