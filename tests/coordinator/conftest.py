"""What tests of the watchdog share."""

from __future__ import annotations

import pytest

from tests.coordinator.watched import Host, Watched


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


@pytest.fixture
def watched(host: Host) -> Watched:
    return Watched()
