"""kill -9 of anybody at a random moment, also while another process is stopped: the end comes within five seconds.

The verdict names who died and where, the files tell the rest, and no process, socket or name is left.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cpuemu.coordinator.host_time import process_state
from cpuemu.layout import CpuState, MachineState
from cpuemu.report.image import Image, open_image
from cpuemu.report.records import records
from cpuemu.report.state import state_text
from tests.launched import Launched, children, is_zombie, title_of, wait_for
from tests.matrix import DEATHS
from tests.verdicts import found_only_a_death

pytestmark = pytest.mark.timeout(60)

END_S = 5.0
ENDS = {"cpu": ("cpu-died", 1), "zygote": ("host-error", 70), "coordinator": ("host-error", 70)}


@dataclass
class Death:
    """What is killed in one run; ``stopped``: who else is stopped by the host at that time."""

    run: Launched
    role: str
    victim: int
    everybody: dict[int, str]
    stopped: str

    @property
    def what(self) -> str:
        return f"{self.role} is killed" + (f", {self.stopped} is stopped" if self.stopped else "")


@pytest.mark.parametrize("seed", range(40))
def test_any_death(launch: Callable[..., Launched], sockets: Path, seed: int) -> None:
    _die(launch, sockets, random.Random(seed), seed, stops=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1000 + DEATHS))
def test_many_deaths(launch: Callable[..., Launched], sockets: Path, seed: int) -> None:
    """CPUEMU_TEST_DEATHS of them."""
    _die(launch, sockets, random.Random(seed), seed, stops=0.5)


def _die(launch: Callable[..., Launched], sockets: Path, chance: random.Random, seed: int, stops: float) -> None:
    short = chance.random() < 0.25  # so that it is going down, or all but over, when it happens
    run = launch("--cpus", "4", "--workload", "storm", "--seconds", "0.1" if short else "30",
                 "--hotplug", "random:0.02", "--seed", str(seed), "--memory", chance.choice(["24M", "48M", "128M"]),
                 "--offline", chance.choice(["exit", "park"]),
                 "--preempt", chance.choice(["none", "voluntary", "full"]))
    wait_for(lambda: [pid for pid, title in run.tree() if title.startswith("cpuemu cpu")], 20, "a CPU")
    time.sleep(chance.uniform(0, 0.15 if short else 0.4))
    death = _choose(run, chance, stops)
    if death is None:
        return  # the short run is over
    print(death.what)
    killed = time.monotonic()
    if not _kill(run, death.victim):
        return  # it has just ended by itself
    code, said = run.end(END_S + 1)
    wait_for(lambda: all(map(is_zombie, death.everybody)), END_S + 1, f"everybody's end: {death.what}")
    assert time.monotonic() - killed < END_S, death.what
    image = open_image(run.run_dir)
    if death.role != "launcher":
        assert (said["verdict"], code) == ENDS[death.role.split()[0]], (death.what, said, run.log)
        assert not list(sockets.iterdir()), death.what
        _verdict_tells(said, death)
    elif not death.stopped and not short:  # it says nothing, and neither does a coordinator that is stopped or gone
        _verdict_tells(wait_for(lambda: open_image(run.run_dir).verdict, 2, "the coordinator's verdict"), death)
    _files_tell(image)


def _kill(run: Launched, victim: int) -> bool:
    """SIGKILL to a process that is there: stopped first, it cannot end in its own way before."""
    run.signal(victim, signal.SIGSTOP)
    wait_for(lambda: process_state(victim) not in ("R", "S", "D"), 5, "it is stopped, or has ended")
    if process_state(victim) not in ("T", "t"):
        return False
    run.signal(victim, signal.SIGKILL)
    return True


def _choose(run: Launched, chance: random.Random, stops: float) -> Death | None:
    everybody = {pid: role for pid, role in _roles(run).items() if not is_zombie(pid)}
    if not everybody:
        return None
    victim = chance.choice(sorted(everybody))
    others = sorted(set(everybody) - {victim, run.process.pid})
    stopped = chance.choice(others) if others and chance.random() < stops else 0
    if stopped:
        run.signal(stopped, signal.SIGSTOP)
    return Death(run, everybody[victim], victim, everybody, everybody[stopped] if stopped else "")


def _roles(run: Launched) -> dict[int, str]:
    """By their parents: one that was forked a moment ago has no title of its own yet (a CPU of it: "cpu")."""
    roles = {run.process.pid: "launcher"}
    for coordinator in children(run.process.pid):
        roles[coordinator] = "coordinator"
        for zygote in children(coordinator):
            roles[zygote] = "zygote"
            for pid in children(zygote):
                title = title_of(pid)
                roles[pid] = title.removeprefix("cpuemu ").partition(" gen")[0] if " cpu " in title else "cpu"
    return roles


def _verdict_tells(said: dict[str, Any], death: Death) -> None:
    """Who died, where; and nothing that a death is not."""
    assert found_only_a_death(said) and said["who"].startswith(death.role), (death.what, said)
    who, where = (death.role, " died at ") if death.role.startswith("cpu") else (
        f"the {death.role} died", " while the machine was ")
    assert said["notes"][0].startswith(who) and where in said["notes"][0], (death.what, said)


def _files_tell(image: Image) -> None:
    """Events of every CPU that has run, and the whole state, of a machine that nobody has put in order."""
    machine = image.machine
    ran = {cpu.index for cpu in machine.cpus if cpu.state == CpuState.RUNNING}
    assert ran <= {record.cpu for record in records(image)}, image.problems
    text = "\n".join(state_text(image))
    for part in (f"machine {MachineState(machine.header.state).name}, 4 CPUs", "free blocks by order", "on pcp lists",
                 "locks held: ", "call_function.queue: ", "call_single_queue", "pages: "):
        assert part in text, (part, text)
    assert not image.problems
