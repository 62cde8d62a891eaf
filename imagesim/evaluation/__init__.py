"""How good the answers are on a shop's own catalogue, and what would make them better or cheaper."""
