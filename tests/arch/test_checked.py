"""Checked mode: a write that the declaration of its word does not allow is refused, and names who did what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cpuemu.arch.checked import CheckedRam, UndeclaredAccess, checked_machine
from cpuemu.arch.ram import create_ram
from cpuemu.arch.writers import RULES
from cpuemu.layout import (
    REGIONS,
    CallFunctionData,
    Cpu,
    CpuState,
    Dimensions,
    Header,
    Machine,
    MachineState,
    TaskState,
    rq_lock,
)
from tests.launched import ROOT

CPUS, TASKS, ZONES = 2, 12, 1
ME, OTHER = 1, 0
MY_TASK, OTHERS_TASK = 8, 9


def test_every_declared_writer_has_a_rule() -> None:
    assert {word.writer for region in REGIONS for word in region.struct.WORDS} == set(RULES)


@pytest.fixture
def checked(tmp_path: Path) -> tuple[CheckedRam, Machine, Machine]:
    """RAM as CPU 1 sees it in checked mode, its machine, and the same machine unchecked."""
    image = create_ram(tmp_path, Dimensions(CPUS, 1024, ZONES, TASKS))
    plain = image.machine
    for cpu, task in ((ME, MY_TASK), (OTHER, OTHERS_TASK)):
        plain.cpus[cpu].state, plain.cpus[cpu].generation, plain.cpus[cpu].current = CpuState.RUNNING, 1, task
        plain.tasks[task].state, plain.tasks[task].cpu = TaskState.RUNNING, cpu
    plain.header.state = MachineState.RUNNING
    ram, machine = checked_machine(image.mapping, plain.dims, ME, ME)
    return ram, machine, plain


def lock(plain: Machine, number: int, cpu: int) -> None:
    plain.locks[number].word = cpu + 1 | plain.cpus[cpu].generation << 16


def test_what_belongs_to_somebody_else(checked: tuple[CheckedRam, Machine, Machine]) -> None:
    _, machine, _ = checked
    machine.cpus[ME].irqs_off = 1
    with pytest.raises(UndeclaredAccess, match=r"cpu 1 .* stores cpus\[0\]\.irqs_off, whose writer is: the CPU"):
        machine.cpus[OTHER].irqs_off = 1
    with pytest.raises(UndeclaredAccess, match=r"header\.seed, whose writer is: launcher"):
        machine.header.seed = 3
    machine.tasks[MY_TASK].in_kernel = 1
    with pytest.raises(UndeclaredAccess, match=r"tasks\[9\]\.stack"):
        machine.tasks[OTHERS_TASK].stack = "nothing"


def test_what_a_lock_protects(checked: tuple[CheckedRam, Machine, Machine]) -> None:
    _, machine, plain = checked
    for cpu in (ME, OTHER):
        with pytest.raises(UndeclaredAccess, match="whose writer is: rq lock"):
            machine.cpus[cpu].nr_running = 1
        lock(plain, rq_lock(cpu, ZONES), ME)
        machine.cpus[cpu].nr_running = 1
    lock(plain, rq_lock(OTHER, ZONES), OTHER)
    with pytest.raises(UndeclaredAccess, match="whose writer is: rq lock"):
        machine.cpus[OTHER].nr_running = 2
    assert plain.cpus[OTHER].nr_running == 1


def test_what_no_lock_protects(checked: tuple[CheckedRam, Machine, Machine]) -> None:
    """Only atomically, and only the word that the last point declared."""
    ram, machine, plain = checked
    flags = machine.cfds[OTHER].addr(CallFunctionData.flags)
    with pytest.raises(UndeclaredAccess, match=r"changes cfds\[0\]\.flags.*which declared no word"):
        ram.xchg(flags, 0)
    plain.cpus[ME].point_word = flags
    ram.xchg(flags, 0)
    with pytest.raises(UndeclaredAccess, match=r"stores cfds\[0\]\.flags"):
        machine.cfds[OTHER].flags = 0
    with pytest.raises(UndeclaredAccess, match=r"stores header\.tickets"):
        machine.header.tickets = 7
    ram.add(machine.header.addr(Header.tickets), 1)
    with pytest.raises(UndeclaredAccess, match=r"changes cpus\[0\]\.pending\[1\].*declared cfds\[0\]\.flags"):
        ram.cmpxchg(machine.cpus[OTHER].addr(Cpu.pending, 1), 0, 1 << 16 | ME + 1)


MUTANT = """
import sys
from cpuemu.arch.gate import FreeGate
from cpuemu.cli.main import main
from cpuemu.kernel import smp
right = FreeGate.point
FreeGate.point = lambda gate, cpu, site, word, kind: site != smp.P_CSD_UNLOCK and right(gate, cpu, site, word, kind)
main(sys.argv[1:])
"""


@pytest.mark.timeout(60)
def test_a_kernel_with_a_point_too_few(tmp_path: Path) -> None:
    """An acknowledgement without its point: a defect of ours, told with the word and the last point."""
    command = [sys.executable, "-c", MUTANT, "launch", "--checked", "--cpus", "2", "--json", "--run-dir",
               str(tmp_path / "run"), "--workload", f"{ROOT}/tests/calls.py:Calls", "--seconds", "20"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False,
                         env={**os.environ, "PYTHONPATH": str(ROOT)})
    said = json.loads(run.stdout)
    assert (run.returncode, said["verdict"]) == (70, "host-error"), (said, run.stderr)
    assert "UndeclaredAccess" in said["notes"][0] and "csds[" in said["notes"][0] and ".flags" in said["notes"][0]
