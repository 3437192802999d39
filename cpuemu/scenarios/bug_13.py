"""13: references are counted before the block is on the list.

Seen:       a warning that more receivers had run a block than were asked, and senders that wait for ever; then, by
            reading, Peter Zijlstra asked what keeps the removal from running before the addition.  Milton Miller
            tried to force that with a delay and 64 CPUs, and could not.
Mechanism:  a block of calls goes from one life to the next in the same memory, and a CPU that walks the queue for
            another sender may still stand on it when it is taken off and filled anew.  The sender stores mask and
            refs, then takes the lock and adds the block: a CPU that stands there runs the new call before it is on
            the queue.  If its bit is stored and refs are not, they go below 0, the sender stores them after that, and
            nobody is left to take the last one; if both are, the last receiver takes off the list what is not on it,
            and the sender adds it for ever.
Here:       CPU 0 calls two CPUs and then two others, CPU 3 calls too, nobody waits: so CPU 1 walks over CPU 0's block
            while that is done for others.  v3.2 with v3.4's mask for the interrupt, so that 13b is silent.
Commit:     e6cd1e07a185 "call_function_many: fix list delete vs add race" (Milton Miller), v2.6.39, and back to
            2.6.32.
Fix:        refs are stored last, under the queue's lock, and a walker skips a block whose refs are 0: since v2.6.38
            and v2.6.39, and in v3.2.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import CallMany
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="13", name="refs-before-list-add",
    scenario=Scenario(name="13", tasks=(Task(0, (CallMany((2, 3), wait=False), CallMany((1, 2), wait=False)), 6),
                                        Task(3, (CallMany((1, 2), wait=False),), 6)), cpus=4, profile="v3.4"),
    broken='''\
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -281,7 +281,8 @@
         csd_unlock(cpu, data.addr(CallFunctionData.flags))
         return
+    cpu.point(P_MANY_FILL, data.addr(CallFunctionData.refs), Kind.WRITE)
+    cpu.ram.xchg(data.addr(CallFunctionData.refs), refs)
     flags = spin_lock_irqsave(cpu, LOCK_CALL_FUNCTION, P_MANY_LOCK)
     _list_add(cpu, data)
-    cpu.ram.xchg(data.addr(CallFunctionData.refs), refs)  # last: a walker skips a block with refs 0
     for target in for_each_cpu(online):
         cpu.core.trace(Event.CSD_QUEUE_CPU, target, P_MANY_SEND, func, 0x10000 + cpu.number)
@@ -309,5 +310,5 @@
         cpu.point(P_HANDLER_WALK, data.addr(CallFunctionData.cpumask, element), Kind.READ)
         mine = data.cpumask[element] >> bit & 1
-        if mine and data.refs:
+        if mine:
             _run(cpu, data.func, data.info, 0x10000 + position, position)
             _call_done(cpu, data, element, bit)
''',
    expects=("refs-negative", "call-list-corruption"),
    commit="e6cd1e07a185", release="2.6.39",
    pinned=("13 cpus=4 profile=v3.4 preempt=none skipped=0.0-5,0.8-11,1.0-4 points=f425779ddf2f: 0*17 3*18 "
            "irq2.call irq3.call 3*4 2*6 irq1.call 1*4 2*2 0*4 1*4 -> refs-negative"),
)
