"""Nothing is taken on the word alone: with the ZeroMQ send replaced by nothing, the machine ends and names the pair."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cpuemu.kernel.smp import CSD_FLAG_LOCK
from tests.launched import Launched, wait_for

pytestmark = pytest.mark.timeout(90)

CALLS = """
from cpuemu.kernel.uapi import Call, Sleep

class Calls:
    tasks = 4

    def next(self, task):
        return Call((task.cpu + 1 + task.random(3)) % 4) if task.step % 2 else Sleep(1000)
"""


def test_frames_that_are_never_sent(launch: Callable[..., Launched], tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(CALLS)
    run = launch("--cpus", "4", "--workload", f"{tmp_path / 'calls.py'}:Calls", "--seconds", "30").running()
    machine = run.image.machine
    machine.header.ipi_disabled = 1
    wait_for(lambda: any(csd.flags & CSD_FLAG_LOCK for csd in machine.csds), 5, "somebody waits for a call")
    code, said = run.end(40)
    assert (code, said["verdict"]) == (1, "failed"), (said, run.log)
    finding = said["findings"][0]
    assert finding["rule"] == "csd-lock-wait"
    pair = re.search(r"the pair (cpu \d) -> (cpu \d) is silent; .* on \1 waits for it", finding["message"])
    assert pair and pair[1] != pair[2], finding
