"""The installed command: filters, the header, and one sentence for what cannot be read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cpuemu.events import Event
from cpuemu.report.trace_dump import trace_dump
from tests.report.run_directory import RunDirectory

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Ten events, one every 0.1 s, on CPUs 0 and 1."""
    run = RunDirectory(tmp_path / "run", sizes=(8, 8))
    run.made.task(70, "storm/0", 0)
    (tmp_path / "run").mkdir()
    for number in range(10):
        event = Event.MM_PAGE_ALLOC if number % 2 else Event.CPUHP_ENTER
        run.trace(number // 5, number * 100_000, event, number, 0, 0, 0)
    return run.save()


def dump(*arguments: object) -> Result:
    return CliRunner().invoke(trace_dump, [str(each) for each in arguments])


def seconds(result: Result) -> list[float]:
    assert result.exit_code == 0, result.output
    return [round(float(found), 1) for found in re.findall(r"(\d+\.\d+): ", result.stdout)]


def test_everything(run_dir: Path) -> None:
    result = dump(run_dir)
    assert seconds(result) == [number / 10 for number in range(10)]
    head = result.stdout.splitlines()
    assert head[0] == "# tracer: nop"
    assert head[2] == "# entries-in-buffer/entries-written: 10/10   #P:4"
    assert result.stderr == ""


@pytest.mark.parametrize(("options", "expected"), [
    (["--cpu", "1"], [0.5, 0.6, 0.7, 0.8, 0.9]),
    (["--cpu", "0", "--cpu", "1", "--tail", "2"], [0.8, 0.9]),
    (["--event", "cpuhp_*"], [0.0, 0.2, 0.4, 0.6, 0.8]),
    (["--event", "cpuhp_enter", "--event", "mm_page_alloc", "--cpu", "0", "--tail", "3"], [0.2, 0.3, 0.4]),
    (["--since", "0.25", "--until", "0.5"], [0.3, 0.4]),
    (["--since", "-0.2"], [0.7, 0.8, 0.9]),
    (["--until", "-0.75"], [0.0, 0.1]),
    (["--event", "mark_victim"], []),
    (["--pfn", "7"], [0.7]),
    (["--pfn", "0x1"], [0.1]),
    (["--pfn", "3", "--pfn", "9", "--cpu", "1"], [0.9]),
    (["--task", "storm/*"], [number / 10 for number in range(10)]),
    (["--task", "swapper/3"], []),
    (["--grep", "cpu: 000[24]"], [0.2, 0.4]),
    (["--grep", "mm_page", "--grep", r"\[001\]", "--tail", "2"], [0.7, 0.9]),
])
def test_filters(run_dir: Path, options: list[str], expected: list[float]) -> None:
    assert seconds(dump(run_dir, *options)) == expected


def test_what_was_overwritten_is_said(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for number in range(11):
        run.trace(0, number, Event.MM_PAGE_ALLOC, number)
    result = dump(run.save())
    assert "# entries-in-buffer/entries-written: 8/11   #P:4" in result.stdout
    assert "# overwritten in the rings: 3 mm_page_alloc" in result.stdout


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["nowhere"], "nowhere: no such directory; give a run directory, as cpuemu launch prints it"),
    ([], "Missing argument 'RUN_DIR' (or --run live, --pid N)."),
    (["RUN", "--cpu", "4"], "--cpu 4: this machine has CPUs 0 to 3"),
    (["RUN", "--event", "cpuhp"], "--event cpuhp: no event has this name; known are mm_page_alloc, "),
    (["RUN", "--task", "strom/0"], "--task strom/0: no task has this name or number; near it are storm/0"),
    (["RUN", "--pfn", "page"], "--pfn page: not a number; give a page frame number, as 0x3b96 or 15254"),
    (["RUN", "--pfn", "0x100000"], "--pfn 0x100000: this machine has pages 0 to 0xfff"),
    (["RUN", "--grep", "("], "--grep (: not a regular expression: missing ), unterminated subpattern at position 0"),
    (["RUN", "--format", "xml"], "Invalid value for '--format': 'xml' is not one of 'text', 'json', "),
    (["RUN", "-o", "nowhere/trace"], "-o nowhere/trace: No such file or directory"),
    (["RUN", "--tail", "0"], "Invalid value for '--tail': 0 is not in the range x>=1."),
    (["RUN", "--run", "live"], "give RUN_DIR, --run or --pid, not two of them"),
    (["--pid", "1"], "--pid 1: no process of a machine that runs here"),
    (["EMPTY"], "is EMPTY a run directory?"),
    (["TEXT"], "TEXT/ram: not the RAM of a machine"),
    (["SHORT"], "SHORT/ram: cut short: 8192 bytes of "),
    (["OTHER"], "OTHER/ram: written by another version of cpuemu; read it with that one"),
    (["NORINGS"], "NORINGS/rings: No such file or directory"),
])
def test_what_cannot_be_read_is_one_sentence(run_dir: Path, tmp_path: Path, arguments: list[str],
                                              sentence: str) -> None:
    ram = (run_dir / "ram").read_bytes()
    for name, content in (("TEXT", b"hello" * 200), ("SHORT", ram[:8192]),
                          ("OTHER", ram[:8] + b"\0" + ram[9:]), ("NORINGS", ram)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ram").write_bytes(content)
    (tmp_path / "EMPTY").mkdir()
    run_dir.rename(tmp_path / "RUN")
    result = subprocess.run([sys.executable, "-m", "tools.trace_dump", *arguments], cwd=tmp_path, text=True,
                            capture_output=True, env={"PYTHONPATH": str(ROOT)}, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("trace-dump: ") and sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_damaged_configuration_does_not_keep_from_the_trace(run_dir: Path) -> None:
    (run_dir / "machine.msgpack").write_bytes(b"\xc1")
    (run_dir / "verdict.msgpack").write_bytes(b"\x93")
    result = dump(run_dir)
    assert len(seconds(result)) == 10
    assert result.stderr.count("\n") == 2
    assert dump(run_dir, "--state").exit_code == 0


def test_a_reader_that_has_seen_enough(run_dir: Path) -> None:
    command = f"{sys.executable} -m tools.trace_dump {run_dir} | head -1"
    result = subprocess.run(command, cwd=ROOT, shell=True, text=True, capture_output=True, check=False)
    assert (result.stdout, result.stderr) == ("# tracer: nop\n", "")


def test_help_has_examples() -> None:
    result = dump("--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout and "trace-dump RUN_DIR --state" in result.stdout


def test_blocks_hold_their_pages_and_tasks_are_named_by_others(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for number in (70, 71):
        run.made.task(number, f"storm/{number}", 0)
    run.trace(0, 100_000, Event.MM_PAGE_ALLOC, 8, 3)
    run.trace(0, 200_000, Event.MM_PAGE_FREE, 16, 3)
    run.trace(1, 300_000, Event.SCHED_WAKEUP, 71, 1, task=70)
    run.trace(1, 400_000, Event.SCHED_SWITCH, 70, 1, 71, task=70)
    run.trace(1, 500_000, Event.IPI_RAISE, 71, 1, task=71)
    path = run.save()
    assert seconds(dump(path, "--pfn", "15")) == [0.1] and seconds(dump(path, "--pfn", "16")) == [0.2]
    assert seconds(dump(path, "--pfn", "24")) == []
    assert seconds(dump(path, "--task", "storm/71")) == seconds(dump(path, "--task", "71")) == [0.3, 0.4, 0.5]


def test_output_into_a_file(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.txt"
    assert dump(run_dir, "--cpu", "1", "-o", file).stdout == ""
    assert file.read_text() == dump(run_dir, "--cpu", "1").stdout != ""
