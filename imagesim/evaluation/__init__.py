"""Evaluate the answers on a shop's own catalogue, find out what would improve them or reduce their cost, and plan the
memory, disk and time of a future catalogue."""
