"""4: a call is queued to a CPU that leaves before it has taken it.

Seen:       2014: warnings of call interrupts on CPUs that are offline; senders who wait for a csd for ever.
Mechanism:  stop_machine turns interrupts off everywhere.  A call that was queued before, by one who does not wait, is
            still on the CPU's queue when that CPU takes itself out of the online mask: its interrupt comes too late,
            or never, because the CPU plays dead.
Here:       a task calls CPU 1 and does not wait; CPU 1 goes offline.
Commit:     8d056c48e486 "CPU hotplug, smp: flush any pending IPI callbacks before CPU offline", v3.16.
Fix:        in its last steps (CPU_DYING), interrupts still off, the CPU runs what its queue holds; an interrupt that
            comes after that finds nothing, and that is no reason to warn.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Call
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="4", name="call-to-a-cpu-that-left",
    scenario=Scenario(name="4", tasks=(Task(0, (Call(1, wait=False),), 3),), cpus=2, hotplug=("offline 1",)),
    fixed='''\
--- a/cpuemu/kernel/cpu_hotplug.py
+++ b/cpuemu/kernel/cpu_hotplug.py
@@ -40,2 +40,3 @@
 from cpuemu.kernel.sched_migrate import adopt_sleepers, migrate_tasks, tasks_left_on
+from cpuemu.kernel.smp import flush_smp_call_function_queue
 from cpuemu.kernel.stop_machine import (
@@ -324,4 +325,5 @@
     cpumask_clear_cpu(cpu, number, Mask.ONLINE)
     cpu.core.trace(Event.CPUEMU_CPU_OFFLINE, number, cpu.me.generation)
+    flush_smp_call_function_queue(cpu)
     migrate_tasks(cpu)
     return 0
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -210,4 +210,5 @@
 def generic_smp_call_function_single_interrupt(cpu: Cpu) -> None:
     """Context: interrupt."""
-    _warn_taken_offline(cpu, "call_function_single")
+    if cpu.machine.single_queues[cpu.number].head != NOBODY:
+        _warn_taken_offline(cpu, "call_function_single")
     flush_smp_call_function_queue(cpu)
''',
    expects=("ipi-on-offline", "calls-on-dead-cpu"),
    commit="8d056c48e486", release="3.16",
    pinned=("4 cpus=2 profile=v3.2 preempt=none skipped=0.2 points=45674ec0affb: plug 0*4 plug 0*14 plug "
            "irq0.platform irq1.single 1*3 0*17 1*6 0*10 1*8 0*3 1*5 0*12 1*10 0*5 plug*2 0*6 -> "
            "calls-on-dead-cpu"),
)
