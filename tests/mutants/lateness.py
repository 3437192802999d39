"""CPUs and tasks that do not go on.  The watchdog's limits are shortened: a second instead of ten and more."""

from __future__ import annotations

from typing import Any

from cpuemu.arch.cpu import Cpu, PowerOff, Term
from cpuemu.kernel import oracles, rcutree, smp
from cpuemu.kernel.cpumask import cpumask_word
from cpuemu.kernel.sched import wait_event
from cpuemu.layout import Mask, Op
from cpuemu.sites import site
from tests.mutants.declaration import CALLS, HERE, ONE_CALLS, impatient, mutant, replace, wrap
from tests.mutants.locks import after_each_call

NEVER = site("mutant:never")


@mutant(oracles.SOFT_LOCKUP, *ONE_CALLS)
def a_loop_without_a_point() -> None:
    """A task loops in the kernel and passes no point."""
    impatient(soft_lockup=1.5)
    after_each_call(_loop)


@mutant(oracles.HARD_LOCKUP, *ONE_CALLS)
def a_loop_with_irqs_off() -> None:
    """The same with interrupts off."""
    impatient(hard_lockup=1.5)

    def loop(cpu: Cpu) -> None:
        cpu.me.irqs_off = 1
        _loop(cpu)

    after_each_call(loop)


@mutant(oracles.HARD_LOCKUP, *ONE_CALLS)
def a_handler_without_end() -> None:
    """An interrupt handler does what it does again and again; it passes points."""
    impatient(hard_lockup=1.5)

    @wrap(smp, "_run")
    def _(right: Any, cpu: Cpu, *arguments: int) -> None:
        while True:
            right(cpu, *arguments)
            cpu.point(NEVER)
            if cpu.off():
                raise PowerOff


def _loop(cpu: Cpu) -> None:
    while not cpu.off():
        pass


@mutant(oracles.HUNG_TASK, *CALLS)
def waits_for_nothing() -> None:
    """A task waits in the kernel for what nobody will do."""
    impatient(hung_task=1.0, at_rest=60.0)
    after_each_call(_wait)


@mutant(oracles.HUNG_MACHINE, *CALLS)
def all_wait_for_nothing() -> None:
    """All tasks do: every CPU is at rest, and work is left."""
    after_each_call(_wait)


@mutant(oracles.RCU_STALL, "--workload", f"{HERE}/programs.py:Synchronizes")
def a_cpu_that_does_not_count() -> None:
    """For a second and a half, nothing says of CPU 1 that it is quiescent; half a second is long."""
    replace(rcutree, "STALL_NS", 500_000_000)

    @wrap(rcutree, "_report")
    def _(right: Any, cpu: Cpu, leaf: int, mask: int) -> None:
        young = cpu.now() - cpu.machine.rcu.gp_start_ns < 1_500_000_000
        right(cpu, leaf, mask & ~2 if young and leaf == 0 else mask)


def _wait(cpu: Cpu) -> None:
    wait_event(cpu, NEVER, Term(cpumask_word(cpu, Mask.ACTIVE, 0), Op.MASK_SET, 1 << 63))
