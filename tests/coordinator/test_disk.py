"""A disk without room: a sentence before the start, a host error in the middle.

A limit of file size stands for the full disk.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cpuemu.report.image import open_image
from tests.launched import Launched

pytestmark = pytest.mark.timeout(60)

MIB = 1 << 20


def test_no_room_for_ram(launch: Callable[..., Launched]) -> None:
    run = launch("--workload", "storm", largest_file=MIB // 2)
    code, said = run.end(10)
    assert (code, said) == (2, {})
    assert run.errors.count("\n") == 1
    assert "no space left" in run.errors
    assert "MiB" in run.errors
    assert not run.run_dir.exists()


def test_the_disk_fills_up_in_the_middle(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "2", "--workload", "storm", "--memory", "64M", "--seconds", "30", "--trace", "all",
                 largest_file=4 * MIB)
    code, said = run.end(20)
    assert (code, said["verdict"], said["findings"]) == (70, "host-error", []), (said, run.log)
    assert "File too large" in said["notes"][0]
    assert open_image(run.run_dir).machine.header.nr_cpus == 2
