"""How late is too late: the watchdog's limits, and how a person sets them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from cpuemu.errors import UserError

SHORTEST = 0.5
"""Seconds: a limit below five looks would be one for the host."""


@dataclass(frozen=True)
class Thresholds:
    """Seconds, but for ``cycle_looks``, how many looks see the same cycle, and ``carry_looks``, nobody with a frame.

    ``--watchdog NAME=SECONDS`` sets one, ``NAME=off`` switches it off (infinite).
    """

    cycle_looks: int = 4
    carry_looks: int = 3
    frame: float = 2.0
    csd: float = 10.0
    stop_machine: float = 10.0
    hung_task: float = 30.0
    soft_lockup: float = 20.0
    hard_lockup: float = 10.0
    at_rest: float = 2.0


TUNABLE = ("csd", "stop-machine", "hung-task", "soft-lockup", "hard-lockup", "frame", "at-rest")
"""Names of thresholds that a person can set."""


def thresholds(settings: Iterable[str]) -> Thresholds:
    """Of settings as ``csd=5`` or ``soft-lockup=off``.  Raises UserError."""
    given: dict[str, float] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in TUNABLE:
            raise UserError(f"--watchdog {setting}: unknown; give NAME=SECONDS or NAME=off, NAME one of "
                            f"{', '.join(TUNABLE)}")
        try:
            seconds = inf if text == "off" else float(text)
        except ValueError:
            seconds = 0.0
        if not seconds >= SHORTEST:
            raise UserError(f"--watchdog {setting}: give seconds, {SHORTEST:g} or more, or off")
        given[name.replace("-", "_")] = seconds
    return Thresholds(**given)  # type: ignore[arg-type]
