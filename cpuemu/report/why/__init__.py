"""``trace-dump --why``: a run's end explained: what happened in order, who waits for whom, and everything around it."""
