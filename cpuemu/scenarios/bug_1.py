"""1: a drain by on_each_cpu while a CPU goes: what everybody suspected, and what it would take.

Seen:       January 2012: machines that halt when CPUs go off and on under memory pressure, with CPUs inside
            on_each_cpu, called from reclaim.  The suspicion: an interrupt is sent to a CPU that has just gone, and
            waited for.  Nobody has shown it.
Mechanism:  there is none in Linux: on_each_cpu reads the mask and sends with preemption off, and stop_machine, which
            takes the CPU out of the mask, needs a thread on every CPU that the scheduler must choose.  So the mask
            cannot change between the look and the interrupt, with every preemption model.  The kernel here that is
            called broken is the sibling that has what people feared: the mask is copied, there is a place where the CPU
            may be given away, and what was copied is sent without another look at who is online.
Here:       one task drains, as taking a page out of use does, another one has pages on its lists, CPU 2 goes.
Small:      two CPUs, one drains once while the other goes: few enough states that all are gone through, under preempt
            none 14,478, and none fails (explore zoo:1/fixed/small --strategy states).  Of two CPUs one calls the other
            alone, and there v3.2 looks at cpu_online_mask once more: this machine's broken kernel leaves that look out.
Commit:     none, constructed; 74046494ea68 "mm: only IPI CPUs to drain local pages if they exist" (3.4) narrowed the
            drain, for the sake of the interrupts.
Fix:        what v3.2.7 does: preemption off from the look to the interrupt, and an AND with cpu_online_mask after it.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Free, SoftOffline
from cpuemu.scenarios.base import Bug, Scenario, Task

_IMPORTS = '''\
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -43,3 +43,3 @@
 from cpuemu.kernel.percpu import per_cpu
-from cpuemu.kernel.sched import wake
+from cpuemu.kernel.sched import cond_resched, wake
 from cpuemu.kernel.spinlock import spin_lock, spin_lock_irqsave, spin_unlock, spin_unlock_irqrestore
'''
_SINGLE = '''\
@@ -157,3 +157,3 @@
         cpu.point(P_SINGLE_ONLINE, cpu.machine.cpumasks[Mask.ONLINE].base << 2 | 3, Kind.READ)
-        if target < cpu.machine.dims.cpus and cpu_online(cpu, target):
+        if target < cpu.machine.dims.cpus:
             csd = cpu.machine.csds[cpu.current.csd] if wait else per_cpu(cpu, cpu.machine.csds, cpu.number)
'''
"""Of two CPUs one calls the other alone, and there the mask is looked at, too."""
_MASK = '''\
@@ -259,3 +259,3 @@
     cpu.point(P_MANY_MASK, machine.cpumasks[Mask.ONLINE].base << 2 | 3, Kind.READ)
-    others = mask & cpumask_copy(cpu, Mask.ONLINE) & ~(1 << cpu.number)
+    others = mask & ~(1 << cpu.number)
     if not others:
@@ -273,3 +273,3 @@
     # Read again, after the lock: the mask may have been another one while we waited.
-    online = mask & cpumask_copy(cpu, Mask.ONLINE) & ~(1 << cpu.number)
+    online = mask & ~(1 << cpu.number)
     store_bits(data.cpumask, online)
@@ -369,4 +369,6 @@
     """Run ``func(info)`` everywhere: the others first (sent *and* awaited), then here with interrupts off."""
-    preempt_disable(cpu)
-    smp_call_function_many(cpu, (1 << cpu.machine.dims.cpus) - 1, func, info, wait)
+    online = cpumask_copy(cpu, Mask.ONLINE)
+    cond_resched(cpu)
+    preempt_disable(cpu)
+    smp_call_function_many(cpu, online, func, info, wait)
     flags = local_irq_save(cpu)
'''

BUG = Bug(
    number="1", name="drain-against-offline",
    scenario=Scenario(name="1", cpus=3, tasks=(Task(0, (SoftOffline(),), times=3), Task(1, (Alloc(), Free()))),
                      hotplug=("offline 2",)),
    broken=_IMPORTS + _MASK,
    expects=("ipi-to-offline", "deadlock"),
    commit="", release="3.2", constructed=True,
    pinned=("1 cpus=3 profile=v3.2 preempt=none left_out=1 skipped=0.0-1 points=4f6431667eee: plug 0*8 plug "
            "irq0.platform 0*5 plug 0*24 1*10 2*13 0*3 1*6 0*3 2*11 0*12 -> ipi-to-offline"),
    small=Scenario(name="1-small", cpus=2, tasks=(Task(0, (SoftOffline(),)),), hotplug=("offline 1",),
                   patch=_IMPORTS + _SINGLE + _MASK),
)
