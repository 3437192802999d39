"""8: a loop over all CPUs that there can ever be reads behind the array of those that there are.

Seen:       powerpc, v2.6.35: at kexec "kexec: cpu N hw_cpu_id M is not possible, ignoring" for CPUs that nobody has,
            with hardware numbers that are none.
Mechanism:  before another kernel is started, kexec waits until each CPU says in its paca that its interrupts are off.
            It went from 0 to NR_CPUS, and asked whether a CPU is possible only after it had looked at its paca.  That
            was a waste of time while there were NR_CPUS pacas; since there are only as many as possible CPUs, it reads
            whatever lies behind the last one.
Here:       three CPUs, two of which start another kernel.  It needs no race: every schedule shows it.
Commit:     b636f1379eef "powerpc/kexec: Wait for online/possible CPUs only." (v2.6.36).
Fix:        the loop goes over the CPUs that are online.

A relative: 427d77a32365 "x86/smpboot: Prevent false positive out of bounds cpumask access warning" (4.10), where the
check fires although all is well, because nr_cpu_ids has been cut down first.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Kexec
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="8", name="loop-over-nr-cpus",
    scenario=Scenario(name="8", tasks=(Task(0, (Kexec(),)), Task(1, (Kexec(),))), cpus=3),
    broken='''\
--- a/cpuemu/kernel/kexec.py
+++ b/cpuemu/kernel/kexec.py
@@ -18,3 +18,3 @@
 from cpuemu.kernel.call_functions import KEXEC_SMP_DOWN
-from cpuemu.kernel.cpumask import for_each_online_cpu
+from cpuemu.kernel.cpumask import cpu_online, cpu_possible, for_each_online_cpu
 from cpuemu.kernel.irqflags import local_irq_disable, local_irq_enable, preempt_disable, preempt_enable
@@ -23,3 +23,3 @@
 from cpuemu.kernel.smp import smp_call_function_many
-from cpuemu.layout import Kexec, KexecState, Op, Paca
+from cpuemu.layout import NR_CPUS, Kexec, KexecState, Op, Paca
 from cpuemu.sites import site
@@ -70,5 +70,7 @@
     """Until every other CPU has come to a state."""
-    for number in for_each_online_cpu(cpu):
+    for number in range(NR_CPUS):
         if number != cpu.number:
             paca = per_cpu(cpu, cpu.machine.pacas, number)
+            if paca.kexec_state < state and not (cpu_possible(cpu, number) and cpu_online(cpu, number)):
+                continue
             cpu.wait_until(paca.addr(Paca.kexec_state), Op.GE, state, P_WAIT)
''',
    expects=("array-index",),
    commit="b636f1379eef", release="2.6.36",
    pinned="8 cpus=1 profile=v3.2 preempt=none left_out=1 points=ed6690cc609d: 0*22 -> array-index",
)
