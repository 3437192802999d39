"""``python -m tests.undead launch …``: CPU 1's process does not end when the machine is off."""

from __future__ import annotations

import signal
import sys

from cpuemu.arch.cpu import Cpu
from cpuemu.cli.main import main
from cpuemu.coordinator import coordinator
from workers import entry, park

right = park.power_off


def power_off(cpu: Cpu) -> None:
    right(cpu)
    if cpu.number == 1:
        signal.pause()


if __name__ == "__main__":
    entry.power_off = power_off  # type: ignore[attr-defined]
    coordinator.LEAVE_LIMIT_S = 1.0
    main(sys.argv[1:])
