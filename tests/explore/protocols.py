"""Scenarios of the machine's protocols: calls that cross, CPUs that go and come under them, drains and stop_machine."""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Call, CallAll, Free, Reschedule, Sleep
from cpuemu.scenarios.base import Scenario, Task

CROSSING = Scenario("crossing", profile="v3.4", tasks=(
    Task(0, (CallAll(), Call(1), Reschedule(2))), Task(1, (Call(2), CallAll())), Task(2, (CallAll(), Call(0)))))
"""smp: everybody calls everybody."""

GOING = Scenario("going", profile="v3.4", tasks=(
    Task(0, (CallAll(), Alloc(), Free())), Task(1, (Alloc(), Sleep(100), Free())), Task(2, (CallAll(), Call(1)))),
    hotplug=("offline 1", "online 1"))
"""hotplug: a CPU with a task and pages goes and comes while others call it."""

TWO = Scenario("two", profile="v3.4", tasks=(Task(0, (CallAll(),)), Task(3, (Alloc(1), Sleep(50), Free()))), cpus=4,
               hotplug=("offline 1", "offline 3", "online 1", "online 3"))
"""stop_machine: two CPUs in turn, one with a task that has to leave."""

NARROW = Scenario("narrow", profile="v3.4", tasks=(
    Task(0, (*(Alloc(10),) * 12, *(Alloc(8),) * 16, Alloc(6), Alloc(3))), Task(1, (*(Alloc(),) * 8, *(Free(),) * 8)),
    Task(2, (*(Alloc(),) * 8, *(Free(),) * 8))), memory=64 << 20, hotplug=("offline 1",))
"""Reclaim drains the others' lists while one of them goes."""

ALL = {"crossing": CROSSING, "going": GOING, "two": TWO, "narrow": NARROW}
