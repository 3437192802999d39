"""Two tasks that call everybody while CPU 1 goes and comes."""

from cpuemu.kernel.uapi import Alloc, CallAll, Free
from cpuemu.scenarios.base import Scenario, Task

SCENARIO = Scenario("plugged", tasks=(Task(0, (CallAll(), Alloc(), Free())), Task(2, (Alloc(), CallAll(), Free()), 2)),
                    hotplug=("offline 1", "online 1"), profile="v3.4")
