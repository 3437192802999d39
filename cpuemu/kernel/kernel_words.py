"""What Linux prints when something takes too long, word for word where it can be, filled in from RAM.

Invariant:     reads RAM only; one line each, as they stand in the message of a finding.
Writers:       none.
Steps:         none.
Not modelled:  Linux's own barrier of stop_machine has no watchdog: it is told as RCU tells its stalls.
"""

from __future__ import annotations

import re

from cpuemu.kernel.call_functions import function_name
from cpuemu.kernel.wait_graph import Edge
from cpuemu.kernel.wait_holders import missing_acks, stop_state
from cpuemu.kernel.wait_records import Look
from cpuemu.layout import Machine

_PLACE = re.compile(r"(csds|cfds)\[(\d+)\]\.flags")


def late_words(machine: Machine, edge: Edge, waited_ns: int, limit_s: float) -> str:
    """Of a task that has waited too long: what its kernel would say."""
    number = edge.waiter[1]
    task = machine.tasks[number]
    if edge.kind == "csd":
        return _csd(machine, edge, task.cpu, waited_ns)
    if edge.kind == "stop_machine":
        return _stall(machine, task.cpu, waited_ns)
    return f"INFO: task {task.comm}:{number} blocked for more than {limit_s:g} seconds."


def _csd(machine: Machine, edge: Edge, cpu: int, waited_ns: int) -> str:
    """kernel/smp.c, csd_lock_wait_toolong (since v5.10)."""
    target = f"#{edge.holder[1]:02d}" if edge.holder and edge.holder[0] == "cpu" else "?"
    what = "?"
    place = _PLACE.fullmatch(edge.word)
    if place:
        element = int(place[2])
        call = machine.csds[element] if place[1] == "csds" else machine.cfds[element]
        what = f"{function_name(call.func)}({call.info:#x})"
    return (f"csd: Detected non-responsive CSD lock (#1) on CPU#{cpu}, waiting {waited_ns} ns for CPU{target} {what}.")


def _stall(machine: Machine, cpu: int, waited_ns: int) -> str:
    """In the shape of kernel/rcutree.c, print_other_cpu_stall (v3.2)."""
    late = " ".join(map(str, missing_acks(Look(machine))))
    return (f"INFO: stop_machine detected stalls on CPUs/tasks: {{ {late} }} (detected by {cpu}, "
            f"t={waited_ns // 1_000_000} ms, state {stop_state(machine)})")
