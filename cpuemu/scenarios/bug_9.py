"""9: the end of the mask is not compared, and a CPU that cannot be has its data looked up.

Seen:       the kernel of 2026 (7.x), by reading: a debug option indexes per-CPU data by a number that is no CPU's.
Mechanism:  smp_call_function_any looks for an online CPU of the mask it was given.  Where there is none, what it has is
            nr_cpu_ids, the end of every mask, and it hands that on: smp_call_function_single knows that this is no CPU,
            and says -ENXIO.  With b0473dcd4b1d the csd of an asynchronous call became, under the csd lock debug option,
            one of the CPU that is called; and it was looked up before the number was compared.  The entry behind the
            last CPU's is somebody else's memory: its lock bit is waited for, set, and cleared again.
Here:       a CPU is called that is yet to come.  Whoever calls before it is online asks for the csd of CPU nr_cpu_ids,
            which is where the csds on the tasks' stacks begin.
Commit:     b0473dcd4b1d brought it; fixed by "smp: Avoid invalid per-CPU CSD lookup with CSD lock debug" (2026).
Fix:        the csd of the CPU called only when there is such a CPU.  The tree is v3.2: it takes the caller's own, after
            the comparison.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import CallAny
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="9", name="end-of-mask",
    scenario=Scenario(name="9", tasks=(Task(0, (CallAny((1,)),), times=3),), cpus=2, maxcpus=1,
                      hotplug=("online 1",)),
    broken='''\
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -146,12 +146,13 @@
         local_irq_restore(cpu, flags)
     else:
         cpu.point(P_SINGLE_ONLINE, cpu.machine.cpumasks[Mask.ONLINE].base << 2 | 3, Kind.READ)
+        csd = cpu.machine.csds[cpu.current.csd] if wait else per_cpu(cpu, cpu.machine.csds, target)
+        csd_lock(cpu, csd.addr(Csd.flags))
         if target < cpu.machine.dims.cpus and cpu_online(cpu, target):
-            csd = cpu.machine.csds[cpu.current.csd] if wait else per_cpu(cpu, cpu.machine.csds, cpu.number)
-            csd_lock(cpu, csd.addr(Csd.flags))
             csd.func, csd.info = func, info
             generic_exec_single(cpu, target, csd, wait)
         else:
+            csd_unlock(cpu, csd.addr(Csd.flags))
             error = -6  # ENXIO
     preempt_enable(cpu)
     return error
''',
    expects=("array-index",),
    commit="b0473dcd4b1d", release="7.x",
    pinned="9 cpus=2 profile=v3.2 preempt=none hotplug=- points=d93a7a20a24b: 0*21 -> array-index",
)
