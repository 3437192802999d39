"""Scenarios: a machine, what its tasks do, what is asked of it from outside.  The zoo's bugs are one file each."""
