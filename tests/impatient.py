"""``python -m tests.impatient launch …``: the real command with a watchdog that calls two seconds of a csd long."""

from __future__ import annotations

import functools
import sys

from cpuemu.cli.main import main
from cpuemu.coordinator import watchdog

if __name__ == "__main__":
    watchdog.Thresholds = functools.partial(watchdog.Thresholds, csd=2.0)  # type: ignore[misc, assignment]
    main(sys.argv[1:])
