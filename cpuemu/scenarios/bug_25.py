"""25: free_pcppages_bulk is asked for more pages than there are, and never ends.

Seen:       a CPU hangs in the allocator while memory is brought online: interrupts off, zone->lock held, the others
            spin behind it (5.9).
Mechanism:  a batch goes back when the count has reached high.  Between that comparison and the read of batch somebody
            raises both, and free_pcppages_bulk is asked for more pages than are on the lists: it goes round them until
            it finds one, and whoever could put one there has its interrupts off, here.
Here:       v3.2 has the same loop, and another hand that raises batch: percpu_pagelist_fraction, from the sizes that
            the machine came up with to the largest there are.  The count goes wrong on the way, too, as in 24.  The
            leaves are stepped, as there.
Commit:     88e8ac11d2ea "mm, page_alloc: fix core hung in free_pcppages_bulk()" (5.9), told of v3.2.
Fix:        never more than the count, and the count lowered by what was asked for.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Free, PercpuPagelistFraction
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="25", name="bulk-without-end",
    scenario=Scenario(name="25", cpus=2, memory=64 << 20, stepped=True, tasks=(
        Task(0, (Alloc(),) * 22 + (Free(),) * 22),
        Task(1, (PercpuPagelistFraction(8), PercpuPagelistFraction(3072)), times=3),
    )),
    fixed='''\
--- a/cpuemu/kernel/page_lists.py
+++ b/cpuemu/kernel/page_lists.py
@@ -148,5 +148,5 @@
             cpu.point(P_FREE_BATCH, pcp.addr(Pcp.batch), Kind.READ)
-            free_pcppages_bulk(cpu, cpu.number, zone, pcp.batch)
-            cpu.point(P_FREE_COUNT, pcp.addr(Pcp.batch), Kind.READ)
-            pcp.count -= pcp.batch
+            count = min(pcp.count, pcp.batch)
+            free_pcppages_bulk(cpu, cpu.number, zone, count)
+            pcp.count -= count
     local_irq_restore(cpu, flags)
''',
    expects=("deadlock", "list-count", "hung-task", "hard-lockup"),
    commit="88e8ac11d2ea", release="5.9",
    pinned=("25 cpus=2 profile=v3.2 preempt=none points=45674ec0affb: 0*37 1*32 0*772 1*10 0*62 1*32 irq1.resched "
            "-> deadlock"),
)
