"""What the host takes from a CPU's process: time stopped (SIGSTOP, a debugger) and time runnable but not running.

Late is wall time minus this: a stopped or starved process is never called stuck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cpuemu.layout import Machine


@dataclass
class _Seen:
    """The last look at one process."""

    pid: int
    at_ns: int
    stopped: bool
    run_delay: int


class HostTime:
    """Keeps ``stopped_ns``, ``starved_ns`` and ``host_stopped`` of every CPU up to date."""

    def __init__(self, machine: Machine, pid_of: Callable[[int], int | None]) -> None:
        self.machine, self.pid_of = machine, pid_of
        self.seen: dict[int, _Seen] = {}

    def look(self, now_ns: int) -> list[str]:
        """Measure; sentences about processes that are stopped."""
        notes = []
        for words in self.machine.cpus:
            pid = self.pid_of(words.index)
            state = process_state(pid) if pid else None
            if not pid or state is None:
                self.seen.pop(words.index, None)
                words.host_stopped = 0
                continue
            last = self.seen.get(words.index)
            current = _Seen(pid, now_ns, state in "Tt", run_delay(pid))
            if last is not None and last.pid == pid:
                if last.stopped or current.stopped:
                    words.stopped_ns += now_ns - last.at_ns
                words.starved_ns += max(0, current.run_delay - last.run_delay)
            words.host_stopped = current.stopped
            self.seen[words.index] = current
            if current.stopped:
                notes.append(f"cpu {words.index} is host-stopped (process {pid})")
        return notes

    def taken_ns(self) -> int:
        """What the host took from all CPUs together since the beginning."""
        return sum(words.stopped_ns + words.starved_ns for words in self.machine.cpus)

    def taken_from_ns(self, cpu: int) -> int:
        words = self.machine.cpus[cpu]
        return words.stopped_ns + words.starved_ns


def process_state(pid: int) -> str | None:
    """R, S, D, T, Z… as in /proc/PID/stat; None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return None


def run_delay(pid: int) -> int:
    """Nanoseconds that the process was runnable and waited for a core; 0 where the host does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
