"""14: pages are stranded on a CPU that has gone.

Seen:       v3.2, by reading: pages that a CPU kept for itself stay where they are when it goes, and until it comes back
            nobody can have them, reclaim them or move them.
Mechanism:  what a CPU keeps without a lock, another one may take only once it is dead: that is the work of the
            notifiers at CPU_DEAD, and what they forget is forgotten, as a drain reaches online CPUs only.  v3.2 forgot
            the vectors of pages on their way to the LRU lists.
Here:       constructed.  The vectors are not modelled; the notifier forgets the per-CPU lists instead, which Linux
            never did, and the same happens to them.
Commit:     f0cb3c76ae1c "mm: drain percpu lru add/rotate page-vectors on cpu hot-unplug" (3.4), told of the lists.
Fix:        drain what was the dead CPU's, before its counters are folded.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Free
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="14", name="pages-on-a-dead-cpu",
    scenario=Scenario(name="14", cpus=2, memory=64 << 20, tasks=(Task(1, (Alloc(), Alloc(), Free(), Free())),),
                      hotplug=("offline 1",)),
    broken='''\
--- a/cpuemu/kernel/page_alloc.py
+++ b/cpuemu/kernel/page_alloc.py
@@ -315,3 +315,2 @@
     """CPU_DEAD: the dead CPU's pages and its share of the counters (v3.2: page_alloc_cpu_notify)."""
-    drain_pages(cpu, dead)
     cpu.core.fold_zone_diffs(dead)
''',
    expects=("pages-on-dead-cpu",),
    commit="f0cb3c76ae1c", release="3.4", constructed=True,
    pinned=("14 cpus=2 profile=v3.2 preempt=none skipped=0.0,0.2-3 points=6c9f701f382f: 0*6 1*8 plug "
            "irq0.platform 0*8 plug 0*2 plug 0*20 1*13 0*6 1*11 0*9 plug*2 0*5 -> pages-on-dead-cpu"),
)
