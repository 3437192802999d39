"""13b: the interrupt goes to a mask that its receivers are clearing.

Seen:       by Gilad Ben-Yossef in the thread of January 2012, many calls and no hotplug at all: the low-level code
            warned of an empty IPI mask, and the mask was not empty when he looked.  Easily reproduced, not explained
            there.
Mechanism:  smp_call_function_many puts its block on the global queue, gives the lock back, and then hands the block's
            own mask to the interrupt hardware.  A CPU that walks the queue just now, for another sender's call, finds
            the block, runs it and clears its bit: the mask that is read after that is smaller, or nothing is left of
            it.
Here:       three CPUs call each other, and nothing else.  v3.2's smp_call_function_many is the tree as it is; who
            looks at the mask is the interrupt controller, as on x86.
Commit:     f44310b98ddb "smp: Fix SMP function call empty cpu mask race", v3.8; in the stable 3.4 by 3.4.39, not in
            3.2.7.
Fix:        a second mask, copied before the block is published, is what the interrupt is sent to.  The queue itself
            went in v3.9 (9a46ad6d6df3).
"""

from __future__ import annotations

from cpuemu.kernel.uapi import CallAll
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="13b", name="ipi-mask-reread",
    scenario=Scenario(name="13b", tasks=(Task(0, (CallAll(),), 2), Task(1, (CallAll(),), 2), Task(2, (CallAll(),), 2)),
                      cpus=3),
    fixed='''\
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -248,7 +248,5 @@
     online = mask & cpumask_copy(cpu, Mask.ONLINE) & ~(1 << cpu.number)
     store_bits(data.cpumask, online)
-    private = bool(cpu.header.private_ipi_mask)
-    if private:
-        store_bits(data.cpumask_ipi, online)
+    store_bits(data.cpumask_ipi, online)
     refs = online.bit_count()
     if not refs:
@@ -264,6 +262,6 @@
     for target in for_each_cpu(online & ~cpumask_copy(cpu, Mask.ONLINE)):
         _warn_offline(cpu, target)
-    # v3.2 hands over the mask that receivers may be clearing by now (13b); v3.4.39 the copy made before.
-    sent = cpu.apic.send_mask(data.cpumask_ipi if private else data.cpumask, Vector.CALL_FUNCTION, cpu.off)
+    # The copy made before the block was published: receivers may be clearing the block's own mask by now.
+    sent = cpu.apic.send_mask(data.cpumask_ipi, Vector.CALL_FUNCTION, cpu.off)
     WARN_ON_ONCE(cpu, not sent, oracles.EMPTY_IPI_MASK,
                  "empty IPI mask: every receiver had run the call before the interrupt was sent", known="13b")
''',
    expects=("empty-ipi-mask",),
    commit="f44310b98ddb", release="3.8",
    pinned=("13b cpus=3 profile=v3.2 preempt=none skipped=0.0,1.0,2.0 points=45674ec0affb: 0*20 1*11 irq2.call "
            "2*21 irq0.call 0*9 1 -> empty-ipi-mask"),
)
