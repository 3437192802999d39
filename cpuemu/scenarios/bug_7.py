"""7: the debugger is entered twice.

Seen:       v2.6.26-rc1, the first kernel with kgdb: a CPU never comes out of the debugger, nor does its master.
Mechanism:  the master stops the other CPUs with an NMI each, and they wait in kgdb_wait until it lets go of them.  When
            it does, it first says of itself that it is not in the debugger any more (cpu_in_kgdb), then lets go, waits
            until all of them have left, and only then gives kgdb_active back.  A CPU that has left and gets any other
            NMI in between, its NMI watchdog's for one, finds that there is a master, and goes in again.  There it
            waits until the master is completely in the debugger: the master is on its way out, and waits for this CPU.
            Or the master is out by then, and it waits for the next one.
Here:       two CPUs hit a breakpoint, and a third gets NMIs of its own.
Commit:     dc7d55270521 "kgdb: core" has it; fixed by 56fb70932964 "kgdb: fix SMP NMI kgdb_handle_exception exit race"
            (Jason Wessel).
Fix:        the master is in the debugger before it calls anybody, so that this one word says for how long an NMI is its
            call: who finds it clear does not go in, and nobody needs to wait for it.

xmon has had two of the kind: 730efb6193f8 "powerpc/xmon: Don't loop forever in get_output_lock()", 88b9a3d1425a
"powerpc/smp: Fix NMI IPI xmon timeout".
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Breakpoint, Nmi
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="7", name="debugger-entered-twice",
    scenario=Scenario(name="7", tasks=(Task(0, (Breakpoint(),)), Task(1, (Nmi(2), Breakpoint()))), cpus=3),
    broken='''\
--- a/cpuemu/kernel/kgdb.py
+++ b/cpuemu/kernel/kgdb.py
@@ -20,1 +20,2 @@
+from cpuemu.arch.cpu import Term
 from cpuemu.arch.gate import Kind
@@ -56,5 +57,4 @@
         _set(cpu, each.addr(KgdbCpu.passive_cpu_wait), 1, P_PASSIVE)
-    # In the debugger before anybody is called: whoever is called looks for it.
-    _set(cpu, mine.addr(KgdbCpu.cpu_in_kgdb), 1, P_MASTER_IN)
     kgdb_roundup_cpus(cpu)
+    _set(cpu, mine.addr(KgdbCpu.cpu_in_kgdb), 1, P_MASTER_IN)
     for number in for_each_online_cpu(cpu):
@@ -101,3 +101,2 @@
     cpu.point(P_CALLBACK, machine.kgdb_cpus[master].addr(KgdbCpu.cpu_in_kgdb), Kind.READ)
-    if machine.kgdb_cpus[master].cpu_in_kgdb:
-        kgdb_wait(cpu)
+    kgdb_wait(cpu)
@@ -109,2 +108,6 @@
     _set(cpu, mine.addr(KgdbCpu.cpu_in_kgdb), 1, P_WAIT_IN)
+    active, cpus = cpu.machine.kgdb.addr(Kgdb.active), cpu.machine.kgdb_cpus
+    cpu.wait_until(active, Op.NE, 0, P_WAIT)
+    while not (master := per_cpu(cpu, cpus, (seen := cpu.ram.read(active)) - 1)).cpu_in_kgdb:
+        cpu.wait_until(active, Op.NE, seen, P_WAIT, Term(master.addr(KgdbCpu.cpu_in_kgdb), Op.NE, 0))
     cpu.wait_until(mine.addr(KgdbCpu.passive_cpu_wait), Op.EQ, 0, P_WAIT)
''',
    expects=("deadlock", "array-index", "hung-task"),
    commit="56fb70932964", release="2.6.26",
    pinned=("7 cpus=3 profile=v3.2 preempt=none points=858b79d3041e: 0*13 irq1.nmi 0*4 irq2.nmi 1*4 0*2 1*2 2*4 0*7 "
            "1*2 0*2 1*10 irq1.resched 2*2 -> deadlock"),
)
