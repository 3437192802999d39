"""``python -m tests.impatient launch …``: the real command; two seconds of a csd or of stop_machine are long to it."""

from __future__ import annotations

import functools
import sys

from cpuemu.cli.main import main
from cpuemu.coordinator import watchdog

if __name__ == "__main__":
    watchdog.Thresholds = functools.partial(  # type: ignore[misc, assignment]
        watchdog.Thresholds, csd=2.0, stop_machine=2.0)
    main(sys.argv[1:])
