"""10: CPUs are taken to be numbered without a hole.

Seen:       v2.6.32, on machines whose possible CPUs are not 0 to n-1: a grace period of RCU does not end.
Mechanism:  RCU counts CPUs in groups of neighbours, and whoever is idle is counted for by a walk over a group's range
            of numbers.  When the groups are made, the loop over possible CPUs goes on to the next group when a number
            is beyond the last one's range: by one group, and only one.  Behind a hole of more than a group that is one
            too few: the CPU's bit stands in a group whose range its number is not in.  It reports for itself as ever,
            but idle it is never found.
Here:       CPUs 0 and 4, in groups of two.  Where CPU 4 does something after the grace period has begun, it ends.
Commit:     4a90a0681cf6 "rcu: permit discontiguous cpu_possible_mask CPU numbering" (v2.6.33).
Fix:        go on until the group covers the number: while, where there was an if.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Free, Synchronize
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="10", name="numbers-with-a-hole",
    scenario=Scenario(name="10", tasks=(Task(0, (Synchronize(),)), Task(4, (Alloc(), Free()), times=2)), cpus=5,
                      absent=(1, 2, 3)),
    broken='''\
--- a/cpuemu/kernel/rcutree.py
+++ b/cpuemu/kernel/rcutree.py
@@ -1,1 +1,1 @@
-        while number > nodes[leaf].grphi:
+        if number > nodes[leaf].grphi:
''',
    expects=("rcu-stall",),
    commit="4a90a0681cf6", release="2.6.33",
    pinned="10 cpus=5 profile=v3.2 preempt=none left_out=1 points=c6b0c352ea7f: 4 0*2707 -> rcu-stall",
)
