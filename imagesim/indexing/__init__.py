"""The parts of the write side: a change, who works at it, its pictures, and where it is written to."""
