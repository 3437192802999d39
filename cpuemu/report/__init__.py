"""Reading the dead, and the living without disturbing them: no ZeroMQ, no locks, trust in nothing."""
