"""Emulated Linux: one file a subsystem, named as there.  Every function takes the CPU it runs on first."""
