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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.catalogues.__main__ import CACHE, HERE, SHOPS, ask, opened

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
                departments[department][category] += described(products, category, catalogue, rng)
        sold = [query for query in catalogue["queries"] if query[1]]
        queries += rng.sample(sold, min(ASKED, len(sold)))
        looks |= catalogue.get("looks", {})
    return {"language": "en", "colours": [], "looks": looks, "departments": departments, "queries": queries}


def described(products: list[Any], category: str, catalogue: Any, rng: random.Random) -> Iterator[list[str]]:
    """Yield the name, the brand and the description of each product, or of two colours of it if there are any."""
    for product in products:
        if isinstance(product, list):
            yield product
            continue
        for colour in rng.sample(catalogue["colours"], 2) if catalogue["colours"] else [""]:
            description = rng.choice(["", *catalogue["descriptions"]]).format(category=category, colour=colour)
            yield [f"{product} {colour.title()}" if colour and rng.random() < 0.6 else product, "", description]


if __name__ == "__main__":
    main()
