"""12a: an asynchronous call's csd is used anew before it is unlocked.

Seen:       2015, in the hunt for machines that stuck in smp_call_function_single.
Mechanism:  who calls and does not wait has a csd of its own and must know when it is free again; nobody but the
            function that was called can tell.  But the receiver unlocks the csd after the function: between the
            function's last word and the unlock, the csd is free for its owner and locked for the receiver.  The owner
            makes it ready anew and queues it, and the late unlock takes the new call's lock away.  An owner who waits
            for the lock instead waits with interrupts off, which can deadlock.
Here:       a task sends request after request to the disk.  Each is completed on another CPU by an interrupt
            (block/blk-mq.c, v3.13), whose function wakes the task; the task begins the next one and clears the csd's
            flags, as it may.
Commit:     8053871d0f7f "smp: Fix smp_call_function_single_async() locking", v4.1.
Fix:        an asynchronous csd is unlocked before its function is called, one that is waited for after.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Io
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="12a", name="csd-reused-before-unlock",
    scenario=Scenario(name="12a", tasks=(Task(0, (Io(1),), 3),), cpus=2),
    fixed='''\
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -62,2 +62,3 @@
 CSD_FLAG_LOCK = 1
+CSD_FLAG_SYNCHRONOUS = 2
 LIST_POISON2 = NOBODY
@@ -151,4 +152,6 @@
             csd = cpu.machine.csds[cpu.current.csd] if wait else per_cpu(cpu, cpu.machine.csds, cpu.number)
             csd_lock(cpu, csd.addr(Csd.flags))
+            if wait:
+                cpu.ram.set_bits(csd.addr(Csd.flags), CSD_FLAG_SYNCHRONOUS)
             csd.func, csd.info = func, info
             generic_exec_single(cpu, target, csd, wait)
@@ -227,4 +230,9 @@
             WARN_ON_ONCE(cpu, True, oracles.CSD_REUSED, f"csd {csd.index} on the queue of cpu {cpu.number} was filled "
                          f"anew for cpu {csd.target} by cpu {csd.source}", cpus=(csd.source,))
+        func, info, source = csd.func, csd.info, csd.source
+        if not csd.flags & CSD_FLAG_SYNCHRONOUS:
+            csd_unlock(cpu, csd.addr(Csd.flags))
+            _run(cpu, func, info, csd.index, source)
+            continue
         _run(cpu, csd.func, csd.info, csd.index, csd.source)
         csd_unlock(cpu, csd.addr(Csd.flags))
''',
    expects=("csd-unlocked-twice",),
    commit="8053871d0f7f", release="4.1",
    pinned="12a cpus=2 profile=v3.2 preempt=none points=8caad6cc8079: 1 0*14 irq1.single 1*3 0*8 1*2 -> "
           "csd-unlocked-twice",
)
