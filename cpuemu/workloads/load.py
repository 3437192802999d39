"""Workloads by the name that ``--workload`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cpuemu.workloads.base import InputError, Request, Workload
from cpuemu.workloads.idle import idle_workload
from cpuemu.workloads.pressure import pressure_workload
from cpuemu.workloads.python_task import python_workload
from cpuemu.workloads.replay import replay_workload
from cpuemu.workloads.storm import storm_workload

LOADERS: Mapping[str, Callable[[str, Request], Workload]] = {
    "replay": replay_workload, "storm": storm_workload, "pressure": pressure_workload, "idle": idle_workload,
}
MOVING = ("storm", "pressure")
"""Workloads whose tasks can be told where to run."""


def load(spec: str, request: Request) -> Workload:
    """The workload that ``--workload`` names.  Raises InputError."""
    name, _, rest = spec.partition(":")
    if name not in MOVING and (request.no_migration or request.busy_cpus is not None):
        option = "--no-migration" if request.no_migration else "--busy-cpus"
        raise InputError(f"{option}: where tasks run is said for {' and '.join(MOVING)} only; leave it out, or give "
                         "one of these as --workload")
    if name in LOADERS:
        return LOADERS[name](rest, request)
    if name.endswith(".py"):
        return python_workload(spec, request)
    known = ", ".join([*LOADERS, "replay:FILE", "FILE.py:CLASS"])
    raise InputError(f"--workload {spec}: unknown workload {name!r}; known are {known}")
