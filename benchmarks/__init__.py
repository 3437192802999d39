"""How fast it is, measured: one command, one table, and beside each figure the same work done in plain C.

``python -m benchmarks`` from the root of a clone.  docs/performance.md says what is measured, how, and what it means.
"""
