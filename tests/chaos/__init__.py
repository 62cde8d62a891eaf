"""Writes, kills and outages for a while, then a count of what was lost: ``python -m tests.chaos --help``."""
