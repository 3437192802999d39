"""CPUs that go or come wrongly, and barriers that do not hold."""

from __future__ import annotations

from typing import Any

from cpuemu.arch.cpu import Cpu
from cpuemu.kernel import cpu_hotplug, oracles, smp, stop_machine, syscalls
from cpuemu.kernel.cpu_hotplug import FN_TAKE_CPU_DOWN
from cpuemu.kernel.cpumask import cpu_online, cpumask_word
from cpuemu.kernel.percpu import per_cpu
from cpuemu.kernel.stop_machine import STOP_FUNCTIONS
from cpuemu.layout import Csd, Mask, StopState
from tests.mutants.declaration import CALLS, HERE, STORM, impatient, mutant, replace, wrap


@mutant(oracles.CALLS_ON_DEAD_CPU, *STORM, "--hotplug", "1", also=(
    oracles.CSD_REUSED, oracles.CSD_UNLOCKED_TWICE))
def called_when_dead() -> None:
    """A call is queued on a CPU that has died, after its queue was looked after."""
    def queue(cpu: Cpu, number: int) -> int:
        csd = cpu.machine.csds[cpu.current.csd]
        csd.target, csd.source = number, cpu.number
        cpu.ram.xchg(csd.addr(Csd.flags), smp.CSD_FLAG_LOCK)
        words = cpu.machine.single_queues[number]
        words.head = words.tail = csd.index
        return 0

    replace(cpu_hotplug, "CPU_DEAD", (*cpu_hotplug.CPU_DEAD, queue))


@mutant(oracles.WORKS_ON_DEAD_CPU, *STORM, "--hotplug", "1")
def a_work_left_behind() -> None:
    """CPU_POST_DEAD leaves a work on the stopper."""
    def leave(cpu: Cpu, number: int) -> int:
        cpu.machine.stoppers[number].head = number
        return 0

    replace(cpu_hotplug, "CPU_POST_DEAD", (*cpu_hotplug.CPU_POST_DEAD, leave))


@mutant(oracles.TASK_LOST, "--workload", f"{HERE}/programs.py:Sleepers", "--hotplug", "1", verdict="host-error")
def nobody_adopts() -> None:
    """CPU_DEAD leaves the sleeping tasks of the dead CPU where they are."""
    replace(cpu_hotplug, "CPU_DEAD", (cpu_hotplug.page_alloc_dead,))


@mutant(oracles.CPUMASK_CHECK, *CALLS)
def one_too_many() -> None:
    """A loop over all CPUs looks at one more than there are."""
    @wrap(syscalls, "smp_call_function_single")
    def _(right: Any, cpu: Cpu, *arguments: Any) -> int:
        cpu_online(cpu, cpu.machine.dims.cpus)
        return int(right(cpu, *arguments))


@mutant(oracles.ARRAY_INDEX, *CALLS)
def behind_the_last() -> None:
    """The csd of the CPU behind the last one is looked up, as of any other."""
    @wrap(syscalls, "smp_call_function_single")
    def _(right: Any, cpu: Cpu, *arguments: Any) -> int:
        per_cpu(cpu, cpu.machine.csds, cpu.machine.dims.cpus)
        return int(right(cpu, *arguments))


@mutant(oracles.ONLINE_AFTER_TAKE_DOWN, *STORM, "--hotplug", "1")
def it_does_not_go() -> None:
    """take_cpu_down says that it is done, and does nothing."""
    STOP_FUNCTIONS[FN_TAKE_CPU_DOWN] = lambda cpu, number: 0


@mutant(oracles.CPU_DEAD_FAILED, *STORM, "--hotplug", "1")
def a_notifier_that_fails() -> None:
    """A CPU_DEAD notifier returns -EBUSY."""
    replace(cpu_hotplug, "CPU_DEAD", (*cpu_hotplug.CPU_DEAD, lambda cpu, number: -16))


@mutant(oracles.ONLINE_CHANGED, *STORM, "--hotplug", "1")
def a_cpu_comes_meanwhile() -> None:
    """A CPU that does not exist is online from state DISABLE_IRQ of stop_machine until its function runs."""
    @wrap(stop_machine, "ack_state")
    def _(right: Any, cpu: Cpu) -> None:
        if cpu.number == 0 and cpu.machine.stop_machine.state == StopState.DISABLE_IRQ:
            cpu.ram.set_bits(cpumask_word(cpu, Mask.ONLINE, 0), 1 << 63)
        right(cpu)

    down = STOP_FUNCTIONS[FN_TAKE_CPU_DOWN]

    def take_it_back(cpu: Cpu, number: int) -> int:
        cpu.ram.clear_bits(cpumask_word(cpu, Mask.ONLINE, 0), 1 << 63)
        return down(cpu, number)

    STOP_FUNCTIONS[FN_TAKE_CPU_DOWN] = take_it_back


@mutant(oracles.STOP_MACHINE_STUCK, *STORM, "--hotplug", "2")
def an_ack_too_few() -> None:
    """One thread of the barrier acknowledges nothing."""
    impatient(stop_machine=1.5)

    @wrap(stop_machine, "ack_state")
    def _(right: Any, cpu: Cpu) -> None:
        if cpu.number != 1:
            right(cpu)
