"""6: the number of threads that stop_machine waits for is not the number that runs.

Seen:       mails of 19 and 20 January 2012: num_online_cpus() changes inside of stop_machine, and the machine stays
            there for good, waiting for acknowledgements that never come, until the NMI watchdog fires.
Mechanism:  stop_machine takes num_online_cpus() for the number of acknowledgements, and queues its works later, by a
            walk of cpu_online_mask.  A CPU that goes in between is counted and has no thread: nobody reaches the next
            state.  The hotplug lock is what keeps CPUs from going: stop_machine() takes it, __stop_machine() is for
            those that have it.
Here:       constructed: a task that asks for everybody to stop, and does not hold the lock, while a CPU goes.  The
            mails suspected cmci_rediscover(), which walks the CPUs at CPU_POST_DEAD without the lock; but
            get_online_cpus() around that was the first thing that Mel Gorman tried, and it did not help.  What the real
            cause was, was never found.
Commit:     none.  cmci_rediscover was made anew by 7a0c819d28f5 "x86/mce: Rework cmci_rediscover() to play well with
            CPU hotplug" (3.9).
Fix:        the lock, around count and walk.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import StopMachine
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="6", name="threads-counted",
    scenario=Scenario(name="6", tasks=(Task(2, (StopMachine(),), times=3),), cpus=3, hotplug=("offline 1",)),
    broken='''\
--- a/cpuemu/kernel/stop_machine.py
+++ b/cpuemu/kernel/stop_machine.py
@@ -156,5 +156,3 @@
     """``__stop_machine`` for who has not the hotplug lock.  Context: may sleep."""
-    get_online_cpus(cpu)
     ret = __stop_machine(cpu, fn, data, active)
-    put_online_cpus(cpu)
     return ret
''',
    expects=("online-changed", "deadlock"),
    commit="", release="3.2", constructed=True,
    pinned=("6 cpus=3 profile=v3.2 preempt=none skipped=0.2 points=94898fc57a53: plug 0*8 plug 2*28 1*10 0*14 "
            "2*3 1*6 2*3 0*10 plug 2*6 0*6 1*5 2*9 0*25 2*9 1*11 0*3 2*6 0*3 1*11 0*6 2*10 0*11 2*21 -> "
            "online-changed"),
)
