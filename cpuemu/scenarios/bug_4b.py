"""4b: the function that runs with everybody stopped allocates memory, and drains.

Seen:       the exception of the argument of January 2012: no CPU can go while somebody waits for answers with
            preemption off, for stop_machine cannot pass; unless the one who allocates is the stopper itself.
Mechanism:  in take_cpu_down interrupts are off on every CPU.  An allocation there goes well as long as there are
            pages.  When there are none it reclaims, finds progress but no page, interrupts all CPUs to drain their
            lists, and waits for answers that nobody can give before the function returns.
Here:       take_cpu_down asks for 256 KiB as a task would, GFP_KERNEL.  Linux tells that at once, under
            CONFIG_DEBUG_ATOMIC_SLEEP; so do the oracles.  Without them nothing is seen as long as there are pages;
            the task on CPU 2 leaves none that are large enough above the min mark, and then the machine stands still.
Commit:     none.
Fix:        nothing is allocated there: as everything in v3.2's take_cpu_down.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Free
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="4b", name="stopper-allocates",
    scenario=Scenario(name="4b", tasks=(Task(2, (Alloc(10), *(Alloc(9),) * 3, *(Alloc(8),) * 3, *(Alloc(7),) * 3,
                                                 *(Alloc(6),) * 3, *(Alloc(), Free()) * 20)),), cpus=3,
                      hotplug=("offline 1", "online 1", "offline 1")),
    broken='''\
--- a/cpuemu/kernel/cpu_hotplug.py
+++ b/cpuemu/kernel/cpu_hotplug.py
@@ -36,1 +36,2 @@
-from cpuemu.kernel.page_alloc import page_alloc_cpu_dead
+from cpuemu.kernel.page_alloc import GFP_KERNEL, alloc_pages, page_alloc_cpu_dead
+from cpuemu.kernel.page_lists import NO_PAGE, free_pages
@@ -56,1 +57,2 @@
     Mask,
+    MigrateType,
@@ -325,2 +327,5 @@
     cpu.core.trace(Event.CPUEMU_CPU_OFFLINE, number, cpu.me.generation)
+    page = alloc_pages(cpu, GFP_KERNEL, 6, MigrateType.UNMOVABLE)
     migrate_tasks(cpu)
+    if page != NO_PAGE:
+        free_pages(cpu, page, 6)
''',
    expects=("sleeping-function-called",),
    commit="", release="any", constructed=True,
    pinned="4b cpus=3 profile=v3.2 preempt=none hotplug=offline+1 points=06552704e9a7: plug 0*6 plug 0*2 plug "
           "0*23 1*10 2*15 0*3 1*5 -> sleeping-function-called",
)
