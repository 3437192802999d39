"""What a person or a host does to a run with signals: Ctrl-C, twice, SIGSTOP and SIGCONT."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from cpuemu.coordinator.host_time import process_state
from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES
from cpuemu.layout import CallFunctionData, Counter, MachineState, Vector
from tests.launched import Launched, wait_for

pytestmark = pytest.mark.timeout(90)

# v3.4's copy of the mask: drains of v3.2 itself really show zoo 13b now and then, and these machines are to end ok.
STORM = ("--cpus", "4", "--workload", "storm", "--memory", "64M", "--seconds", "30", "--profile", "v3.4", "--policy",
         "on-each-cpu")


def test_ctrl_c_stops_in_order_and_audits(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM, "--hotplug", "random:0.05").running()
    time.sleep(0.5)
    run.process.send_signal(signal.SIGINT)
    code, said = run.end(20)
    assert (code, said["verdict"], said["findings"]) == (130, "interrupted", []), (said, run.log)
    pages = said["pages"]
    assert pages["managed"] == pages["buddy"] + pages["pcp"] + pages["allocated"]
    assert run.image.machine.header.state == MachineState.OFF


def test_ctrl_c_during_boot(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM)
    wait_for(lambda: run.image.machine.header.boot_ns, 20, "power on")
    run.process.send_signal(signal.SIGINT)
    code, said = run.end(20)
    assert (code, said["verdict"], said["findings"]) == (130, "interrupted", []), (said, run.log)


def test_ctrl_c_of_the_whole_group(launch: Callable[..., Launched]) -> None:
    """A terminal sends it to every process: only the launcher acts."""
    run = launch(*STORM).running()
    for pid, _ in run.tree():
        run.signal(pid, signal.SIGINT)
    run.process.send_signal(signal.SIGINT)
    code, said = run.end(20)
    assert (code, said["verdict"], said["findings"]) == (130, "interrupted", []), (said, run.log)


def test_a_second_ctrl_c_switches_off_hard(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM).running()
    run.kill("cpu 1", signal.SIGSTOP)  # so that it cannot stop in order
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    run.process.send_signal(signal.SIGINT)
    code, said = run.end(5)
    assert (code, said["verdict"], said["findings"]) == (130, "interrupted", []), (said, run.log)


def test_a_stopped_cpu_is_not_judged(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM, "--seconds", "5", "--hotplug", "random:0.1").running()
    wait_for(lambda: run.image.machine.cpus[3].user, 10, "cpu 3 is in user mode")
    run.kill("cpu 3", signal.SIGSTOP)
    wait_for(lambda: run.image.machine.cpus[3].host_stopped, 2, "host-stopped is seen")
    time.sleep(3)
    run.kill("cpu 3", signal.SIGCONT)
    code, said = run.end(30)
    assert (code, said["verdict"], said["findings"]) == (0, "ok", []), (said, run.log)


def test_a_drain_waits_for_exactly_the_stopped_cpu(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM, "--memory", "24M", "--tasks", "12", "--seconds", "15", json=False).running()
    machine = run.image.machine
    wait_for(lambda: sum(cpu.counters[Counter.DRAIN_ALL] for cpu in machine.cpus), 20, "memory is short")
    stopped, waiting = wait_for(lambda: _stop_until_a_drain_waits(run), 9, "a drain waits for a stopped CPU alone")
    try:
        assert waiting.func == DRAIN_LOCAL_PAGES
        assert machine.cpus[stopped].pending[Vector.CALL_FUNCTION]
        time.sleep(3)
        assert _waits_for(waiting) == {stopped}
        assert machine.header.state == MachineState.RUNNING
    finally:
        run.kill(f"cpu {stopped}", signal.SIGCONT)
    wait_for(lambda: _waits_for(waiting) != {stopped}, 5, "the drain goes on")
    code, _ = run.end(40)
    assert f"host-stopped: cpu {stopped}" in run.errors
    assert (code, run.output.splitlines()[-1]) == (0, "verdict: ok"), (run.output, run.log)


def _stop_until_a_drain_waits(run: Launched) -> tuple[int, CallFunctionData] | None:
    """Stop a CPU in user mode; when nobody drains within a second, let it go on, and None."""
    machine = run.image.machine
    stopped = next((number for number in range(1, 4) if _stop_in_user_mode(run, number)), 0)
    end = time.monotonic() + 1
    while stopped and time.monotonic() < end:
        for block in machine.cfds:
            if _waits_for(block) == {stopped}:
                return stopped, block
        time.sleep(0.01)
    if stopped:
        run.kill(f"cpu {stopped}", signal.SIGCONT)
    return None


def _stop_in_user_mode(run: Launched, number: int) -> bool:
    words = run.image.machine.cpus[number]
    if not words.user:
        return False
    run.kill(f"cpu {number}", signal.SIGSTOP)
    wait_for(lambda: process_state(words.pid) == "T", 2, "it is stopped")
    if words.user:
        return True
    run.kill(f"cpu {number}", signal.SIGCONT)  # it had left user mode meanwhile
    return False


def _waits_for(block: CallFunctionData) -> set[int]:
    """The CPUs that have not run a call block yet."""
    if not block.flags:
        return set()
    return {number for number in range(64) if block.cpumask[0] >> number & 1}


def test_everything_stopped_and_continued(launch: Callable[..., Launched]) -> None:
    """Ctrl-Z and fg: time that nobody had is nobody's fault."""
    run = launch(*STORM, "--seconds", "6", "--hotplug", "random:0.1").running()
    everybody = [run.process.pid, *(pid for pid, _ in run.tree())]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in everybody:
            run.signal(pid, number)
        time.sleep(3)
    code, said = run.end(30)
    assert (code, said["verdict"], said["findings"]) == (0, "ok", []), (said, run.log)


def test_the_progress_line_says_who_is_stopped(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM, json=False).running()
    run.kill("cpu 1", signal.SIGSTOP)
    wait_for(lambda: run.image.machine.cpus[1].host_stopped, 2, "host-stopped is seen")
    time.sleep(2.5)
    run.kill("cpu 1", signal.SIGCONT)
    run.process.send_signal(signal.SIGINT)
    run.end(20)
    assert "host-stopped: cpu 1" in run.errors
    assert "verdict: interrupted" in run.output
