"""What tox varies, for tests that start machines: numbers of CPUs, preemption model, number of launches."""

from __future__ import annotations

import os

CPUS = tuple(int(number) for number in os.environ.get("CPUEMU_TEST_CPUS", "1,2,8,64").split(","))
PREEMPT = os.environ.get("CPUEMU_TEST_PREEMPT", "none")
LAUNCHES = int(os.environ.get("CPUEMU_TEST_LAUNCHES", "6"))
"""Of the search for false alarms."""
JOBS = int(os.environ.get("CPUEMU_TEST_JOBS", "1"))
"""Of these launches, how many at a time: more of them overload the host, too."""
DEATHS = int(os.environ.get("CPUEMU_TEST_DEATHS", "1000"))
"""Of the slow test that kills at random moments."""
