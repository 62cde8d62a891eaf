"""For operators: status, health, metrics and timing."""
