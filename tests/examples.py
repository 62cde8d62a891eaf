"""How many examples the property tests try: ``make test-all`` three times as many as ``make test``."""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("IMAGESIM_TEST_EXAMPLES", "1"))


def examples(count: int) -> int:
    """Return ``count`` times the number in the environment."""
    return max(1, round(count * FACTOR))
