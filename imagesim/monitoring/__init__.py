"""For operators: health, metrics, and how long things take."""
