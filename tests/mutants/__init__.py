"""Deliberate defects of the emulated kernel, one for each oracle: ``python -m tests.mutants NAME [launch …]``.

The patch is made in the launcher's process; coordinator, zygote and CPUs are forked from it, so all of them have it.
Without arguments for cpuemu the mutant's own are taken.
"""

from __future__ import annotations

from tests.mutants import calls, hotplug, lateness, locks, pages
from tests.mutants.declaration import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "calls", "hotplug", "lateness", "locks", "pages"]
