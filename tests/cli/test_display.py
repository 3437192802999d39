"""What a person sees while a machine runs: real runs on real terminals (pty), and on none."""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from cpuemu.cli.terminal import BEGIN_FRAME, END_FRAME
from cpuemu.layout import MachineState
from tests.cli.test_inputs import cpuemu
from tests.launched import Launched, OnTerminal, wait_for

pytestmark = pytest.mark.timeout(90)

SMALL = ("--cpus", "2", "--workload", "storm", "--memory", "64M", "--hotplug", "random:0.05")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
Launch = Callable[..., OnTerminal]


def frames(screen: str) -> list[str]:
    """The pictures, as text."""
    return [re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", each.partition(END_FRAME)[0]).replace("\r", "")
            for each in screen.split(BEGIN_FRAME)[1:] if "waits for" in each]


def verdict_in(run: Launched) -> object:
    return msgpack.unpackb((run.run_dir / "verdict.msgpack").read_bytes())["verdict"]


def test_the_table_and_then_the_verdict(launch: Launch) -> None:
    run = launch(*SMALL, "--seconds", "3", terminal=(80, 24))
    code, _ = run.end()
    assert code == 0
    pictures = frames(run.screen)
    assert len(pictures) >= 4
    running = [each for each in pictures if " running " in each]
    for word in ("CPU  state", "steps/s", " min ", "hotplug", "allocated"):
        assert word in running[-1]
    assert any("s left" in each for each in running)  # an offline under way may outlast the time
    assert max(len(line) for each in pictures for line in each.split("\n")) <= 80
    # It goes before the summary comes: every line of it is erased, and the cursor is a shell's again.
    table, _, summary = run.screen.rpartition(END_FRAME)
    assert table.rpartition(BEGIN_FRAME)[2].count("\x1b[2K") >= len(pictures[-1].split("\n"))
    assert run.screen.rfind(SHOW_CURSOR) > run.screen.rfind(HIDE_CURSOR)
    assert summary.startswith("2 CPUs, profile v3.2")
    assert "waits for" not in summary
    assert re.search("verdict: .*ok", summary.splitlines()[-1])


def test_no_color_means_none(launch: Launch) -> None:
    run = launch(*SMALL, "--seconds", "1", terminal=(80, 24), NO_COLOR="1")
    assert run.end()[0] == 0
    assert frames(run.screen)
    codes = {code for found in re.findall(r"\x1b\[([0-9;]*)m", run.screen) for code in found.split(";")}
    assert codes <= {"", "0", "1", "2"}  # bold and dim are no colours


def test_a_dumb_terminal_gets_plain_lines(launch: Launch) -> None:
    run = launch(*SMALL, "--seconds", "3", terminal=(80, 24), TERM="dumb")
    assert run.end()[0] == 0
    assert "\x1b" not in run.screen
    lines = run.screen.splitlines()
    assert re.match(r" +\d+\.\d s running  cpus [12]/2  alloc \S+  free \S+  ipi ", lines[0])
    assert lines[-1] == "verdict: ok"


