"""Status, health, metrics and timing, for operators."""
