"""Who moves next: one strategy a file, each with its paper."""
