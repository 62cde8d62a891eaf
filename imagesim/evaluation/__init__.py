"""Evaluate the answers on a shop's own catalogue, and find out what would improve them or reduce their cost."""
