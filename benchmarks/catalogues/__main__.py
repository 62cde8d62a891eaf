"""Run queries as shoppers type them on shops of other trades: ``python -m benchmarks.catalogues sports``.

The catalogues and queries in this folder were written for this benchmark; there are no pictures. The vector of an item
is the vector of the words for its category and colour, from the text tower of the built-in model, with added noise. So
the figures show how queries are read and texts are matched, not how well the model sees. Where the model does not know
the language of a catalogue, the catalogue has English words for what its categories look like. A query has a pattern
for the name and category of what it asks for, or none if the shop does not sell it. Prints the queries whose first hit
is wrong, those whose first hit is right but most of whose first eight hits are wrong ("behind"), and those that show
nothing although the shop sells it; of the latter, also how many have a right item among the closest.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.recall import unit
from benchmarks.relevance import served
from benchmarks.relevance.data import Shop

HERE = Path(__file__).parent
SHOPS = (
    *("sports", "home", "garden", "children", "german"),
    *("electronics", "diy", "beauty", "pets", "french", "jewellery", "office", "italian"),
    *("books", "arabic", "chinese"),
    *("eyewear", "bicycles", "posters", "toys", "furniture", "instruments"),
    *("kitchen", "supermarket", "spanish", "dutch", "fashion", "camping", "drogerie", "maison"),
    *("department", "craft", "bekleidung", "lebensmittel"),
    *("polish", "country"),
    *("portuguese", "warenhuis", "homestore"),
    *("svenska", "russian", "turkish", "japanese", "baumarkt", "gadgets"),
    *("dansk", "cesky", "marketplace", "byggvaror", "perfumeria", "casalinghi", "boutique", "supplies"),
    *("suomi", "magyar", "greek", "korean", "romanian", "ukrainian", "slovak", "indonesian", "persian"),
    *("vietnamese", "thai", "hindi", "hebrew", "latvian", "lithuanian", "serbian"),
    *("pharmacy", "autoparts", "cellar", "attic"),
)

Queries = Sequence[tuple[str, str | None]]
"""Each text with the pattern of what it asks for, or None if the shop does not sell it."""

CACHE = Path("/tmp/imagesim-catalogues")

SHARES = {"shape": 0.65, "colour": 0.15, "words": 0.2}
"""The shares that the model uses for pictures unlike its training pictures."""

ALIKE = {"shape": 0.6, "colour": 0.7, "words": 0.45}
"""The cosine of a part of an item's vector to that of its category, or of the words for it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", help=f"{', '.join(SHOPS)}, or a file in the same format")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    ask(opened(options.shop, options.cache))


def opened(shop: str, cache: Path, *, read: int | None = None) -> Queries:
    """Create a shop from a catalogue, once per process, and return its queries. ``read``: the number of items that the
    calibration reads at random."""
    file = HERE / f"{shop}.json" if shop in SHOPS else Path(shop)
    catalogue = json.loads(file.read_text("utf-8"))
    from demo_shop import settings

    settings.LANGUAGE_CODE = catalogue["language"]
    media = cache / f"{file.stem}-files"
    media.mkdir(parents=True, exist_ok=True)
    served.setup(file.stem, cache, media)
    if read:
        from imagesim.indexing import calibrate

        calibrate.MAX_ITEMS = read
    served.fill(make(catalogue, media), media)
    queries: Queries = catalogue["queries"]
    return queries


def make(catalogue: Any, media: Path) -> Shop:
    """Return the products of a catalogue: each in two of its colours, or once if it has none."""
    rng = random.Random(0)
    parents, names, categories, texts, colours = dict[str, str](), [], [], [], []
    for department, of_department in catalogue["departments"].items():
        for category, products in of_department.items():
            parents[category] = department
            for name, colour, of_item in described(products, category, catalogue, rng):
                names.append(name)
                texts.append(of_item)
                categories.append(category)
                colours.append(colour)
    files = [media / f"{number}.bin" for number in range(len(names))]
    for file in files:
        file.write_bytes(file.name.encode())  # only their digests are used
    return Shop(
        name=media.name,
        keys=[file.stem for file in files],
        names=names,
        categories=categories,
        parents=parents,
        texts=texts,
        files=files,
        owner=np.arange(len(files)),
        vectors=vectors_of(categories, colours, catalogue.get("looks", {})),
    )


