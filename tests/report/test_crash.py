"""The crash-like reader: each sub-command on hand-made machines, mistakes are sentences, no damage makes it fail."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpuemu.events import Event
from cpuemu.layout import LOCK_CPU_HOTPLUG, REGIONS, Header, Lock, Op, TaskState, dimensions_of, place_machine
from cpuemu.report.crash.commands import COMMANDS, run
from cpuemu.report.crash.reading import Reading, UsageError, walk
from cpuemu.report.crash.shell import candidates
from cpuemu.report.image import BufferMemory, ImageError, open_image
from cpuemu.report.state import state_text
from cpuemu.report.trace_dump import trace_dump
from cpuemu.report.why.text import why_text
from tests.handmade import machine
from tests.report.run_directory import RunDirectory
from tests.report.test_why import the_origin

EVERY_COMMAND = ("ps", "bt", "bt -a", "bt -c 1", "waits", "locks -o", "csd", "stop", "hotplug", "cpumask", "zone",
                 "pcp 1", "page 0x20", "page 33", "log 4", "help")


@pytest.fixture
def made(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path)
    for cpu in range(4):
        made.made.task(70 + cpu, f"storm/{cpu}", cpu)
    return made


def ask(made: RunDirectory, line: str) -> str:
    return "\n".join(run(Reading(open_image(made.save())), line))


def test_every_command_answers(made: RunDirectory) -> None:
    assert {line.split()[0] for line in EVERY_COMMAND} == set(COMMANDS)
    assert all(ask(made, line) for line in EVERY_COMMAND)


def test_ps_marks_who_runs_and_says_what_is_waited_for(made: RunDirectory) -> None:
    made.made.run(1, 71)
    made.made.wait(72, made.made.machine.locks[LOCK_CPU_HOTPLUG].addr(Lock.word), Op.NE, 0, busy=False)
    lines = ask(made, "ps").splitlines()
    assert any(line.startswith(">    71  storm/1            1  RU") for line in lines)
    assert [line for line in ask(made, "ps storm/2").splitlines() if "storm/2" in line and " UN " in line]


def test_bt_says_what_it_shows(made: RunDirectory) -> None:
    made.made.run(1, 71)
    made.made.tasks[71].in_kernel, made.made.tasks[71].stack = 1, "alloc_pages:1 < storm:2"
    text = ask(made, "bt -c 1")
    assert "COMMAND: \"storm/1\"\n #0 alloc_pages:1\n #1 storm:2\n    [last sleep; since then it ran on, " in text
    made.made.wait(71, made.made.machine.locks[1].addr(Lock.word), Op.NE, 0)
    assert "[position: it waits there, in " in ask(made, "bt storm/1")
    made.made.cpus[1].user, made.made.tasks[71].nterms, made.made.tasks[71].in_kernel = 1, 0, 0
    assert "    [no kernel stack: it runs in user mode]" in ask(made, "bt -a")
    made.made.tasks[71].state = TaskState.DEAD
    assert "[no stack: it has ended]" in ask(made, "bt 71")


def test_pages(made: RunDirectory) -> None:
    made.made.take(0x20)
    made.made.to_pcp(1, 0x20)
    assert "page 0x20: on the pcp list of cpu 1, MOVABLE\n" in ask(made, "page 0x20")
    assert "  movable         1 pages  0x20" in ask(made, "pcp 1")
    made.made.pages[0x20].next = 0x20
    assert "  movable         1 pages  0x20, then 32 again" in ask(made, "pcp 1")
    made.made.take(0x40, 2, owner=71)
    assert ask(made, "page 0x42").startswith(
        "page 0x42: allocated, a block of order 2, by storm/1; it is page 2 of the block that begins at 0x40\n")


@pytest.mark.parametrize(("line", "sentence"), [
    ("pss", "pss: no such command; did you mean ps?"), ("fly", "fly: no such command; see help"),
    ("bt -c 9", "bt -c 9: this machine has CPUs 0 to 3"),
    ("bt nobody", "no task has the pid or the name nobody: see ps"),
    ("pcp", "usage: pcp CPU"), ("pcp 4", "4 is not a CPU of this machine: 0 to 0x3"), ("page moon", "usage: page PFN"),
    ("log x", "usage: log [N]"), ("ps '", "No closing quotation"),
])
def test_mistakes_are_one_sentence(made: RunDirectory, line: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(Reading(open_image(made.save())), line)
    assert sentence in str(caught.value)


def test_the_command_line(made: RunDirectory) -> None:
    place = str(made.save())
    result = CliRunner().invoke(trace_dump, [place, "--cmd", "cpumask", "--cmd", "stop"])
    assert result.stdout.startswith("cpu_possible_mask  0-3\n") and result.stdout.endswith("no barrier is under way\n")
    assert "no such command" in CliRunner().invoke(trace_dump, [place, "--cmd", "fly"]).output


def test_the_shell(made: RunDirectory) -> None:
    image = open_image(made.save())
    result = CliRunner().invoke(trace_dump, [str(made.path), "--shell"], input="cpumask\nfly\n\nquit\nps\n")
    assert "cpu_online_mask    0-3\n" in result.output and "fly: no such command; see help\n" in result.output
    assert "PID" not in result.output and result.exit_code == 0
    assert candidates(image, [], "c") == ["csd ", "cpumask "]
    assert candidates(image, ["bt"], "storm/") == [f"storm/{cpu} " for cpu in range(4)]
    assert candidates(image, ["bt", "-c"], "") == ["-a ", "-c ", "0 ", "1 ", "2 ", "3 "]
    assert candidates(image, ["nothing"], "") == []


def test_a_list_that_leads_nowhere_ends() -> None:
    assert walk(0, [1, 2, 3, 0], 9, 4) == ([0, 1, 2, 3], ", then 0 again")
    assert walk(0, [1, 7], 9, 2) == ([0, 1], ", then 7, which is no element")


# --- damage ------------------------------------------------------------------------------------------------


@cache
def _whole() -> tuple[bytes, bytes]:
    """RAM and rings of a small machine that hangs."""
    with tempfile.TemporaryDirectory() as place:
        made = RunDirectory(Path(place), machine(cpus=4, pages=256))
        for cpu in range(4):
            made.made.task(70 + cpu, f"storm/{cpu}", cpu)
        the_origin(made.made)
        for number in range(8):
            made.trace(number % 4, number, Event.SCHED_SWITCH if number % 2 else Event.CPUHP_ENTER, number, 2, 60, 4)
        made.save()
        return (Path(place) / "ram").read_bytes(), (Path(place) / "rings").read_bytes()


def _everything(place: Path) -> Iterator[str]:
    image = open_image(place)
    yield from state_text(image)
    yield from why_text(image, 80)
    for line in EVERY_COMMAND:
        try:
            yield from run(Reading(image), line)
        except UsageError as error:
            yield str(error)


WHERE = ("ram", "rings", *(region.name for region in REGIONS if region.name != "header"))
CHANGES = st.lists(st.tuples(st.sampled_from(WHERE), st.integers(0, 1 << 30), st.sampled_from([0, 1, 2, 127, 128, 255]),
                             st.integers(1, 64)), min_size=1, max_size=60)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
def test_no_damage_makes_a_reader_fail(changes: list[tuple[str, int, int, int]]) -> None:
    """Bytes overwritten anywhere in RAM, in one region of it, in the rings: text, or one ImageError, nothing else."""
    ram, rings = map(bytearray, _whole())
    placed, _ = place_machine(dimensions_of(Header(BufferMemory(_whole()[0]), 0)))
    for where, at, value, length in changes:
        content, start, size = (rings, 0, len(rings)) if where == "rings" else (ram, 0, len(ram))
        if where in placed:
            start, size = placed[where].base, max(1, placed[where].count * placed[where].region.struct.SIZE)
        place = start + at % size
        content[place : place + length] = bytes([value]) * len(content[place : place + length])
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "ram").write_bytes(ram)
        (Path(directory) / "rings").write_bytes(rings)
        (Path(directory) / "machine.msgpack").write_bytes(b"\x80")
        try:
            lines = list(_everything(Path(directory)))
        except ImageError as error:
            lines = [str(error)]
        assert lines
