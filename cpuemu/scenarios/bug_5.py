"""5: a CPU is online before it can take interrupts, and one is lost.

Seen:       constructed, after the order of steps in which real ones went wrong: interrupts on before the CPU is
            active (fd8a7de177b6, v3.0), the APIC silenced before what is pending in it was looked at (52d6b926aabc,
            v5.9).
Mechanism:  from the instant at which a CPU is in the online mask, others call it.  What is sent before its interrupt
            controller is set up is acknowledged there with whatever an earlier life left, and served by nobody.  The
            call stays on the queue, and as the queue is not empty, no later call sends an interrupt either: whoever
            waits, waits for ever.
Here:       setup_local_APIC a few lines too late, when the CPU is online and active; a task calls it.
Commit:     none.
Fix:        the APIC first, then the mask, as in v3.2.  Interrupts stay off until the CPU is active, but none is lost.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Call
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="5", name="online-before-apic",
    scenario=Scenario(name="5", tasks=(Task(1, (Call(2),), 8),), cpus=3, maxcpus=2, hotplug=("online 2",)),
    broken='''\
--- a/cpuemu/kernel/smpboot.py
+++ b/cpuemu/kernel/smpboot.py
@@ -79,5 +79,4 @@
     callout = cpu.machine.cpumasks[Mask.CALLOUT].addr(Cpumask.bits, number // 64)
     cpu.wait_until(callout, Op.MASK_SET, bit, P_CALLOUT)
-    setup_local_APIC(cpu)
     spin_lock(cpu, LOCK_CALL_FUNCTION, P_ONLINE_LOCK)
     cpumask_set_cpu(cpu, number, Mask.ONLINE)
@@ -91,4 +90,5 @@
     if not cpu_active(cpu, number):
         cpu.wait_until(cpumask_word(cpu, Mask.ACTIVE, number), Op.MASK_SET, bit, P_ACTIVE)
+    setup_local_APIC(cpu)
     cpu.me.state = CpuState.RUNNING
     wake(cpu, cpu.me.addr(CpuWords.state))
''',
    expects=("deadlock", "csd-lock-wait"),
    commit="", release="any", constructed=True,
    pinned=("5 cpus=3 profile=v3.2 preempt=none skipped=0.0-6 points=81e62fd9ff32: plug 0*6 plug 0*18 plug*2 0*2 "
            "2*4 0*8 irq1.resched 1*12 plug 2*8 0*5 plug irq0.platform 0*9 plug 0*8 -> deadlock"),
)
