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


def storm_workload(rest: str, request: Request) -> Workload:
    """``storm`` or ``storm:OPERATIONS`` (of each task; 0: until stopped)."""
    operations = request.operations if request.operations is not None else OPERATIONS
    if rest:
        if not rest.isdigit():
            raise InputError(f"--workload storm:{rest}: expected a number of operations a task, as in storm:100000")
        operations = int(rest)
    count = request.tasks if request.tasks is not None else TASKS_A_CPU * request.cpus
    user = (min(TARGET, HELD_PAGES), HIGH_ORDERS, LARGEST_ORDER, GIVES, FILES, UNMOVABLE, RECLAIMABLE, MOVES)
    tasks = [TaskPlan(f"storm/{number}", Program.STORM, number % request.cpus, operations, user=user)
             for number in range(count)]
    return Workload("storm", tasks, slots=SLOTS)
