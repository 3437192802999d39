"""The hotplug lock: readers keep CPUs from going and coming, one writer has them go and come (Linux: kernel/cpu.c).

Invariant:     the writer holds the mutex from cpu_hotplug_begin to cpu_hotplug_done, and there is no reader then.
Writers:       refcount under the mutex; active_writer by the control task.
Steps:         those of the mutex, and the writer's wait for the readers.
Not modelled:  none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.kernel.mutex import mutex_lock, mutex_unlock
from cpuemu.kernel.sched import might_sleep, wait_event, wake
from cpuemu.layout import LOCK_CPU_HOTPLUG, Hotplug, Op
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_BEGIN = site("cpu_hotplug_begin")
P_READERS = site("cpu_hotplug_begin:refcount")
P_GET_ONLINE = site("get_online_cpus")


def get_online_cpus(cpu: Cpu) -> None:
    """Keep CPUs from going or coming.  Context: may sleep.  The writer itself passes."""
    might_sleep(cpu)
    hotplug = cpu.machine.hotplug
    if hotplug.active_writer == cpu.me.current + 1:
        return
    mutex_lock(cpu, LOCK_CPU_HOTPLUG, P_GET_ONLINE)
    hotplug.refcount += 1
    cpu.current.online_refs += 1
    mutex_unlock(cpu, LOCK_CPU_HOTPLUG)


def put_online_cpus(cpu: Cpu) -> None:
    hotplug = cpu.machine.hotplug
    if hotplug.active_writer == cpu.me.current + 1:
        return
    mutex_lock(cpu, LOCK_CPU_HOTPLUG, P_GET_ONLINE)
    hotplug.refcount -= 1
    cpu.current.online_refs -= 1
    mutex_unlock(cpu, LOCK_CPU_HOTPLUG)
    wake(cpu, hotplug.addr(Hotplug.refcount))


def cpu_hotplug_begin(cpu: Cpu) -> None:
    """Become the writer: holds cpu_hotplug.lock until cpu_hotplug_done."""
    hotplug = cpu.machine.hotplug
    hotplug.active_writer = cpu.me.current + 1
    while True:
        mutex_lock(cpu, LOCK_CPU_HOTPLUG, P_BEGIN)
        if hotplug.refcount == 0:
            return
        mutex_unlock(cpu, LOCK_CPU_HOTPLUG)
        wait_event(cpu, P_READERS, Term(hotplug.addr(Hotplug.refcount), Op.EQ, 0))


def cpu_hotplug_done(cpu: Cpu) -> None:
    cpu.machine.hotplug.active_writer = 0
    mutex_unlock(cpu, LOCK_CPU_HOTPLUG)
