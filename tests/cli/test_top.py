"""cpuemu top, trace-dump --run live and --pid: a running machine is looked at, and runs on."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuemu.layout import Counter
from cpuemu.report.living import machines_alive
from cpuemu.report.trace_dump import trace_dump
from tests.cli.test_inputs import cpuemu
from tests.launched import ROOT, Launched, wait_for
from tests.report.run_directory import RunDirectory

pytestmark = pytest.mark.timeout(60)
STORM = ("--cpus", "3", "--workload", "storm", "--memory", "64M", "--seconds", "30")


@pytest.fixture
def run(launch: Callable[..., Launched]) -> Launched:
    run = launch(*STORM).running()
    wait_for(lambda: all(cpu.heart > 100 for cpu in run.image.machine.cpus), 10, "every CPU has done something")
    return run


def done(run: Launched) -> int:
    return sum(cpu.counters[Counter.OPERATIONS] for cpu in run.image.machine.cpus)


def goes_on(run: Launched) -> bool:
    before = done(run)
    return bool(wait_for(lambda: done(run) > before, 5, "it goes on")) and run.process.poll() is None


def test_one_picture_as_text(run: Launched, tmp_path: Path) -> None:
    shown = cpuemu("top", str(run.run_dir), "--once", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0].startswith(" 3 CPUs, v3.2, preempt none, storm, seed 1") and " running " in lines[0]
    assert [line.split()[0] for line in lines[3:6]] == ["0", "1", "2"]
    assert lines[-1] == f"it runs on; who waits for whom: trace-dump {run.run_dir} --cmd waits"
    assert goes_on(run)


def test_on_a_terminal_until_interrupted(run: Launched) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30", "PYTHONPATH": str(ROOT)}
    top = subprocess.Popen([sys.executable, "-m", "cpuemu", "top", str(run.run_dir)], stdin=slave, stdout=slave,
                           stderr=slave, env=environment, start_new_session=True)
    os.close(slave)
    try:
        text = _read_until(master, lambda text: text.count(" running ") >= 3)
        assert "CPU  state" in text and "waits for" in text
        top.send_signal(signal.SIGINT)
        _read_until(master, lambda _: top.poll() is not None)
        assert top.returncode == 0
    finally:
        top.kill()
        top.wait()
        os.close(master)
    assert goes_on(run)


def _read_until(master: int, condition: Callable[[str], bool]) -> str:
    text, end = "", time.monotonic() + 20
    while not condition(text):
        assert time.monotonic() < end, text
        if select.select([master], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                text += os.read(master, 1 << 16).decode(errors="replace")
    return text


def test_the_living_machine_is_found(run: Launched) -> None:
    assert run.run_dir in machines_alive()
    pid = run.image.machine.cpus[1].pid
    result = CliRunner().invoke(trace_dump, ["--pid", str(pid), "--cmd", "cpumask"])
    assert "cpu_online_mask    0-2\n" in result.output
    live = CliRunner().invoke(trace_dump, ["--run", "live", "--cmd", "cpumask"])  # others' machines may run here too
    assert result.output == live.output or "machines run here; give one of " in str(live.exception)
    trace = CliRunner().invoke(trace_dump, ["--pid", str(pid), "--tail", "5"])
    assert trace.exit_code == 0 and trace.output.count("\n") > 5
    assert goes_on(run)


def test_of_a_machine_that_has_ended_the_last_picture(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.save(verdict={"verdict": "ok"})
    shown = cpuemu("top", str(run.path), cwd=tmp_path)
    assert shown.returncode == 0 and shown.stdout.splitlines()[-1] == "the machine has ended: verdict ok"
    shown = cpuemu("top", "nowhere", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "") and shown.stderr.startswith("cpuemu: nowhere: no such directory")
