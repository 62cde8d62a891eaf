"""Run writes, kills and outages for a while, then count lost changes: ``python -m tests.chaos --help``."""
