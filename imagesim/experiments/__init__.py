"""Experiments: variants of settings for shares of the visitors, and which of them sells more."""
