"""Merchandising rules: pin, boost, bury and exclude products, replace words, and show messages."""
