"""Controlled schedules: which actor moves next, chosen by a strategy, recorded, and replayed."""
