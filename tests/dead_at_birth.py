"""``python -m tests.dead_at_birth launch …``: CPU 1 is killed the moment it is forked, and the zygote is stopped."""

from __future__ import annotations

import os
import signal
import sys
import types

from cpuemu.cli.main import main
from cpuemu.coordinator import zygote

forked: list[int] = []


def fork() -> int:
    pid = os.fork()
    forked.append(pid)
    if pid and len(forked) == 2:
        os.kill(pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGSTOP)
    return pid


if __name__ == "__main__":
    zygote.os = types.SimpleNamespace(**{**vars(os), "fork": fork})  # type: ignore[assignment, attr-defined]
    main(sys.argv[1:])
