# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled leaves, stepped form: the same source with a step before each store (built with -DSTEPPED)."""
include "leaves.pxi"

# What goes wrong is caught by whoever calls the leaves, in either form.
from cpuemu.core._core import BadPage, DoubleAlloc, DoubleFree, LeafError, ListCorruption
