"""``python -m tests.hostile --seconds 120``: attack the shop and print the cost.

Prints one JSON object as its last line; exits with 1 if a budget was not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.hostile.running import Report, Run
from tools.system import say


def attack(folder: Path, *, seed: int, count: int, odd: int, storm_seconds: float, seconds: float) -> Report:
    """Run everything; mutated files and odd requests end after ``seconds`` at the latest."""
    with Run(folder, seed=seed, storm_seconds=storm_seconds, say=lambda text: say(f"hostile: {text}")) as run:
        run.measure()
        run.storm()
        run.settle(lambda: run.fuzz(count, odd, until=time.monotonic() + seconds))
        return run.report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="for mutated files and odd requests at the most")
    parser.add_argument("--files", type=int, default=20_000, help="mutated files")
    parser.add_argument("--odd", type=int, default=3_000, help="requests with odd parameters")
    parser.add_argument("--storm", type=float, default=5.0, help="seconds of each storm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder to keep the logs in")
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    with tempfile.TemporaryDirectory(prefix="imagesim-hostile-") as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        report = attack(
            folder,
            seed=given.seed,
            count=given.files,
            odd=given.odd,
            storm_seconds=given.storm,
            seconds=given.seconds,
        )
    print(json.dumps(asdict(report)), flush=True)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