def described(
    products: Sequence[Any], category: str, catalogue: Any, rng: random.Random
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the name, the colour and the other texts of each product, or of two colours of it if there are any."""
    for product in products:
        if isinstance(product, list):
            name, brand, description = product
            yield name, "", {"brand": brand, "description": description}
            continue
        for colour in rng.sample(catalogue["colours"], 2) if catalogue["colours"] else [""]:
            name = f"{product} {colour.title()}" if colour and rng.random() < 0.6 else product
            description = "" if rng.random() < 0.3 else rng.choice(catalogue["descriptions"])
            yield name, colour, {"description": description.format(category=category, colour=colour), "colour": colour}


def vectors_of(categories: list[str], colours: list[str], looks: Mapping[str, str]) -> np.ndarray:
    """Return a vector for each item, of shape (items, dims); ``looks`` are the English words for the categories."""
    from imagesim.embedders import get_embedder

    rng = np.random.default_rng(0)
    embedder: Any = get_embedder()
    texts = embedder.embed_texts(
        [f"{looks.get(name, name)} {colour}".strip() for name, colour in zip(categories, colours, strict=True)]
    )
    names = list(dict.fromkeys(categories))
    shapes = unit(rng.standard_normal((len(names), 256)))
    meant = {
        "shape": shapes[[names.index(name) for name in categories]],
        "colour": unit(texts[:, 256:384] + 1e-9),
        "words": unit(texts[:, 384:]),
    }
    parts = []
    for name, ideal in meant.items():
        noise = rng.standard_normal(ideal.shape)
        noise = unit(noise - (noise * ideal).sum(1, keepdims=True) * ideal)
        alike = ALIKE[name]
        parts.append(np.sqrt(SHARES[name]) * (alike * ideal + np.sqrt(1 - alike**2) * noise))
    return np.concatenate(parts, axis=1).astype(np.float32)


class Answer(NamedTuple):
    """The names and categories of the ``found`` items and of the ``closest`` ones, and which of each are right."""

    found: Sequence[str]
    right: Sequence[bool]
    closest: Sequence[str]
    nearly: Sequence[bool]
    fault: str
    """What is wrong with the answer: "wrong" if the first hit is, "behind" if it is right but most hits are wrong,
    "nothing" if there are no hits although what it asks for is sold; otherwise empty."""


def answer(text: str, pattern: str | None) -> Answer:
    """Search the shop for a text; ``pattern`` matches the names and categories that are right."""
    import imagesim
    from imagesim.conf import get_settings

    hits = imagesim.search(text=text, limit=8, min_relevance=get_settings().MIN_RELEVANCE)
    found, closest = ([f"{hit.item.name} [{hit.item.category.name}]" for hit in each] for each in (hits, hits.closest))
    right, nearly = (
        [pattern is not None and bool(re.search(pattern, each, re.IGNORECASE)) for each in called]
        for called in (found, closest)
    )
    fault = ""
    if found:
        fault = "wrong" if not right[0] else "behind" if 2 * sum(right) < len(right) else ""
    elif pattern is not None:
        fault = "nothing"
    return Answer(found, right, closest, nearly, fault)


def ask(queries: Queries) -> None:
    answers = {text: answer(text, pattern) for text, pattern in queries}
    for text, each in answers.items():
        if each.fault == "nothing":
            print(f"nothing  {text!r}; the closest: {', '.join(each.closest[:2]) or 'nothing'}")
        elif each.fault:
            print(f"{each.fault:6}   {text!r}: {', '.join(each.found[:3])}")
    faults = Counter(each.fault for each in answers.values())
    near = sum(any(each.nearly) for each in answers.values() if each.fault == "nothing")
    shown, right = (sum(count(each.right) for each in answers.values()) for count in (len, sum))
    asked = f"{len(queries)} queries, {sum(pattern is None for _, pattern in queries)} of them for what is not sold"
    counts = (
        f"{faults['wrong'] + faults['behind']} wrong ({faults['wrong']} with the first hit), "
        f"{faults['nothing']} without an answer, {near} of them at least the closest"
    )
    print(f"{asked}: {counts}; {right / max(shown, 1):.3f} of the hits are right")


if __name__ == "__main__":
    main()
