"""All English catalogues as one shop with many categories: ``python -m benchmarks.catalogues.together --read 600``.

Prints the same as for one catalogue. Things of other catalogues may be right as well, and count as wrong if the pattern
of a query does not match them, so only differences tell something. Queries for what one shop does not sell are left
out, because others do. With ``--read``, the calibration reads as many items at random, as in a shop that has far more,
and what it reads in addition.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.catalogues.__main__ import CACHE, HERE, SHOPS, ask, described, opened

ASKED = 30
"""The number of queries of each catalogue."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read", type=int, help="the number of items that the calibration reads at random")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    file = options.cache / f"together-{options.read or 'all'}.json"
    file.write_text(json.dumps(together()))
    ask(opened(str(file), options.cache, read=options.read))


def together() -> dict[str, Any]:
    """Return one catalogue with the products of all English ones, and some of the queries of each."""
    departments: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    rng, queries, looks = random.Random(1), list[Any](), dict[str, str]()
    for shop in SHOPS:
        catalogue = json.loads((HERE / f"{shop}.json").read_text("utf-8"))
        if catalogue["language"] != "en":
            continue
        for department, categories in catalogue["departments"].items():
            for category, products in categories.items():
                for name, _colour, texts in described(products, category, catalogue, rng):
                    departments[department][category].append([name, texts.get("brand", ""), texts["description"]])
        sold = [query for query in catalogue["queries"] if query[1]]
        queries += rng.sample(sold, min(ASKED, len(sold)))
        looks |= catalogue.get("looks", {})
    return {"language": "en", "colours": [], "looks": looks, "departments": departments, "queries": queries}


if __name__ == "__main__":
    main()
