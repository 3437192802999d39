"""Bad input: one sentence that says what, where and what to do; exit code 2; no traceback; nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launched import ROOT

pytestmark = pytest.mark.timeout(60)


def cpuemu(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return subprocess.run([sys.executable, "-m", "cpuemu", *arguments], cwd=cwd, capture_output=True, text=True,
                          timeout=30, env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(cwd)})


def refused(cwd: Path, *arguments: str) -> str:
    """The sentence with which ``cpuemu launch`` refuses; nothing is left in its directory."""
    before = sorted(cwd.rglob("*"))
    done = cpuemu("launch", *arguments, cwd=cwd)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("cpuemu: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(cwd.rglob("*")) == before, "something is left behind"
    return done.stderr


@pytest.mark.parametrize(("arguments", "words"), [
    (("--cpus", "0"), ("--cpus 0", "1 to 256")),
    (("--cpus", "5000"), ("--cpus 5000", "1 to 256")),
    (("--cpus", "-1"), ("--cpus -1",)),
    (("--cpus", "many"), ("--cpus", "many")),
    (("--cpus",), ("--cpus", "argument")),
    (("--frobnicate",), ("--frobnicate",)),
    (("something",), ("something",)),
    (("--memory", "1M"), ("too small", "--memory")),
    (("--memory", "0M", "--workload", "storm"), ("--memory",)),
    (("--memory", "lots"), ("--memory lots", "512M")),
    (("--memory", ""), ("--memory", "512M")),
    (("--memory", "64G", "--workload", "storm"), ("--memory", "32 GiB")),
    (("--memory", "64M"), ("recording", "--zoneinfo")),
    (("--memory", "64M", "--zoneinfo", "x"), ("--memory and --zoneinfo",)),
    (("--zoneinfo", "missing"), ("missing", "another file")),
    (("--workload", "replay:missing"), ("missing", "another file")),
    (("--workload", "replay:."), ("directory", "another file")),
    (("--workload", "nonsense"), ("nonsense", "storm")),
    (("--workload", "storm:many"), ("storm:many",)),
    (("--workload", "idle:5"), ("idle:5",)),
    (("--workload", "missing.py:Thing"), ("missing.py",)),
    (("--profile", "v9.9"), ("--profile v9.9", "v3.2")),
    (("--policy", "hope"), ("--policy hope", "on-each-cpu")),
    (("--preempt", "sometimes"), ("--preempt", "voluntary")),
    (("--offline", "explode"), ("--offline", "park")),
    (("--trace", "some"), ("--trace", "ring")),
    (("--hotplug", "8"), ("--hotplug 8", "CPUs 0 to 7")),
    (("--hotplug", "0"), ("--hotplug 0", "boot CPU")),
    (("--hotplug", "1,x"), ("--hotplug 1,x", "random")),
    (("--hotplug", "random:soon"), ("random:soon", "random:0.5")),
    (("--hotplug", "random:-1"), ("random:-1", "random:0.5")),
    (("--hotplug", "random:nan"), ("random:nan", "random:0.5")),
    (("--hotplug", "recorded", "--workload", "storm"), ("--hotplug recorded", "storm")),
    (("--cpus", "1", "--hotplug", "1"), ("--hotplug 1", "CPU")),
    (("--seconds", "0"), ("--seconds 0",)),
    (("--seconds", "nan"), ("--seconds nan",)),
    (("--seconds", "-3"), ("--seconds -3",)),
    (("--seed", "-1"), ("--seed -1",)),
    (("--tasks", "0", "--workload", "storm"), ("--tasks 0",)),
    (("--reclaim-success", "1.5"), ("--reclaim-success 1.5", "from 0 to 1")),
    (("--reclaim-cost", "-1"), ("--reclaim-cost -1", "microseconds")),
    (("--pace", "fast"), ("--pace fast", "2x")),
    (("--pace", "0x"), ("--pace 0x", "2x")),
    (("--window", "0"), ("--window 0",)),
    (("--fault", "bad-luck"), ("--fault bad-luck", "ipi-lost[:RATE]", "deaf-cpu:N")),
    (("--fault", "ipi-lost:2"), ("--fault ipi-lost:2", "up to 1", "ipi-lost:0.01")),
    (("--fault", "ipi-lost:0"), ("--fault ipi-lost:0", "above 0")),
    (("--fault", "ipi-lost:"), ("--fault ipi-lost:", "ipi-lost:0.01")),
    (("--fault", "ipi-late:nan"), ("--fault ipi-late:nan", "microseconds")),
    (("--fault", "ipi-late:5e6"), ("--fault ipi-late:5e6", "up to 1e+06")),
    (("--fault", "deaf-cpu"), ("--fault deaf-cpu", "deaf-cpu:1")),
    (("--fault", "deaf-cpu:8"), ("--fault deaf-cpu:8", "CPUs 0 to 7")),
    (("--fault", "deaf-cpu:1.5"), ("--fault deaf-cpu:1.5", "the number of a CPU")),
    (("--fault", "failing-notifier:CPU_DEAD"), ("CPU_DEAD", "CPU_UP_PREPARE or CPU_DOWN_PREPARE")),
    (("--fault", "starved-cpu:-1"), ("--fault starved-cpu:-1", "seconds")),
    (("--fault", "ipi-lost", "--fault", "ipi-lost:0.5"), ("ipi-lost is asked for twice",)),
    (("--config", "missing.toml"), ("missing.toml",)),
    (("--run-dir", "/proc/nothing"), ("--run-dir /proc/nothing",)),
    (("--run-dir", "/dev/null/x"), ("--run-dir /dev/null/x",)),
], ids=lambda each: " ".join(each) if isinstance(each, tuple) else None)
def test_refused(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    said = refused(tmp_path, *arguments)
    for word in words:
        assert word in said


@pytest.mark.parametrize(("content", "word"), [
    (b"", "empty"),
    (b"hello world\n" * 100, "no page events"),
    (bytes(range(256)) * 50, "not a text trace"),
    (b"\xfd7zXZ\0\0broken", "damaged"),
    (b"# tracer: nop\n     bash-1  [000] d..2.  10.000001: sched_switch: prev_comm=a\n", "no page events"),
], ids=["empty", "text", "binary", "broken-xz", "no-page-events"])
def test_bad_recording(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "recording").write_bytes(content)
    said = refused(tmp_path, "--workload", "replay:recording")
    assert "recording: " in said
    assert word in said


@pytest.mark.parametrize(("content", "words"), [
    ("cpus = ", ("not TOML",)),
    ("frobnicate = 1", ("'frobnicate'",)),
    ("config = 'x'", ("'config'",)),
    ("cpus = true", ("cpus = True", "whole number")),
    ("cpus = 2.5", ("whole number",)),
    ("cpus = 0", ("--cpus 0",)),
    ("seconds = 'two'", ("a number",)),
    ("json = 1", ("true or false",)),
    ("memory = 512", ("text",)),
    ("fault = 3", ("a list of texts",)),
    ("preempt = 'maybe'", ("none, voluntary, full",)),
    ("[launch]\ncpus = 2", ("'launch'",)),
], ids=lambda each: each if isinstance(each, str) else None)
def test_bad_configuration(tmp_path: Path, content: str, words: tuple[str, ...]) -> None:
    (tmp_path / "machine.toml").write_text(content)
    said = refused(tmp_path, "--config", "machine.toml")
    for word in ("machine.toml", *words) if "--cpus" not in words[0] else words:
        assert word in said


def test_bad_zoneinfo(tmp_path: Path) -> None:
    (tmp_path / "zoneinfo").write_text("Node 0, zone DMA\n  pages free 1\n")
    assert "zoneinfo" in refused(tmp_path, "--zoneinfo", "zoneinfo")


def test_run_directory_in_use(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ram").write_bytes(b"precious")
    assert "not empty" in refused(tmp_path, "--run-dir", "run")
    assert (tmp_path / "run" / "ram").read_bytes() == b"precious"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_unwritable_run_directory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    assert "cannot be written" in refused(tmp_path, "--run-dir", "run")


def test_directories_made_for_a_refused_run_are_removed(tmp_path: Path) -> None:
    refused(tmp_path, "--run-dir", "a/b/c", "--memory", "64M")
    assert not (tmp_path / "a").exists()
