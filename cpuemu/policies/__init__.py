"""What reclaim does about pages on other CPUs' lists: one answer a file."""
