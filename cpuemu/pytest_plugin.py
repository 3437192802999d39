"""The pytest plugin: a fixture that explores, with a budget from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cpuemu", "schedules of emulated CPUs")
    group.addoption("--cpuemu-schedules", type=int, metavar="N", help="How many schedules every cpuemu_explore runs, "
                    "whatever its test says.")


@pytest.fixture
def cpuemu_explore(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``cpuemu.testing.explore``; failures stay in the test's ``tmp_path``, FILE.py is sought beside the test, too."""
    from cpuemu.testing import explore

    def exploring(scenario: Any, **options: Any) -> dict[str, Any]:
        wanted = request.config.getoption("--cpuemu-schedules")
        if wanted is not None:
            options["schedules"] = wanted
        if isinstance(scenario, str) and ".py" in scenario and not Path(scenario.partition(":")[0]).exists():
            scenario = str(request.path.parent / scenario)
        return explore(scenario, **{"save": tmp_path / "cpuemu", **options})

    return exploring
