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

from cpuemu.layout import Machine, cpu_of

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
    """Keeps ``stopped_ns``, ``starved_ns`` and ``host_stopped`` of every CPU up to date.

    What is taken from any process that may have to run a CPU is taken from the CPU: its own, and those that keep
    tasks of it (arch/lending.py).  ``pid_of``: the pid of a process that is alive, by its entry in RAM.
    """

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
        self._grown = [0] * self.machine.dims.cpus
        stopped: dict[int, int] = {}
        for process in range(len(self.machine.processes)):
            self._look(process, interval, stopped)
        for words in self.machine.cpus:
            words.host_stopped = words.index in stopped
        return [f"cpu {cpu} is host-stopped (process {pid})" for cpu, pid in sorted(stopped.items())]

    def _look(self, process: int, interval: int, stopped: dict[int, int]) -> None:
        """One process, for the CPU that it runs or serves; ``stopped``: CPUs found to be so, and by whose pid."""
        pid = self.pid_of(process)
        state = process_state(pid) if pid else ""
        if not pid or not state:
            self.seen.pop(process, None)
            return
        cpu = cpu_of(self.machine.processes[process])
        words = self.machine.cpus[cpu]
        last = self.seen.get(process)
        current = self.seen[process] = _Seen(pid, state, *run_times(pid))
        if state in "Tt":
            stopped[cpu] = pid
        if last is None or last.pid != pid:
            return
        if state in "Tt" or last.state in "Tt":
            words.stopped_ns += interval
            self._grown[cpu] += interval
        elif (starved := _starved(last, current, interval)) > 0:
            words.starved_ns += starved
            self._grown[cpu] += starved

    # --- what was measured ---------------------------------------------------------------------------------

    def taken_ns(self, cpus: Iterable[int]) -> int:
        """What the host took from these CPUs together between the last two looks."""
        return self._held_up + sum(self._grown[cpu] for cpu in cpus)

    def any_stopped(self) -> bool:
        return any(words.host_stopped for words in self.machine.cpus)

    def _runner(self, cpu: int) -> _Seen | None:
        return self.seen.get(self.machine.cpus[cpu].runner)

    def state_of(self, cpu: int) -> str:
        """The letter of the process that runs it, at the last look; nothing without a process."""
        runner = self._runner(cpu)
        return runner.state if runner is not None else ""

    def starving(self, cpu: int) -> bool:
        """Whether the process that runs it wanted to run and did not, all the time between the last two looks."""
        runner = self._runner(cpu)
        return runner is not None and runner.starving

    def nobody_carries(self, cpu: int) -> bool:
        """Whether every thread of its own process but the first sleeps: then ZeroMQ has nothing in its hands.

        The coordinator, number nr_cpus, is who asks.
        """
        own = self.seen.get(self.machine.cpus[cpu].process) if cpu < self.machine.dims.cpus else None
        return own is None or others_asleep(own.pid)


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
