"""Three CPUs near the min watermark, pages on every list: one after the other, allocations are about to OOM.

``QUIET``: the other CPUs have freed what they had, to their lists, and allocate nothing more.  ``BUSY``: they allocate
on, from these lists.  Nothing can be reclaimed.
"""

from __future__ import annotations

from cpuemu.kernel.uapi import Alloc, Free
from cpuemu.scenarios.base import Scenario, Task

MOST = (*(Alloc(10),) * 12, *(Alloc(8),) * 15, *(Alloc(6),) * 12)
LEAVES = (*(Alloc(),) * 24, *(Free(),) * 16)
FEW, MORE = (Alloc(),) * 64, (Alloc(),) * 84

QUIET = Scenario("quiet", tasks=(Task(0, (*MOST, *MORE)), Task(1, LEAVES), Task(2, LEAVES)), memory=64 << 20)
BUSY = Scenario("busy", tasks=(Task(0, (*MOST, *FEW)), Task(1, (*LEAVES, *FEW)), Task(2, (*LEAVES, *FEW))),
                memory=64 << 20)
SCENARIO = BUSY
