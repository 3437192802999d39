"""2: the hotplug lock is taken in reclaim.

Seen:       told before it was seen: the text of the first version of Mel Gorman's patch (January 2012) names it as the
            reason why a drain out of reclaim must not keep CPUs from coming.  In 2017 it was there.
Mechanism:  a CPU comes up.  The control task holds cpu_hotplug.lock and has kthreadd make the new CPU's stopper thread;
            kthreadd needs two pages for its stack.  There are none: it reclaims, makes progress, fails again, and
            drains the other CPUs' lists; for that it takes the hotplug lock, which the control task holds until
            kthreadd has answered.
Here:       one task has all memory but the reserve, and gives a page back and takes it again, so that reclaim is not
            hopeless; CPU 1 comes and goes meanwhile.  What has to meet: kthreadd's request, a moment at which the zone
            is not given up, and free memory one page below what order 1 asks for.
Commit:     a459eeb7b852 "mm, page_alloc: do not depend on cpu hotplug locks inside the allocator" (4.11).
Fix:        no hotplug lock in the drain.  A CPU that goes meanwhile is not missed: whoever runs CPU_DEAD empties its
            lists.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Free
from cpuemu.scenarios.base import Bug, Scenario, Task

FILL = (Alloc(6), Alloc(6), Alloc(5), Alloc(5), Alloc(4), *(Alloc(),) * 12)
"""Of the 255 pages all but the min mark and two or three."""

BUG = Bug(
    number="2", name="hotplug-lock-in-reclaim",
    scenario=Scenario(name="2", cpus=2, maxcpus=1, memory=1 << 20, tasks=(Task(0, FILL + (Free(), Alloc()) * 20),),
                      hotplug=("online 1", "offline 1", "online 1", "offline 1", "online 1")),
    broken='''\
--- a/cpuemu/policies/on_each_cpu.py
+++ b/cpuemu/policies/on_each_cpu.py
@@ -11,2 +11,3 @@
 from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES
+from cpuemu.kernel.hotplug_lock import get_online_cpus, put_online_cpus
 from cpuemu.kernel.page_alloc import drain_all_pages
@@ -23,2 +24,4 @@
         """Context: interrupts on; waits."""
+        get_online_cpus(cpu)
         drain_all_pages(cpu, lambda: on_each_cpu(cpu, DRAIN_LOCAL_PAGES, 0, wait=True))
+        put_online_cpus(cpu)
''',
    expects=("deadlock",),
    commit="a459eeb7b852", release="4.11",
    pinned=("2 cpus=2 profile=v3.2 preempt=none hotplug=online+1 points=ca69ef2a9f35: 0*166 plug irq0.platform "
            "0*7 plug irq0.platform 0*471 -> deadlock"),
)
