"""An exploration that is killed, cut short or runs out of disk loses nothing that it found, and goes on."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cpuemu.errors import UserError
from cpuemu.explore.journal import NAME, Entry, Journal
from tests.launched import ROOT

pytestmark = pytest.mark.timeout(110)

CALLERS = f"{ROOT}/tests/explore/callers.py:Callers"
DEADLINE_S = 40


def command(place: Path, *options: str) -> tuple[list[str], dict[str, Any]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)}
    return ([sys.executable, "-m", "cpuemu", "explore", CALLERS, "--json", "--save", "saved", *options],
            {"cwd": place, "env": environment})


def explored(place: Path, *options: str, **how: Any) -> tuple[int, dict[str, Any], str]:
    call, where = command(place, *options)
    run = subprocess.run(call, capture_output=True, text=True, timeout=100, check=False, **where, **how)
    return run.returncode, json.loads(run.stdout) if run.stdout else {}, run.stderr


def killed(place: Path, lines: int, *options: str) -> None:
    """kill -9 as soon as the journal has so many lines."""
    call, where = command(place, *options)
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **where)
    journal, end = place / "saved" / NAME, time.monotonic() + DEADLINE_S
    while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    process.kill()
    process.wait()


@pytest.mark.parametrize("options", [
    ("--cpus", "3", "--schedules", "40"),
    ("--cpus", "2", "--schedules", "40", "--strategy", "dfs:1"),
    ("--cpus", "2", "--schedules", "20", "--strategy", "dpor"),
], ids=["portfolio", "dfs", "dpor"])
def test_killed_and_killed_again_it_ends_as_if_it_had_not_been(tmp_path: Path, options: tuple[str, ...]) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.mkdir()
    torn.mkdir()
    expected = explored(whole, *options)
    for lines in (2, 9, 15):
        killed(torn, lines, *options, "--jobs", "3")
    kept = (torn / "saved" / NAME).read_bytes().rpartition(b"\n")[0]
    code, said, errors = explored(torn, *options)
    assert (code, said) == expected[:2]
    assert "schedules of this exploration were run before" in errors
    assert (torn / "saved" / NAME).read_bytes() == (whole / "saved" / NAME).read_bytes()
    assert (torn / "saved" / NAME).read_bytes().startswith(kept), "what was kept was not run again"
    assert not list(torn.glob("cpuemu-*-*-*-*")), "a killed world's directory is left behind"


def test_more_schedules_go_on_after_fewer(tmp_path: Path) -> None:
    _, fewer, _ = explored(tmp_path, "--schedules", "6")
    assert fewer["schedules"] == 11
    grown = explored(tmp_path, "--schedules", "12")
    (tmp_path / "other").mkdir()
    assert grown[:2] == explored(tmp_path / "other", "--schedules", "12")[:2]
    assert explored(tmp_path, "--schedules", "6")[1] == fewer, "what came later is not counted"


def test_another_exploration_is_told_apart(tmp_path: Path) -> None:
    explored(tmp_path, "--schedules", "1", "--cpus", "2")
    for options, sentence in ((("--seed", "2"), "(seed: 1 there, 2 here)"), (("--strategy", "pos"), "(strategies: ")):
        code, _, errors = explored(tmp_path, "--schedules", "1", "--cpus", "2", *options)
        assert (code, errors.count("\n")) == (2, 1)
        assert "saved: holds another exploration " + sentence in errors


def test_no_room_for_the_journal(tmp_path: Path) -> None:
    """A limit of file size stands for the full disk; what was written before it stays and is gone on with."""
    options = ("--cpus", "2", "--schedules", "400")
    whole = tmp_path / "whole"
    whole.mkdir()
    limit = 1 << 20  # more than the image of such a machine needs
    probe = explored(whole, "--cpus", "2", "--schedules", "2")
    assert probe[0] == 0, probe
    filler = tmp_path / "saved"
    filler.mkdir()
    journal = filler / NAME
    journal.write_bytes((whole / "saved" / NAME).read_bytes())
    journal.write_bytes(_padded(journal.read_bytes(), limit - 1500))
    code, said, errors = explored(
        tmp_path, *options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert (code, said) == (2, {}), errors
    last = errors.splitlines()[-1]
    assert "saved/journal: cannot be written (" in last and "the same command goes on" in last, errors
    code, said, errors = explored(tmp_path, "--cpus", "2", "--schedules", "20")
    assert (code, said["schedules"]) == (0, 25), errors


def _padded(journal: bytes, size: int) -> bytes:
    """The same journal, as large as that: JSON does not mind blanks."""
    head, _, rest = journal.partition(b"\n")
    return head + b" " * (size - len(journal)) + b"\n" + rest


HEADER = {"scenario": "s", "seed": 1, "code": "c"}


def entry(seed: int = 7) -> Entry:
    return Entry("pos", seed, "ok", "", 10, 8, 1, "t", "o", "h", [("a", "b")])


def test_a_line_that_was_cut_short_is_of_a_schedule_that_runs_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, HEADER)
    journal.append(entry(1))
    journal.append(entry(2))
    journal.close()
    content = journal.path.read_bytes()
    for cut in range(len(content)):
        journal.path.write_bytes(content[:cut])
        again = Journal(tmp_path, HEADER)
        assert [each.seed for each in again.entries] == [1, 2][:max(0, content[:cut].count(b"\n") - 1)]
        for seed in (1, 2)[len(again.entries):]:
            again.append(entry(seed))
        again.close()
        assert journal.path.read_bytes() == content


@pytest.mark.parametrize(("content", "sentence"), [
    (b"{}\n", "explored with other code"), (b"nonsense\n", "line 1 is none of a journal"),
    (None, "line 2 is none of a journal"),
])
def test_a_journal_that_is_none(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    Journal(tmp_path, HEADER).close()
    path = tmp_path / NAME
    path.write_bytes(content if content is not None else path.read_bytes() + b'{"strategy": 1}\n')
    with pytest.raises(UserError, match=sentence):
        Journal(tmp_path, HEADER)


def test_two_at_a_time(tmp_path: Path) -> None:
    first = Journal(tmp_path, HEADER)
    with pytest.raises(UserError, match="another cpuemu explore is at work there"):
        Journal(tmp_path, HEADER)
    first.close()
    Journal(tmp_path, HEADER).close()


def test_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="name another directory with --save"):
        Journal(tmp_path / "file" / "in", HEADER)
