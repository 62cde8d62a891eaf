"""The tools that the Makefile calls: services for the tests, and the checks themselves. Standard library only."""
