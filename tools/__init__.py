"""Development tools: python -m tools.NAME."""
