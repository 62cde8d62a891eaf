"""The harness as a separate program, as ``make chaos`` starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def chaos(*arguments: str) -> dict[str, Any]:
    """Return the JSON of a run. It starts its own servers; the fixtures only tell whether this machine should."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IMAGESIM_TEST")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr[-4000:]
    print(done.stderr[-4000:], done.stdout)  # pytest shows it when the test failed
    return json.loads(done.stdout.splitlines()[-1])
