"""A disk without room: a sentence before the start, a host error in the middle.

A limit of file size stands for the full disk.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cpuemu.coordinator.power_on import file_system
from cpuemu.report.image import open_image
from cpuemu.report.records import records
from cpuemu.report.state import state_text
from tests.launched import ROOT, Launched

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


def test_a_file_cannot_grow_in_the_middle(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "2", "--workload", "storm", "--memory", "64M", "--seconds", "30", "--trace", "all",
                 largest_file=4 * MIB)
    code, said = run.end(20)
    assert (code, said["verdict"], said["findings"]) == (70, "host-error", []), (said, run.log)
    assert "File too large" in said["notes"][0]
    _recorded_is_readable(run.run_dir)


def test_the_disk_fills_up_in_the_middle(tmp_path: Path, sockets: Path) -> None:
    """A file system of 24 MiB, in a mount namespace of its own."""
    may_mount = ["unshare", "--user", "--map-root-user", "--mount"]
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [sys.executable, "-m", "cpuemu", "launch", "--json", "--cpus", "2", "--workload", "storm", "--memory",
               "64M", "--seconds", "30", "--trace", "all", "--run-dir", str(disk / "run")]
    script = "\n".join([f"mount -t tmpfs -o size=24m tmpfs {disk} || exit 99", shlex.join(command), "code=$?",
                        f"cp -r {disk}/run {tmp_path}/run", "exit $code"])
    try:
        done = subprocess.run([*may_mount, "sh", "-c", script], cwd=ROOT, check=False, capture_output=True, text=True,
                              timeout=40, env={**os.environ, "TMPDIR": str(sockets)})
    except FileNotFoundError:
        pytest.skip("this host has no unshare")
    if not done.stdout and (done.returncode == 99 or "unshare" in done.stderr):
        pytest.skip(f"this host lets nobody mount: {done.stderr}")
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"], said["findings"]) == (70, "host-error", []), done
    assert "No space left on device" in said["notes"][0], said
    assert "the verdict could not be saved: No space left on device" in said["notes"]
    _recorded_is_readable(tmp_path / "run")


def _recorded_is_readable(run_dir: Path) -> None:
    """RAM, every ring, and of the files whatever they hold; nothing that the full disk cut short is a problem."""
    image = open_image(run_dir)
    assert sum(file.stat().st_size for file in run_dir.glob("*.trace")) > MIB
    seen = dict.fromkeys((0, 1), 0)
    for record in records(image):
        seen[record.cpu] += 1
    assert min(seen.values()) > 10_000, seen
    text = "\n".join(state_text(image))
    assert "last words: cpu " in text and "zone DMA32" in text and "locks held: " in text
    assert not image.problems


def test_a_directory_that_is_not_local(tmp_path: Path) -> None:
    """The machine runs elsewhere and is moved.  (Any directory called "far" is taken for a network's.)"""
    code = ("import sys\nfrom cpuemu.coordinator import power_on\n"
            "power_on.is_remote = lambda path: path.name == 'far'\n"
            "from cpuemu.cli.main import main\nmain(sys.argv[1:])")
    done = subprocess.run([sys.executable, "-c", code, "launch", "--cpus", "2", "--workload", "storm:500", "--memory",
                           "64M", "--json", "--run-dir", str(tmp_path / "far")], cwd=ROOT, check=False,
                          capture_output=True, text=True, timeout=40)
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"], said["run_dir"]) == (0, "ok", str(tmp_path / "far")), done
    note, = said["notes"]
    assert "not on a local file system" in note
    assert not Path(note.partition("ran in ")[2].partition(" and ")[0]).exists()
    assert open_image(tmp_path / "far").machine.header.nr_cpus == 2
    assert (tmp_path / "far" / "verdict.msgpack").exists()


def test_file_systems() -> None:
    assert file_system(Path("/proc")) == "proc"
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(Path("/"))
