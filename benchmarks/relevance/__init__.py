"""Benchmarks of relevance: known items, queries without an answer, the floor, words and pictures together."""
