"""Whole machines under chosen schedules: what Gilad Ben-Yossef saw in 2012 is found, brought back, and gone in v3.4."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpuemu.errors import UserError
from cpuemu.explore.failure import read
from tests.launched import ROOT

pytestmark = pytest.mark.timeout(110)

CALLERS = f"{ROOT}/tests/explore/callers.py:Callers"


def cpuemu(place: Path, *arguments: str, wait: float = 100, **environment: str) -> subprocess.CompletedProcess[str]:
    (place / "tmp").mkdir(exist_ok=True)
    run = subprocess.run([sys.executable, "-m", "cpuemu", *arguments], cwd=place, capture_output=True, text=True,
                         timeout=wait, check=False,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp"), **environment})
    assert not list((place / "tmp").iterdir()), "a world's directory is left behind"
    return run


def explored(place: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    run = cpuemu(place, "explore", CALLERS, "--json", *arguments)
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A schedule of v3.2's ordinary smp_call_function_many that hands over an empty mask: a file."""
    place = tmp_path_factory.mktemp("explored")
    code, said = explored(place, "--strategy", "random", "--schedules", "200", "--until-failure")
    assert (code, said["failures"], len(said["files"])) == (1, 1, 1)
    assert next(iter(said["signatures"])).startswith("failed: empty-ipi-mask (known: 13b)")
    assert sum(tally["first"] for tally in said["strategies"].values()) <= said["schedules"], "it stops there"
    return place / str(said["files"][0])


def test_a_failure_comes_back_whatever_the_hash_seed(found: Path) -> None:
    for seed in ("0", "1", "random"):
        run = cpuemu(found.parent.parent, "replay", str(found), "--times", "3", PYTHONHASHSEED=seed)
        assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "verdict: the same 3 times of 3"), run.stderr
        assert "empty-ipi-mask" in run.stdout


def test_the_release_that_has_the_fix_is_silent(tmp_path: Path) -> None:
    code, said = explored(tmp_path, "--profile", "v3.4", "--schedules", "21")
    assert (code, said["failures"], said["files"]) == (0, 0, [])
    assert said["distinct"] > 12 and said["orders"] > 12
    assert set(said["strategies"]) == {"random", "pct:1", "pct:2", "pct:3", "pct:5", "pos", "surw", "profile"}
    assert {tally["schedules"] for tally in said["strategies"].values()} == {3, 5}


def test_the_same_seed_explores_the_same(tmp_path: Path) -> None:
    options = ("--strategy", "pos", "--strategy", "pct:3", "--schedules", "4", "--seed", "7")
    assert explored(tmp_path, *options, "--jobs", "1") == explored(tmp_path, *options, "--jobs", "3")


def test_ctrl_c_tells_what_was_found(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "cpuemu", "explore", CALLERS, "--schedules", "100000"], text=True,
                               cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)})
    assert process.stderr is not None
    assert " of 100500 schedules, " in next(line for line in process.stderr if "schedules" in line)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.splitlines()[0].startswith("strategy ") and out.splitlines()[-1].startswith("verdict: ")
    assert not list(tmp_path.glob("cpuemu-*-*-*-*"))


NO_ACKNOWLEDGEMENT = """
import sys
from cpuemu.cli.main import main
from cpuemu.kernel import smp
smp.csd_unlock = lambda cpu, flags: None
main(sys.argv[1:])
"""


