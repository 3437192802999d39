"""Nothing: CPUs that sleep until the run's time is over."""

from __future__ import annotations

from cpuemu.workloads.base import InputError, Request, Workload


def idle_workload(rest: str, request: Request) -> Workload:
    if rest:
        raise InputError(f"--workload idle:{rest}: idle takes nothing after its name")
    return Workload("idle")
