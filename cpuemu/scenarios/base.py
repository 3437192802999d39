"""What a scenario is, and a bug of the zoo: data, without a check, a sleep, a point or a label of its own.

A scenario is a workload, too: ``launch --workload FILE.py:SCENARIO`` runs its tasks free, ``explore FILE.py`` under
schedules that strategies choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cpuemu.errors import UserError
from cpuemu.faults import DECIDED, LATE
from cpuemu.kernel.uapi import Operation, UserTask
from cpuemu.layout import Program
from cpuemu.workloads.base import TaskPlan

MAX_CPUS = 16
_SKIPPED = re.compile(r"(\d+)\.(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Task:
    """One task: the CPU it is at home on, its operations in their order, and how often it does them all."""

    cpu: int
    does: tuple[Operation, ...]
    times: int = 1

    @property
    def operations(self) -> int:
        """How many it does in all."""
        return len(self.does) * self.times


@dataclass(frozen=True)
class Scenario:
    """A machine of ``cpus`` CPUs and ``memory`` bytes, and what happens on it.

    ``tasks``, or a ``workload`` as launch takes it (FILE.py:CLASS).  ``hotplug``: requests, "offline 1" or "online 1",
    one after the other; when each is begun, and every row of its walk, is the schedule's choice.  ``maxcpus``: how many
    CPUs are brought up at the beginning, as Linux's boot parameter; the others wait for an "online".
    ``policy``: another drain policy than the profile's.  ``patch``: a unified diff against cpuemu/kernel or
    cpuemu/policies.
    Raises UserError on what cannot be.
    """

    name: str
    tasks: tuple[Task, ...] = ()
    workload: str | None = None
    cpus: int = 3
    memory: int = 16 << 20
    profile: str = "v3.2"
    preempt: str = "none"
    policy: str | None = None
    hotplug: tuple[str, ...] = ()
    maxcpus: int = MAX_CPUS
    absent: tuple[int, ...] = ()
    """Numbers below ``cpus`` that no CPU has: holes in cpu_possible_mask."""
    patch: str | None = None
    faults: tuple[str, ...] = ()
    """What may be injected, "ipi-lost" or "cpu-death 2": so often at most, where the schedule says so."""
    left_out: tuple[int, ...] = ()
    """Tasks, by their place, that are not there this time."""
    skipped: tuple[str, ...] = ()
    """Operations that are not done this time: "TASK.PLACE" or "TASK.FIRST-LAST", counted over all rounds of a task."""
    source: str = ""
    """The specification that it was loaded from: a schedule of it is kept with that."""
    stepped: bool = False
    """Every store of a list operation of the allocator is a point of its own: for what goes wrong inside of one."""
    oracles: bool = True
    """False: what the kernel's oracles find is thrown away, for whoever wants to see that nothing else finds it."""

    def __post_init__(self) -> None:
        if bool(self.tasks) == bool(self.workload):
            raise UserError(f"scenario {self.name}: give it tasks, or a workload, and not both")
        if not 1 <= self.cpus <= MAX_CPUS:
            raise UserError(f"scenario {self.name}: {self.cpus} CPUs; a scenario has 1 to {MAX_CPUS}")
        used = {task.cpu for task in self.present} | {self._request(text)[0] for text in self.hotplug}
        for number in self.absent:
            if not 0 < number < self.cpus or number in used:
                raise UserError(f"scenario {self.name}: cpu {number} is absent; CPU 0 is not, nor is any that has a "
                                f"task or goes or comes, and there are {self.cpus} numbers")
        if not 1 <= self.maxcpus <= MAX_CPUS:
            raise UserError(f"scenario {self.name}: maxcpus is {self.maxcpus}; 1 to {MAX_CPUS} can be brought up")
        for number, task in enumerate(self.present):
            if not 0 <= task.cpu < self.cpus:
                raise UserError(f"scenario {self.name}: task {number} is at home on CPU {task.cpu}, and there are "
                                f"{self.cpus}")
            if not task.does or task.times < 1:
                raise UserError(f"scenario {self.name}: task {number} does nothing; give it operations, once or more")
        if self.tasks and not self.present:
            raise UserError(f"scenario {self.name}: all of its tasks are left out")
        for request in self.hotplug:
            self._request(request)
        self.skips(0)
        self.budget()

    def _request(self, text: str) -> tuple[int, bool]:
        verb, _, number = text.partition(" ")
        if verb not in ("offline", "online") or not number.isdecimal() or not 0 < int(number) < self.cpus:
            raise UserError(f'scenario {self.name}: hotplug request {text!r}; say "offline N" or "online N", N from 1 '
                            f"to {self.cpus - 1} (CPU 0 stays)")
        return int(number), verb == "online"

    def budget(self) -> dict[str, int]:
        """How often each fault may strike.  Raises UserError."""
        found: dict[str, int] = {}
        for text in self.faults:
            name, _, times = text.partition(" ")
            if name == LATE:
                raise UserError(f"fault {name}: no fault of a schedule; when an interrupt is delivered is a decision "
                                "of every schedule anyway")
            if name not in DECIDED or not (times or "1").isdecimal() or times == "0":
                raise UserError(f"fault {text!r}: unknown to schedules; they know {', '.join(DECIDED)}, and behind the "
                                "name how often, once if nothing is said")
            found[name] = found.get(name, 0) + int(times or 1)
        return found

    @cached_property
    def present(self) -> tuple[Task, ...]:
        """Its tasks, less those that are left out, each less the operations that are skipped."""
        return tuple(self._less(task, self.skips(number)) for number, task in enumerate(self.tasks)
                     if number not in self.left_out)

    def _less(self, task: Task, out: frozenset[int]) -> Task:
        if not out:
            return task
        return Task(task.cpu, tuple(each for place, each in enumerate(task.does * task.times) if place not in out))

    def skips(self, number: int) -> frozenset[int]:
        """The places of a task's operations that are skipped.  Raises UserError."""
        found: set[int] = set()
        for text in self.skipped:
            said = _SKIPPED.fullmatch(text)
            task, first, last = (int(each) for each in (said[1], said[2], said[3] or said[2])) if said else (0, 1, 0)
            if task >= len(self.tasks) or not first <= last < self.tasks[task].operations:
                raise UserError(f"scenario {self.name}: skipped {text!r}; say TASK.PLACE or TASK.FIRST-LAST, places of "
                                "operations that the task has")
            if task == number:
                found.update(range(first, last + 1))
        return frozenset(found)

    @property
    def requests(self) -> list[tuple[int, bool]]:
        """Hotplug requests: CPU, and whether it comes."""
        return [self._request(text) for text in self.hotplug]

    # --- as a workload: what launch and the CPUs' processes ask ---------------------------------------------

    def plans(self, operations: int | None = None) -> list[TaskPlan]:
        """The tasks as the machine is given them; ``operations``: of each, 0 until they are stopped."""
        return [TaskPlan(f"{self.name[:11]}/{number}"[:15], Program.PYTHON, task.cpu,
                         task.operations if operations is None else operations)
                for number, task in enumerate(self.present)]

    def next(self, task: UserTask) -> Operation:
        does = self.present[task.index].does
        return does[task.step % len(does)]


