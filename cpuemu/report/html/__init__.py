"""A run as one HTML file that needs no network: what was found, and the time in which it happened, to look into."""
