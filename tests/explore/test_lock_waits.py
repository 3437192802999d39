"""A wait for a lock under a schedule: in the trace and in RAM as on a machine that nobody conducts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launched import ROOT

pytestmark = pytest.mark.timeout(110)

WAITS = """
import json, sys
from pathlib import Path
from cpuemu.events import Event
from cpuemu.explore.machine import Explored
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.kernel import smp
from cpuemu.kernel.uapi import CallAll
from cpuemu.layout import LOCK_CALL_FUNCTION, Lock
from cpuemu.report.image import open_image
from cpuemu.report.records import records
from cpuemu.scenarios.base import Scenario, Task
from cpuemu.sites import NAMES

def add(cpu, data, add=smp._list_add):
    cpu.point(smp.P_MANY_FILL)  # under the lock: here others find it taken
    add(cpu, data)

smp._list_add = add
place = Path(sys.argv[1])
machine = Explored(Scenario("calls", tuple(Task(cpu, (CallAll(),) * 4) for cpu in range(3)), profile="v3.4"), place)
word = machine.machine.locks[LOCK_CALL_FUNCTION].addr(Lock.word)
told, seen = [], set()

def observe(words, enabled):
    seen.update(cpu.lock_wait for cpu in words.cpus)

for seed in range(6):
    told.append(machine.run(RandomWalk(), seed, observe).verdict)
    told += [(each.cpu, Event(each.event).name, NAMES[each.args[0]], each.args[3])
             for each in records(open_image(place)) if each.args[1] | each.args[2] << 32 == word
             and each.event in (Event.CPUEMU_WAIT_BEGIN, Event.CPUEMU_WAIT_END)]
left = [cpu.lock_wait for cpu in machine.machine.cpus]
machine.end()
print(json.dumps({"told": told, "seen": sorted(seen), "lock": LOCK_CALL_FUNCTION, "left": left}))
"""


def test_a_wait_for_a_lock_is_traced(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", WAITS, str(tmp_path)], capture_output=True, text=True, timeout=100,
                         check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert not run.returncode, run.stderr
    said = json.loads(run.stdout)
    waits = [each for each in said["told"] if each != "ok"]
    assert len(said["told"]) - len(waits) == 6, said["told"]
    assert len(waits) > 6 and {where for *_, where, _ in waits} <= {
        "smp_call_function_many:call_function.lock", "call_function_interrupt:call_function.lock"}, waits
    for cpu in range(3):
        events = [event for number, event, _, busy in waits if number == cpu and busy]
        assert events == ["CPUEMU_WAIT_BEGIN", "CPUEMU_WAIT_END"] * (len(events) // 2), waits
    assert said["seen"] == [0, said["lock"] + 1] and said["left"] == [0, 0, 0], "who looks at RAM sees it, too"
