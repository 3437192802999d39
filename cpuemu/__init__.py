"""cpuemu: a multiprocessor that you can break on purpose."""

__version__ = "0.1.0"
