"""11: calls that cross, with interrupts off.

Seen:       constructed: no single commit.  The rule is as old as the calls, and Linux warns of whoever breaks it.
Mechanism:  a call is answered in the handler of an interrupt.  Who waits for the answer with interrupts off cannot
            answer himself; two who call each other that way wait for ever, each for the other's handler.  One alone
            is never seen: his call is answered, and he goes on.
Here:       on_each_cpu turns interrupts off a line too early: for its own CPU it must, the function runs there as it
            runs in a handler; but the others are called and awaited first, and that takes interrupts.
Commit:     none; 19dbdcb8039c (v5.3) warns of calls from interrupts too.
Fix:        interrupts off behind the wait.  Excepted, and only there: a CPU that is not online yet, whom nobody can
            call, and one that writes its last words (oops_in_progress).
"""

from __future__ import annotations

from cpuemu.kernel.uapi import CallAll
from cpuemu.scenarios.base import Bug, Scenario, Task

BUG = Bug(
    number="11", name="calls-cross-irqs-off",
    scenario=Scenario(name="11", tasks=(Task(0, (CallAll(),)), Task(1, (CallAll(),))), cpus=2),
    broken='''\
--- a/cpuemu/kernel/smp.py
+++ b/cpuemu/kernel/smp.py
@@ -339,6 +339,6 @@
     """Run ``func(info)`` everywhere: the others first (sent *and* awaited), then here with interrupts off."""
     preempt_disable(cpu)
-    smp_call_function_many(cpu, (1 << cpu.machine.dims.cpus) - 1, func, info, wait)
     flags = local_irq_save(cpu)
+    smp_call_function_many(cpu, (1 << cpu.machine.dims.cpus) - 1, func, info, wait)
     cpu.calls[func](cpu, info)
     local_irq_restore(cpu, flags)
''',
    expects=("smp-call-irqs-off",),
    commit="", release="any", constructed=True,
    pinned="11 cpus=1 profile=v3.2 preempt=none left_out=1 points=1b200af61301: 0*19 -> smp-call-irqs-off",
)
