"""What rules add to the time of a search: ``python -m benchmarks.rules [--elasticsearch URL] [--json FILE]``.

Asks the same questions without a reranker, with 200 rules of which none applies, and with 200 of which an exclusion, a
pin, a boost, or all of these and a limit apply. These take turns, so that a busy machine slows them all. Entries have
clustered random vectors; the words are those of the sandbox's embedder. Prints medians and their ratio to a search
without rules.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search import set_up

DIMS = 512
RULES = 200
BRANDS = [f"brand{n}" for n in range(40)]
NOUNS = ("shoe", "hat", "coat", "bag", "lamp", "chair", "table", "vase")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--elasticsearch", metavar="URL", help="measure this server instead of the local index")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesim-benchmark-") as folder:
        set_up(Path(folder))
        from django.conf import settings

        index: dict[str, Any] = {"BACKEND": "imagesim.indexes.local.LocalIndex"}
        if options.elasticsearch:
            index = {
                "BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex",
                "OPTIONS": {"hosts": [options.elasticsearch], "name": "imagesim-benchmark-rules", "replicas": 0},
            }
        embedder = {"BACKEND": "imagesim.testing.embedders.PixelEmbedder", "OPTIONS": {"dims": DIMS}}
        settings.IMAGESIM = {"EMBEDDER": embedder, "INDEX": index, "SYNC": "manual"}
        figures = measure(fill(options.entries), options.rounds)
    for name, row in figures.items():
        print(f"{name:<9}", "  ".join(f"{what} {value}" for what, value in row.items()))
    if options.json:
        about = {"entries": options.entries, "cpus": os.cpu_count(), "load": os.getloadavg()}
        options.json.write_text(json.dumps({"about": about, "figures": figures}, indent=1))
    return 0


def fill(count: int) -> list[Any]:
    """Create products with vectors and words in an active index; return those that are asked about."""
    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.embedders import get_embedder
    from imagesim.indexes import get_index
    from imagesim.items.registry import registry
    from imagesim.models import Embedding, ItemImage, ItemState
    from imagesim.types import Entry, EntryImage, IndexMeta

    rng = np.random.default_rng(5)
    centres = rng.standard_normal((200, DIMS))
    categories = [Category.objects.create(name=noun.title(), slug=noun) for noun in NOUNS]
    products = [
        Product(
            id=n,
            name=f"{BRANDS[n % 40]} {NOUNS[n % 8]} {n}",
            slug=f"product-{n}",
            category=categories[n % 8],
            price=n % 90,
            stock=n % 5,
            brand=BRANDS[n % 40],
        )
        for n in range(1, count + 1)
    ]
    Product.objects.bulk_create(products, batch_size=1000)
    Photo.objects.bulk_create((Photo(product_id=each.id, file=f"p/{each.id}.jpg") for each in products), 1000)
    items = registry.for_model(Product)
    fingerprint = get_embedder().fingerprint
    target = get_index()
    meta = IndexMeta(fingerprint, DIMS, dict(items.kinds), texts=items.text_specs)
    backing_index = target.create(meta)
    asked = []
    for start in range(0, count, 1000):
        entries, embeddings = [], []
        for each in products[start : start + 1000]:
            vector = (centres[each.id % 200] + 0.8 * rng.standard_normal(DIMS)).astype(np.float32)
            vector /= np.linalg.norm(vector)
            digest = hashlib.sha256(str(each.id).encode()).hexdigest()
            embeddings.append(Embedding(digest=digest, fingerprint=fingerprint, vector=vector.tobytes()))
            if each.id % (count // 50) == 0:
                state = ItemState.objects.update_or_create(model=items.label, object_pk=str(each.id))[0]
                ItemImage.objects.create(state=state, position=0, name=f"p/{each.id}.jpg", digest=digest)
                asked.append(each)
            entries.append(
                Entry(
                    items.key_of(each),
                    items.label,
                    str(each.id),
                    1,
                    (EntryImage(digest, f"p/{each.id}.jpg", vector),),
                    categories=(each.category.slug,),
                    in_stock=bool(each.stock),
                    filters=items.get_filters(each),
                    texts=items.get_texts(each),
                )
            )
        Embedding.objects.bulk_create(embeddings)
        target.write(entries, backing_index=backing_index)
    target.refresh(backing_index)
    target.promote(backing_index)
    return asked


def rules(concerning: str) -> Any:
    """Return 200 rules. The questions are about hats; ``concerning`` names the rules that apply to them."""
    from imagesim.merchandising.engine import RuleSet
    from imagesim.merchandising.models import Rule

    kinds = [(when, action) for when in ("equal", "contain", "synonym") for action in ("pin", "boost", "exclude")]
    found = [
        Rule(
            pk=n,
            name=f"other {n}",
            when=kinds[n % 9][0],
            triggers=f"garden chair {n}",
            action=kinds[n % 9][1],
            pins="1: 7",
            filters="brand = brand1",
        )
        for n in range(1, RULES - 3)
    ]
    own = [
        Rule(pk=301, name="pin", action="pin", pins="2: 8"),
        Rule(pk=302, name="exclude", action="exclude", filters="brand = brand3"),
        Rule(pk=303, name="boost", action="boost", filters="in_stock = yes", factor=1.5),
        Rule(pk=304, name="limit", action="limit", limit_field="brand", limit_count=2, limit_first=12),
    ]
    for rule in own:
        if rule.name not in concerning:
            rule.when, rule.triggers = "equal", "nothing like it"
    found += own
    assert len(found) == RULES
    return RuleSet.of(found)


def measure(asked: list[Any], rounds: int) -> dict[str, dict[str, float]]:
    import imagesim
    from imagesim.retrieval import feedback, rerank

    feedback.SECONDS = 0.0  # no setting must profit from what another has asked
    questions: dict[str, Callable[[int], Any]] = {
        "similar": lambda n: imagesim.similar_to(asked[n % len(asked)], limit=12),
        "words": lambda n: imagesim.search(text=f"hat {n % len(asked)}", limit=12),
    }
    concerning = {"none": "", "exclude": "exclude", "pin": "pin", "boost": "boost", "all": "pin exclude boost limit"}
    settings: dict[str, Any] = {"without": None, **{name: rules(each) for name, each in concerning.items()}}
    figures = {}
    for name, ask in questions.items():
        times: dict[str, list[float]] = {setting: [] for setting in settings}
        for n in range(rounds + 10):
            for setting, reranker in settings.items():
                with rerank.replaced_by(reranker):
                    started = time.perf_counter()
                    ask(n)
                    if n >= 10:
                        times[setting].append((time.perf_counter() - started) * 1000)
        medians = {setting: statistics.median(values) for setting, values in times.items()}
        figures[name] = {f"{setting}_ms": round(value, 3) for setting, value in medians.items()}
        for setting in concerning:
            pairs = zip(times[setting], times["without"], strict=True)
            figures[name][f"{setting}_ratio"] = round(statistics.median(a / b for a, b in pairs), 3)
    return figures


if __name__ == "__main__":
    sys.exit(main())
