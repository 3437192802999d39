"""What a program asks the kernel for, all at once, on CPUs that run free: nothing is found, and all of it is done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cpuemu.arch.ram import open_ram
from cpuemu.layout import Counter, KexecState
from tests.launched import ROOT, Launched
from tests.operations import Kernels, Mixed

pytestmark = pytest.mark.timeout(110)


@pytest.mark.parametrize("program", [Mixed, Kernels])
def test_every_operation_at_once(program: type[Mixed | Kernels], launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "4", "--workload", f"{ROOT}/tests/operations.py:{program.__name__}", "--profile", "v3.4")
    code, said = run.end(100)
    assert (code, said["verdict"]) == (0, "ok"), said
    machine = open_ram(run.run_dir).machine
    assert sum(cpu.counters[Counter.OPERATIONS] for cpu in machine.cpus) == program.tasks * program.operations
    assert machine.kgdb.active == 0 and not any(each.cpu_in_kgdb for each in machine.kgdb_cpus)
    assert machine.kexec.owner == 0 and all(each.kexec_state == KexecState.RUNNING for each in machine.pacas)
