"""Status and health, for operators."""
