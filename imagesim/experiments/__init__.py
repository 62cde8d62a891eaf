"""Experiments: variants of the settings for shares of the visitors, and a report on which of them sells more."""
