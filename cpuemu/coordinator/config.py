"""The options of a launch, as plain values: what machine.msgpack keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class LaunchConfig:
    """Names and meaning are the command line's (``cpuemu launch --help``)."""

    cpus: int = 8
    workload: str = "replay"
    hotplug: str | None = None
    """None: recorded for a recording, none for everything else."""
    offline: str = "exit"
    memory_bytes: int | None = None
    zoneinfo: str | None = None
    preempt: str = "none"
    profile: str = "v3.2"
    policy: str | None = None
    patch: str | None = None
    seed: int = 1
    seconds: float | None = None
    until_done: bool = False
    tasks: int | None = None
    no_migration: bool = False
    busy_cpus: int | None = None
    window: int | None = None
    reclaim_cost: int = 0
    reclaim_success: float = 1.0
    pace: str = "max"
    trace: str = "ring"
    run_dir: str | None = None
    json: bool = False
    quiet: bool = False
    checked: bool = False
    fault: tuple[str, ...] = ()
    watchdog: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def command(self, run_dir: bool = False) -> str:
        """The command line that runs this again."""
        words = ["cpuemu launch", f"--cpus {self.cpus}", f"--workload {self.workload}", f"--seed {self.seed}"]
        default = LaunchConfig()
        for name in ("hotplug", "offline", "preempt", "profile", "policy", "patch", "zoneinfo", "seconds", "tasks",
                     "busy_cpus", "window", "reclaim_cost", "reclaim_success", "pace", "trace"):
            value = getattr(self, name)
            if value is not None and value != getattr(default, name):
                words.append(f"--{name.replace('_', '-')} {value}")
        flags = ("until_done", "no_migration", "checked")
        words += [f"--{name.replace('_', '-')}" for name in flags if getattr(self, name)]
        words += [f"--{name} {each}" for name in ("fault", "watchdog") for each in getattr(self, name)]
        if self.memory_bytes:
            words.append(f"--memory {self.memory_bytes >> 10}K")
        if run_dir and self.run_dir:
            words.append(f"--run-dir {self.run_dir}")
        return " ".join(words)
