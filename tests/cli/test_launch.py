"""What ``cpuemu launch`` prints: JSON, the summary, the verdict alone; and where its options come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from tests.cli.test_inputs import cpuemu
from tests.launched import Launched

pytestmark = pytest.mark.timeout(60)

SMALL = ("--cpus", "2", "--workload", "storm:2000", "--memory", "64M")

COUNTS = {"alloc", "free", "refill", "drain", "ipi_sent", "ipi_taken", "drain_all", "offline", "online", "stop_machine",
          "direct_reclaim", "oom", "task_migrations"}


def test_json(launch: Callable[..., Launched]) -> None:
    run = launch(*SMALL, "--seed", "7", "--preempt", "voluntary", "--hotplug", "1")
    code, said = run.end()
    assert (code, said["verdict"], said["findings"]) == (0, "ok", []), (said, run.log)
    assert run.errors == ""
    assert (said["cpus"], said["profile"], said["preempt"], said["seed"]) == (2, "v3.2", "voluntary", 7)
    assert said["run_dir"] == str(run.run_dir)
    assert said["seconds"] > 0
    assert set(said["pages"]) == {"managed", "buddy", "pcp", "allocated"}
    pages = said["pages"]
    assert pages["managed"] == pages["buddy"] + pages["pcp"] + pages["allocated"]
    assert set(said["counts"]) >= COUNTS
    assert said["counts"]["alloc"] > 1000
    assert said["counts"]["offline"] >= 1
    assert set(said["latency_us"]) >= {"ipi", "drain_all", "offline", "online"}
    for row in said["latency_us"].values():
        assert set(row) == {"median", "p99", "max", "n"}
        assert row["median"] <= row["p99"] <= row["max"] or not row["n"]
    assert said["latency_us"]["offline"]["n"] == said["counts"]["offline"]


def test_the_run_directory(launch: Callable[..., Launched]) -> None:
    run = launch(*SMALL, "--seed", "9")
    _, said = run.end()
    assert {"ram", "rings", "machine.msgpack", "verdict.msgpack"} <= {path.name for path in run.run_dir.iterdir()}
    assert msgpack.unpackb((run.run_dir / "verdict.msgpack").read_bytes())["verdict"] == said["verdict"] == "ok"
    configuration = msgpack.unpackb((run.run_dir / "machine.msgpack").read_bytes())
    assert (configuration["seed"], configuration["cpus"], configuration["hotplug"]) == (9, 2, "none")
    assert run.log == ""


def test_summary(tmp_path: Path) -> None:
    done = cpuemu("launch", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("verdict: ok\n")
    assert "managed = " in done.stdout
    run_dir, = (tmp_path / "cpuemu-runs").iterdir()
    assert f"run directory {run_dir}" in done.stdout


def test_quiet(tmp_path: Path) -> None:
    done = cpuemu("launch", *SMALL, "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "verdict: ok\n", "")


def test_a_file_gives_options_and_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        'cpus = 3\nworkload = "storm:1000"\nmemory = "64M"\nseed = 5\njson = true\nrun-dir = "here"\n'
        'hotplug = [1, 2]\nfault = ["ipi-late:100", "ipi-doubled"]\n')
    done = cpuemu("launch", "--config", "m.toml", "--seed", "6", cwd=tmp_path)
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"], said["cpus"], said["seed"]) == (0, "ok", 3, 6), done
    assert said["run_dir"] == str(tmp_path / "here")
    assert said["counts"]["offline"] >= 2
    assert "--fault ipi-late:100 --fault ipi-doubled" in said["again"]


def test_seconds_keep_a_storm_going_until_done_does_not(launch: Callable[..., Launched]) -> None:
    code, said = launch("--cpus", "1", "--workload", "storm", "--memory", "64M", "--seconds", "0.6").end()
    assert (code, said["verdict"]) == (0, "ok")
    assert 0.6 <= said["seconds"] < 5
    code, said = launch(*SMALL, "--seconds", "20", "--until-done").end()
    assert (code, said["verdict"]) == (0, "ok")
    assert said["seconds"] < 10


def test_idle(launch: Callable[..., Launched]) -> None:
    code, said = launch("--cpus", "2", "--workload", "idle", "--seconds", "0.3").end()
    assert (code, said["verdict"]) == (0, "ok")
    assert said["counts"]["alloc"] < 10  # kthreadd's stacks


def test_the_command_that_runs_it_again(launch: Callable[..., Launched]) -> None:
    _, said = launch(*SMALL, "--seed", "11", "--offline", "park").end()
    assert said["again"] == ("cpuemu launch --cpus 2 --workload storm:2000 --seed 11 --hotplug none --offline park "
                             "--memory 65536K")


def test_a_reader_that_hangs_up_changes_nothing(launch: Callable[..., Launched]) -> None:
    run = launch(*SMALL, "--hotplug", "1")
    assert run.process.stdout is not None
    run.process.stdout.close()
    assert run.process.wait(30) == 0
    assert run.process.stderr is not None
    assert run.process.stderr.read() == ""
