"""24: batch is read twice, and changes in between.

Seen:       by reading, in the talk about the sysctl that sizes the per-CPU lists (linux-mm, April 2013); the symptom is
            a count below zero, and then a CPU that goes on freeing without end.
Mechanism:  free_hot_cold_page gives a batch of pages back when the count reaches high, and lowers the count by batch:
            two reads of a word that whoever writes percpu_pagelist_fraction changes for all CPUs, without a lock.  With
            another batch at the second read the count is no longer the number of pages on the lists.
Here:       one task allocates and frees, another one halves and doubles the share of the lists.  A new batch is never
            more than the lists hold at that moment, so that what is met is this bug and not 25.  The leaves are
            stepped: the other task may write between any two stores of a list operation, too.
Commit:     998d39cb236f "mm/page_alloc: protect pcp->batch accesses with ACCESS_ONCE", and with it 8d7a8fa97abe
            "mm/page_alloc: insert memory barriers to allow async update of pcp batch and high" (3.11).
Fix:        read once, as Gilad Ben-Yossef proposed in that talk.  The tree is v3.2.7, which reads twice.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Free, PercpuPagelistFraction
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="24", name="batch-read-twice",
    scenario=Scenario(name="24", cpus=2, memory=64 << 20, stepped=True, tasks=(
        Task(0, (Alloc(),) * 20 + (Free(),) * 20),
        Task(1, (PercpuPagelistFraction(1536), PercpuPagelistFraction(3072)), times=4),
    )),
    fixed='''\
--- a/cpuemu/kernel/page_lists.py
+++ b/cpuemu/kernel/page_lists.py
@@ -148,5 +148,5 @@
             cpu.point(P_FREE_BATCH, pcp.addr(Pcp.batch), Kind.READ)
-            free_pcppages_bulk(cpu, cpu.number, zone, pcp.batch)
-            cpu.point(P_FREE_COUNT, pcp.addr(Pcp.batch), Kind.READ)
-            pcp.count -= pcp.batch
+            batch = pcp.batch
+            free_pcppages_bulk(cpu, cpu.number, zone, batch)
+            pcp.count -= batch
     local_irq_restore(cpu, flags)
''',
    expects=("list-count", "deadlock", "hung-task", "hard-lockup"),
    commit="998d39cb236f", release="3.11",
    pinned="24 cpus=2 profile=v3.2 preempt=none points=45674ec0affb: 0*889 1*80 0*149 -> list-count",
)
