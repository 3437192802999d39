"""Storm: random orders and lifetimes, pages freed on other CPUs, tasks that migrate.

Each task walks at random around a number of pages held (the compiled loop's storm.pxi); some of what it frees it gives
away instead, and frees what another one gave.
"""

from __future__ import annotations

from cpuemu.layout import HELD_PAGES, Program
from cpuemu.workloads.base import InputError, Request, TaskPlan, Workload

TASKS_A_CPU = 2
OPERATIONS = 200_000
SLOTS = 1024
TARGET = 400
HIGH_ORDERS, LARGEST_ORDER, GIVES, FILES, UNMOVABLE, RECLAIMABLE = 100, 4, 100, 20, 150, 50
"""Shares in thousandths: allocations above order 0, frees given away, page-cache pages, migratetypes."""
MOVES = 50
"""Of a million operations, how many make the task prefer another CPU."""
GATHER_AFTER = 1000
"""Operations of a task before it goes to the busy CPUs: by then its lists have had their share of pages."""


def storm_workload(rest: str, request: Request) -> Workload:
    """``storm`` or ``storm:OPERATIONS`` (of each task; 0: until stopped)."""
    operations = request.operations if request.operations is not None else OPERATIONS
    if rest:
        if not rest.isdigit():
            raise InputError(f"--workload storm:{rest}: expected a number of operations a task, as in storm:100000")
        operations = int(rest)
    count = request.tasks if request.tasks is not None else TASKS_A_CPU * request.cpus
    user = (min(TARGET, HELD_PAGES), HIGH_ORDERS, LARGEST_ORDER, GIVES, FILES, UNMOVABLE, RECLAIMABLE,
            *moving(request, MOVES, operations))
    tasks = [TaskPlan(f"storm/{number}", Program.STORM, number % request.cpus, operations, user=user)
             for number in range(count)]
    return Workload("storm", tasks, slots=SLOTS)


def moving(request: Request, moves: int, operations: int) -> tuple[int, int, int]:
    """A storm task's last three words: moves in a million operations, when it gathers, on how many CPUs (0: never).

    With few operations it gathers after half of them.
    """
    busy = request.busy_cpus or 0
    if request.busy_cpus is not None and not 1 <= busy <= request.cpus:
        raise InputError(f"--busy-cpus {busy}: the machine has {request.cpus} CPUs; give 1 to {request.cpus}")
    after = min(GATHER_AFTER, operations // 2) if operations else GATHER_AFTER
    return 0 if request.no_migration else moves, after, busy
