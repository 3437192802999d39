"""The floors hold, every package has one, and the contracts would notice if it had not."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_package_stands_on_a_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = next(each for each in contracts if each["type"] == "layers")["layers"]
    placed = {name.strip() for line in floors for name in line.split("|")}
    parts = {path.stem if path.is_file() else path.name for path in (ROOT / "cpuemu").iterdir()
             if path.suffix == ".py" or (path / "__init__.py").exists()}
    parts -= {"__init__", "__main__"}
    assert {f"cpuemu.{part}" for part in parts} | {"workers"} == placed


def test_reading_the_dead_imports_no_zeromq_and_no_core() -> None:
    """Also not indirectly, and not at the start of the installed command."""
    script = ("import sys, cpuemu.report.trace_dump, cpuemu.report.state\n"
              "bad = [name for name in sys.modules if name.split('.')[0] in ('zmq', 'multiprocess', 'greenlet')"
              " or name.startswith('cpuemu.core')]\n"
              "assert not bad, bad")
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
