"""What the host takes from a CPU's process: time stopped (SIGSTOP, a debugger) and time runnable but not running.

Late is wall time minus this: a stopped or starved process is never called stuck.  The kernel adds a wait for a core to
``schedstat`` only when it is over, so a process that is runnable and has not run since the last look counts as starved
at once, and the sum that comes later is reduced by what was counted already.

The coordinator may be held up itself (Ctrl-Z stops the whole tree): what lies between two looks beyond their
period is then taken from everybody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cpuemu.layout import Machine

PERIOD_NS = 1_000_000_000
"""A longer time between two looks means that whoever looks was held up."""


@dataclass
class _Seen:
    """The last look at one process."""

    pid: int
    state: str
    ran: int
    waited: int
    early: int = 0
    """Of the present wait for a core: counted as starved already."""
    starving: bool = False


class HostTime:
    """Keeps ``stopped_ns``, ``starved_ns`` and ``host_stopped`` of every CPU up to date."""

    def __init__(self, machine: Machine, pid_of: Callable[[int], int | None]) -> None:
        self.machine, self.pid_of = machine, pid_of
        self.seen: dict[int, _Seen] = {}
        self._held_up = 0
        self._grown = [0] * machine.dims.cpus
        self._looked_ns = 0

    def look(self, now_ns: int) -> list[str]:
        """Measure; sentences about processes that are stopped."""
        interval = now_ns - self._looked_ns if self._looked_ns else 0
        self._looked_ns = now_ns
        self._held_up = interval if interval > PERIOD_NS else 0
        interval -= self._held_up
        before = [words.stopped_ns + words.starved_ns for words in self.machine.cpus]
        notes = [note for cpu in range(self.machine.dims.cpus) if (note := self._look(cpu, interval))]
        self._grown = [words.stopped_ns + words.starved_ns - before[words.index] for words in self.machine.cpus]
        return notes

    def _look(self, cpu: int, interval: int) -> str:
        words = self.machine.cpus[cpu]
        pid = self.pid_of(cpu)
        state = process_state(pid) if pid else ""
        if not pid or not state:
            self.seen.pop(cpu, None)
            words.host_stopped = 0
            return ""
        last = self.seen.get(cpu)
        current = self.seen[cpu] = _Seen(pid, state, *run_times(pid))
        stopped = state in "Tt"
        if last is not None and last.pid == pid:
            if stopped or last.state in "Tt":
                words.stopped_ns += interval
            elif (starved := _starved(last, current, interval)) > 0:
                words.starved_ns += starved
        words.host_stopped = stopped
        return f"cpu {cpu} is host-stopped (process {pid})" if stopped else ""

    # --- what was measured ---------------------------------------------------------------------------------

    def taken_ns(self, cpus: Iterable[int]) -> int:
        """What the host took from these CPUs together between the last two looks."""
        return self._held_up + sum(self._grown[cpu] for cpu in cpus)

    def any_stopped(self) -> bool:
        return any(words.host_stopped for words in self.machine.cpus)

    def state_of(self, cpu: int) -> str:
        """The letter of its process at the last look; nothing without a process."""
        return self.seen[cpu].state if cpu in self.seen else ""

    def starving(self, cpu: int) -> bool:
        """Whether its process wanted to run and did not, all the time between the last two looks."""
        return cpu in self.seen and self.seen[cpu].starving

    def nobody_carries(self, cpu: int) -> bool:
        """Whether every thread of its process but the first sleeps: then ZeroMQ has nothing in its hands."""
        return cpu not in self.seen or others_asleep(self.seen[cpu].pid)


def _starved(last: _Seen, current: _Seen, interval: int) -> int:
    waited = current.waited - last.waited
    if waited > 0:
        return waited - last.early
    if current.ran != last.ran:
        return 0
    if current.state == "R":
        current.starving, current.early = True, last.early + interval
        return interval
    # The host reads or writes for it: a page of RAM that is a file.  No schedstat will tell of it.
    return interval if current.state == last.state == "D" else 0


# --- /proc -------------------------------------------------------------------------------------------------


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def process_state(pid: int) -> str:
    """R, S, D, T, Z… as in /proc/PID/stat; nothing when there is no such process."""
    return _state(_read(f"/proc/{pid}/stat"))


def _state(text: str) -> str:
    after = text.rpartition(")")[2].split()
    return after[0] if after else ""


def zombie_status(pid: int) -> int | None:
    """How a process ended that nobody has reaped yet (negative: the signal that killed it); None: it is none such."""
    text = _read(f"/proc/{pid}/stat")
    return os.waitstatus_to_exitcode(int(text.split()[-1])) if _state(text) == "Z" else None


def run_times(pid: int) -> tuple[int, int]:
    """Nanoseconds that the process's first thread ran, and waited for a core; zeros where the host does not tell."""
    fields = _read(f"/proc/{pid}/schedstat").split()
    return (int(fields[0]), int(fields[1])) if len(fields) >= 2 else (0, 0)


def others_asleep(pid: int) -> bool:
    """Whether every thread but the first one sleeps, waiting for something to come."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return True
    return all(_state(_read(f"{thread}/stat")) == "S" for thread in threads if thread.name != str(pid))