def test_into_a_pipe_come_plain_lines_on_stderr_alone(tmp_path: Path) -> None:
    done = cpuemu("launch", *SMALL, "--seconds", "3", cwd=tmp_path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "verdict: ok"
    assert 1 <= len(done.stderr.splitlines()) <= 3
    assert all(re.match(r" +\d+\.\d s running  cpus [12]/2  alloc ", line) for line in done.stderr.splitlines())


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_nothing_is_shown_to_who_asked_for_nothing(launch: Launch, option: str) -> None:
    run = launch(*SMALL, "--seconds", "1", option, terminal=(80, 24))
    assert run.end()[0] == 0
    assert "\x1b" not in run.screen
    assert run.screen == "verdict: ok\r\n" if option == "--quiet" else run.screen.startswith("{\r\n")


def test_another_size_is_taken_up(launch: Launch) -> None:
    run = launch(*SMALL, "--seconds", "30", terminal=(80, 24))
    run.running()
    wait_for(lambda: frames(run.screen), 10, "a picture")
    run.resize(60, 20)
    narrow = wait_for(lambda: [each for each in frames(run.screen) if " task " not in each], 10, "a narrow picture")[0]
    assert max(map(len, narrow.split("\n"))) <= 60
    assert "\x1b[2J" in run.screen  # what the terminal made of the wide lines is not left standing
    run.resize(120, 30)
    wide = wait_for(lambda: [each for each in frames(run.screen) if max(map(len, each.split("\n"))) > 100], 10, "wide")
    assert " task " in wide[0]
    run.type("\x03")
    assert run.end()[0] == 130


def test_ctrl_c_ends_it_cleanly(launch: Launch) -> None:
    run = launch(*SMALL, "--seconds", "30", terminal=(80, 24))
    run.running()
    wait_for(lambda: " running " in "".join(frames(run.screen)), 10, "a picture")
    run.type("\x03")
    assert run.end()[0] == 130
    assert run.screen.rfind(SHOW_CURSOR) > run.screen.rfind(HIDE_CURSOR)
    assert "verdict: " in run.screen.splitlines()[-1] and "interrupted" in run.screen.splitlines()[-1]


def test_ctrl_z_gives_the_terminal_back_and_fg_draws_anew(launch: Launch) -> None:
    run = launch(*SMALL, "--seconds", "30", terminal=(80, 24), in_shell=True)
    run.running()
    wait_for(lambda: " running " in "".join(frames(run.screen)), 10, "a picture")
    run.type("\x1a")
    wait_for(lambda: run.BACK in run.screen, 20, "the shell goes on")
    assert run.screen.rfind(SHOW_CURSOR) > run.screen.rfind(HIDE_CURSOR)
    so_far = len(frames(run.screen))
    run.type("\n")
    wait_for(lambda: len(frames(run.screen)) > so_far + 1, 20, "a new picture")
    assert run.screen.rfind(HIDE_CURSOR) > run.screen.rfind(SHOW_CURSOR)
    run.type("\x03")
    assert run.end()[0] == 130


def test_a_hang_up_stops_the_machine_in_order(launch: Launch) -> None:
    run = launch(*SMALL, "--seconds", "30", terminal=(80, 24))
    run.running()
    wait_for(lambda: " running " in "".join(frames(run.screen)), 10, "a picture")
    run.hang_up()
    assert run.end()[0] == 130
    assert (verdict_in(run), run.log) == ("interrupted", "")
    assert run.image.machine.header.state == MachineState.OFF


def test_nohup_outlives_the_terminal(launch: Launch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = launch(*SMALL, "--seconds", "3", terminal=(80, 24))
    finally:
        signal.signal(signal.SIGHUP, before)
    run.running()
    run.hang_up()
    assert run.end()[0] == 0
    assert verdict_in(run) == "ok"


def test_a_terminal_that_takes_nothing_holds_nothing_up(launch: Launch) -> None:
    """Ctrl-S: the launcher goes on watching, and still obeys."""
    run = launch(*SMALL, "--seconds", "60", terminal=(200, 60))
    run.running()
    run.stop_reading()
    wait_for(lambda: _full(run), 60, "the terminal takes nothing more")
    before = run.image.machine.cpus[0].heart
    wait_for(lambda: run.image.machine.cpus[0].heart > before, 10, "the machine runs on")
    run.process.send_signal(signal.SIGINT)
    wait_for(lambda: run.image.machine.header.state == MachineState.OFF, 20, "it is switched off")
    run.read_on()
    assert run.end()[0] == 130
    assert "interrupted" in run.screen.splitlines()[-1]


def _full(run: OnTerminal) -> bool:
    """Fill up what a picture leaves room for."""
    descriptor = os.open(run.slave_name, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        while select.select([], [descriptor], [], 0)[1]:
            os.write(descriptor, b"x" * 256)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
    return True


def test_the_picture_of_a_machine_that_failed_stays(launch: Launch) -> None:
    run = launch("--cpus", "2", "--workload", "storm", "--memory", "64M", "--seconds", "30", terminal=(80, 24))
    run.running()
    wait_for(lambda: " running " in "".join(frames(run.screen)), 10, "a picture")
    run.kill("cpu 1")
    assert run.end()[0] == 1
    last = frames(run.screen)[-1]
    assert " failed " in last
    assert re.search(r"1  died ", last)
    after = run.screen[run.screen.rfind("waits for"):]
    assert "\x1b[2K" not in after  # nothing of it was erased
    assert "verdict: " in after
