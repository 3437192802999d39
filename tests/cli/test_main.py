"""The command: it teaches, it is fast, it can be called in every way."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from cpuemu import __version__
from cpuemu.cli import main as cli_main
from cpuemu.profiles import POLICIES, PROFILES
from cpuemu.workloads.load import LOADERS
from tests.cli.test_inputs import cpuemu


def test_help_teaches(tmp_path: Path) -> None:
    done = cpuemu("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert "cpuemu launch --cpus 8" in done.stdout
    assert "launch " in done.stdout.partition("Verbs:")[2]
    assert cpuemu(cwd=tmp_path).stdout == done.stdout


def test_help_imports_little() -> None:
    """It is fast (benchmarks/boot.py says how fast) because nothing of the machine is imported for it."""
    code = ("import sys\nfrom cpuemu.cli.main import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\n"
            "print(*sys.modules, file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, capture_output=True,
                          text=True)
    modules = set(done.stderr.split())
    assert not modules & {"zmq", "rich", "greenlet", "multiprocess", "msgpack", "cpuemu.core", "cpuemu.layout"}


@pytest.mark.parametrize("verb", cli_main.VERBS)
def test_the_help_of_every_verb_has_an_example(tmp_path: Path, verb: str) -> None:
    done = cpuemu(verb, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  cpuemu {verb} " in done.stdout.partition("Examples:")[2]
    module, _, name = cli_main.VERBS[verb].partition(":")
    command: click.Command = getattr(importlib.import_module(module), name)
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            continue
        assert isinstance(parameter, click.Option)
        assert parameter.help, parameter.name


def test_every_option_of_the_examples_exists(tmp_path: Path) -> None:
    text = cpuemu("launch", "--help", cwd=tmp_path).stdout
    known = {word.strip(",") for word in text.partition("Options:")[2].split() if word.startswith("--")}
    for line in text.partition("Examples:")[2].partition("Exit codes:")[0].splitlines():
        for word in line.split():
            assert not word.startswith("--") or word in known, line


def test_version(tmp_path: Path) -> None:
    assert __version__ in cpuemu("--version", cwd=tmp_path).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete(tmp_path: Path, shell: str) -> None:
    script = subprocess.run([sys.executable, "-m", "cpuemu"], cwd=Path(__file__).parents[2], capture_output=True,
                            text=True, env={**os.environ, "_CPUEMU_COMPLETE": f"{shell}_source"}, check=True).stdout
    assert f"_CPUEMU_COMPLETE={shell}_complete" in script


def test_what_is_completed_exists() -> None:
    def offered(*words: str) -> set[str]:
        complete = ShellComplete(cli_main.cli, {}, "cpuemu", "_CPUEMU_COMPLETE")
        return {item.value for item in complete.get_completions(list(words[:-1]), words[-1])}

    assert offered("") == set(cli_main.VERBS)
    assert {"--cpus", "--workload", "--fault"} <= offered("launch", "--")
    assert offered("launch", "--workload", "") == set(LOADERS)
    assert offered("launch", "--policy", "") == set(POLICIES)
    assert offered("launch", "--profile", "") == set(PROFILES)
    assert offered("launch", "--hotplug", "r") == {"recorded", "random"}


def test_a_verb_that_is_not_there(tmp_path: Path) -> None:
    done = cpuemu("lunch", cwd=tmp_path)
    assert "Did you mean 'launch'?" in done.stderr
    assert done.returncode == 2
    assert "lunch" in done.stderr
    assert "cpuemu --help" in done.stderr


def test_a_defect_of_ours_is_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(cli_main.cli, "main", fail)
    with pytest.raises(SystemExit) as exit_:
        cli_main.main(["launch"])
    assert exit_.value.code == 70
    assert "a defect of cpuemu" in capsys.readouterr().err