def spans(task: int, places: Iterable[int]) -> tuple[str, ...]:
    """Places of a task's operations as ``skipped`` has them."""
    found: list[list[int]] = []
    for place in sorted(places):
        if found and place == found[-1][1] + 1:
            found[-1][1] = place
        else:
            found.append([place, place])
    return tuple(f"{task}.{first}" + (f"-{last}" if last > first else "") for first, last in found)


@dataclass(frozen=True)
class Bug:
    """A bug of the zoo.  The module's docstring is its biography.

    ``broken``, ``fixed``: unified diffs; one of the two is "", the tree as it is.  ``expects``: rules, one of which the
    broken variant ends with ("deadlock" is one).  ``pinned``: a one-line schedule that shows it.  ``small``: the same
    on a machine so small that all of its states can be gone through; its patch makes the broken variant there.
    """

    number: str
    name: str
    scenario: Scenario
    expects: tuple[str, ...]
    commit: str
    release: str
    broken: str = ""
    fixed: str = ""
    constructed: bool = False
    pinned: str = ""
    small: Scenario | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def variant(self, broken: bool, small: bool = False) -> Scenario:
        """The scenario with the patch that makes this variant.  Raises UserError when there is no small one."""
        scenario = self.small if small else self.scenario
        if scenario is None:
            raise UserError(f"bug {self.number} has no small machine, all of whose states can be gone through")
        return replace(scenario, patch=((scenario.patch or self.broken) if broken else self.fixed) or None)
