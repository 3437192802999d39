# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled leaves, fast form."""
include "leaves.pxi"
