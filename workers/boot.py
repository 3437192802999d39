"""How a CPU comes up: the boot CPU makes the kernel's first tasks, the others wait to be called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.events import Event
from cpuemu.kernel.cpu_hotplug import FN_CONTROL, FN_STOPPER
from cpuemu.kernel.cpumask import cpumask_set_cpu
from cpuemu.kernel.fork import new_idle, new_kthread, wait_for_go
from cpuemu.kernel.irqflags import local_irq_enable
from cpuemu.kernel.kthread import FN_KSWAPD, FN_KTHREADD
from cpuemu.kernel.rcutree import rcu_init
from cpuemu.kernel.sched import wake_up_new_task
from cpuemu.kernel.smpboot import start_secondary
from cpuemu.kernel.stop_machine import cpu_stopper_enable
from cpuemu.kernel.vmstat import setup_vmstat
from cpuemu.layout import (
    NOBODY,
    CpuState,
    Mask,
    SchedClass,
    TaskState,
    control_task,
    first_workload_task,
    kswapd_task,
    kthreadd_task,
    migration_task,
)

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu



def boot_processor(cpu: Cpu) -> None:
    """start_kernel on CPU 0: the first tasks, the workload asleep at its start."""
    machine = cpu.machine
    new_idle(cpu, 0)
    for mask in (Mask.ONLINE, Mask.ACTIVE):
        cpumask_set_cpu(cpu, 0, mask)
    rcu_init(cpu)
    setup_vmstat(cpu)
    _kernel_threads(cpu)
    for number in range(first_workload_task(machine.dims.cpus), machine.dims.tasks):
        if machine.tasks[number].state == TaskState.UNUSED and machine.tasks[number].comm:
            wait_for_go(cpu, number)
    cpu.core.trace(Event.CPUEMU_CPU_ONLINE, 0, cpu.me.generation)
    cpu.me.state = CpuState.RUNNING
    cpu.ram.fence()
    cpu.ring_coordinator()
    local_irq_enable(cpu)


def _kernel_threads(cpu: Cpu) -> None:
    machine, cpus = cpu.machine, cpu.machine.dims.cpus
    for number, fn, comm in (
        (kthreadd_task(cpus), FN_KTHREADD, "kthreadd"),
        (control_task(cpus), FN_CONTROL, "cpuctl"),
        (kswapd_task(cpus), FN_KSWAPD, "kswapd0"),
    ):
        new_kthread(cpu, number, fn, 0, comm, 0, SchedClass.FAIR)
        wake_up_new_task(cpu, number)
    machine.hotplug.kthreadd_task, machine.hotplug.control_task = kthreadd_task(cpus), control_task(cpus)
    machine.kswapd.task = kswapd_task(cpus)
    # migration/0 needs no kthreadd: the boot CPU's stopper is there before anything can ask for one.
    stopper = migration_task(cpus, 0)
    new_kthread(cpu, stopper, FN_STOPPER, 0, "migration/0", 0, SchedClass.STOP)
    machine.cpus[0].stop_task = stopper
    cpu_stopper_enable(cpu, 0)
    wake_up_new_task(cpu, stopper)


def secondary_processor(cpu: Cpu) -> None:
    """start_secondary: the socket is bound, say so, and wait for the boot CPU's call."""
    me = cpu.me
    me.irqs_off, me.hardirq, me.need_resched, me.timer_ns = 1, 0, 0, 0
    me.rq_head = me.rq_tail = NOBODY
    me.nr_running = me.nr_held = 0
    new_idle(cpu, cpu.number)
    me.current = me.idle_task
    me.state = CpuState.READY
    cpu.ram.fence()
    cpu.ring_coordinator()
    start_secondary(cpu)


