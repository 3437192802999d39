"""Pressure: memory near its min watermark, tasks on every CPU that allocate mixed orders and free elsewhere.

The storm's program, with a machine to fit: what the tasks want together is a little more than what is free at
power-on.  The rest of memory is held since boot, and a share of the free pages is page cache, which reclaim can take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.layout import Program
from cpuemu.workloads.base import InputError, Request, TaskPlan, Workload
from cpuemu.workloads.storm import moving

TASKS_A_CPU = 4
MAX_TASKS = 4096
OPERATIONS = 10_000
BLOCKS = 200
"""Blocks that a task holds on average, PAGES_A_BLOCK pages each (its orders are the storm's)."""
PAGES_A_BLOCK = 1.6
SUPPLY = 0.93
"""Pages free at power-on, of what the tasks want: below 1, so that reclaim has work for ever."""
CACHE = 0.15
"""Share of the supply that is page cache."""
USER = (BLOCKS, 100, 4, 200, 60, 150, 50)
"""As storm.py names them: a fifth of the frees is given away, six allocations in a hundred are page cache."""
MOVES = 50
"""Of a million operations, how many make the task prefer another CPU."""


def pressure_workload(rest: str, request: Request) -> Workload:
    """``pressure`` or ``pressure:OPERATIONS`` (of each task)."""
    operations = request.operations if request.operations is not None else OPERATIONS
    if rest:
        if not rest.isdigit():
            raise InputError(f"--workload pressure:{rest}: expected a number of operations a task, as in pressure:4000")
        operations = int(rest)
    count = _tasks(request)
    if count > MAX_TASKS:
        raise InputError(f"--tasks {request.tasks}: on each CPU, these are {count} tasks; a machine has at most "
                         f"{MAX_TASKS}")
    tasks = [TaskPlan(f"pressure/{number}", Program.STORM, number % request.cpus, operations,
                      user=(*USER, *moving(request, MOVES, operations)))
             for number in range(count)]
    return Workload("pressure", tasks, slots=1024, working_set=int(count * BLOCKS * PAGES_A_BLOCK))


def _tasks(request: Request) -> int:
    """So many for each CPU that is to be busy; where nothing is said, as many for a machine whose CPUs all are."""
    if request.tasks is None:
        return TASKS_A_CPU * request.cpus
    return request.tasks * (request.busy_cpus or request.cpus)


def squeeze(zones: Sequence[ZoneSpec], working_set: int) -> list[ZoneSpec]:
    """Zones whose free pages and page cache are just short of a working set.  Raises InputError on a small machine."""
    supply = int(working_set * SUPPLY)
    kept = sum(zone.wmark[2] for zone in zones)
    managed = sum(zone.managed for zone in zones)
    if supply + kept > managed:
        raise InputError(f"--workload pressure: the tasks work on {supply * 4 >> 10} MiB, and this machine has "
                         f"{(managed - kept) * 4 >> 10} MiB to give: more --memory, or fewer --tasks")
    room = managed - kept
    squeezed = []
    for zone in zones:
        share = supply * (zone.managed - zone.wmark[2]) // room
        cache = int(share * CACHE)
        squeezed.append(replace(zone, nr_file=cache, free=zone.wmark[2] + share - cache))
    return squeezed