def test_a_hang_is_known_at_once(tmp_path: Path) -> None:
    """A kernel that acknowledges nothing: thirty seconds of virtual time take no real ones."""
    run = subprocess.run([sys.executable, "-c", NO_ACKNOWLEDGEMENT, "explore", CALLERS, "--strategy", "random",
                          "--schedules", "1", "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=100,
                         check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    said = json.loads(run.stdout)
    assert (run.returncode, said["failures"], said["schedules"]) == (1, 6, 6), run.stderr
    assert next(iter(said["signatures"])).startswith("deadlock: "), said
    assert "csd_lock_wait" in run.stderr


def changed(failure: dict[str, Any], **changes: Any) -> str:
    return json.dumps({**failure, **changes})


@pytest.mark.parametrize(("content", "sentence"), [
    (lambda failure: changed(failure, placement="0" * 12), "made by another version of the kernel code"),
    (lambda failure: changed(failure, program="0" * 12), "callers.py has changed since"),
    (lambda failure: changed(failure, format=1), "a schedule of format 1, this cpuemu reads format 3"),
    (lambda failure: "{}", "not a schedule file of cpuemu explore: it lacks choices, "),
    (lambda failure: "[]", "not a schedule file"),
    (lambda failure: changed(failure, schedule=["7 csd_lock"]), "a step of '7', and nobody is called so on 3 CPUs"),
    (lambda failure: changed(failure, schedule=["2 csd_lock"]),
     "step 0: cpu 2 at csd_lock was to move, and those who can are: cpu 0 at try_to_wake_up, cpu 2 at "),
    (lambda failure: changed(failure, schedule=failure["schedule"][:3]), "step 3: the recorded schedule is over, and "),
    (lambda failure: changed(failure, schedule=[*failure["schedule"], "1 csd_lock"]),
     "cpu 1 at csd_lock was to move, and it is over"),
    (lambda failure: changed(failure, scenario={**failure["scenario"], "profile": "v3.4"}), " was to move, and those "),
    (lambda failure: changed(failure, scenario={**failure["scenario"], "source": "zoo:0"}), "the zoo has no bug '0'"),
], ids=["placement", "program", "format", "empty", "other", "nobody", "point", "short", "long", "profile", "scenario"])
def test_a_file_that_does_not_fit(found: Path, tmp_path: Path, content: Any, sentence: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(content(json.loads(found.read_text())))
    run = cpuemu(tmp_path, "replay", str(file))
    assert run.returncode == 2, run.stderr
    assert sentence in run.stderr and len(run.stderr.splitlines()) == 1, run.stderr


def test_a_file_that_was_cut_short(found: Path, tmp_path: Path) -> None:
    """Wherever it was cut, it is told, and nothing else."""
    content, file = found.read_text(), tmp_path / "file.json"
    for end in range(20, len(content) - 2, 211):
        file.write_text(content[:end])
        with pytest.raises(UserError, match=r"cut short after \d+ lines: not a whole schedule file"):
            read(file)


def test_a_file_is_whole_whenever_its_writer_is_killed(found: Path, tmp_path: Path) -> None:
    """The disk is full: what was there before stays, and nothing is left beside it."""
    file = tmp_path / "file.json"
    file.write_bytes(found.read_bytes())
    code = ("import resource, sys; from pathlib import Path; from cpuemu.explore.failure import read, save\n"
            "failure = read(Path(sys.argv[1])); resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))\n"
            "save(failure, Path(sys.argv[1]))")
    run = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=60,
                         check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "cannot be written" in run.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"] and file.read_bytes() == found.read_bytes()


def test_a_schedule_is_followed_on_another_kernel_as_far_as_it_goes(found: Path, tmp_path: Path) -> None:
    run = cpuemu(tmp_path, "replay", str(found), "--profile", "v3.4")
    assert run.returncode == 2 and "a schedule of profile v3.2, and v3.4 is asked for" in run.stderr
    arguments = ("replay", str(found), "--profile", "v3.4", "--continue-with", "random", "--times", "4")
    said = json.loads(cpuemu(tmp_path, *arguments, "--json").stdout)
    assert (said["same"], said["times"]) == (0, 4) and "profile" in said["misfit"]
    assert {each["continued"]["with"] for each in said["replays"]} == {"random"}
    assert len({each["continued"]["from_step"] for each in said["replays"]}) == 1, "it parts at one place"
    assert {each["verdict"] for each in said["replays"]} == {"ok"}
    run = cpuemu(tmp_path, *arguments)
    assert run.returncode == 1 and "continued with random from there on: 4 × ok" in run.stdout, run.stdout
    assert run.stdout.splitlines()[-1].endswith("other schedules, continued with random; 0 of all failed")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_failure_comes_back_a_hundred_times(found: Path) -> None:
    run = cpuemu(found.parent.parent, "replay", str(found), "--times", "100")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "verdict: the same 100 times of 100"), run.stderr


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("nobody",), "unknown workload 'nobody'"),
    (("replay",), "replay: nothing to explore"),
    (("idle",), "idle: nothing to explore"),
    ((CALLERS, "--strategy", "luck"), "--strategy luck: unknown; known are random, pct:DEPTH"),
    ((CALLERS, "--strategy", "pct"), "--strategy pct: unknown"),
    ((CALLERS, "--profile", "v9"), "--profile v9: unknown"),
    ((CALLERS, "--memory", "much"), "not a size"),
])
def test_what_cannot_be_explored(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    run = cpuemu(tmp_path, "explore", *arguments)
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert sentence in run.stderr and "Traceback" not in run.stderr
