# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled leaves, stepped form: the same source with a point after each store (built with -DSTEPPED)."""
include "leaves.pxi"
