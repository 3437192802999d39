"""Nothing is taken on the word alone: with the ZeroMQ send replaced by nothing, the machine ends and names the pair."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.launched import Launched

pytestmark = pytest.mark.timeout(90)


def test_frames_that_are_never_sent(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "4", "--workload", "replay", "--hotplug", "none", "--pace", "real").running()
    run.image.machine.header.ipi_disabled = 1
    code, said = run.end(40)
    assert (code, said["verdict"]) == (1, "failed"), (said, run.log)
    finding = said["findings"][0]
    assert finding["rule"] == "csd-lock-wait"
    pair = re.search(r"the pair (cpu \d|the coordinator) -> (cpu \d) is silent", finding["message"])
    assert pair and pair[1] != pair[2], finding
