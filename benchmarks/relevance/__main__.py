"""Measure the relevance of answers: ``python -m benchmarks.relevance demo|grocery|fashion|… --data FOLDER``.

Prints the rows of the tables in docs/relevance-measured.md for one data set as a shop, in a separate database in
``--cache``. The pictures of the data sets stay where they are; their vectors are stored in the cache.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.relevance import data, known_items, left_out, photo_entry, queries, served, shops, two_words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shop", choices=(*left_out.SHOPS, "mixed", shops.LONE, *shops.PARTS, "left-out"))
    parser.add_argument("--data", type=Path, required=True, help="the folder with grocery/ and fashion/")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/imagesim-relevance"))
    parser.add_argument("--floor", type=float, help="min_relevance; the setting's default if not given")
    parser.add_argument("--before", action="store_true", help="without texts and without a floor, for comparison")
    parser.add_argument("--sample", type=int, default=150, help="number of queries of each kind")
    parser.add_argument("--row", action="append", help="known, nothing, two_words, something …; all by default")
    parser.add_argument("--elasticsearch", metavar="URL", help="use an index on this server instead of the local one")
    options = parser.parse_args()
    if options.shop == "left-out":
        served.setup("left-out", options.cache)
        left_out.report(options.cache)
        return
    if options.elasticsearch:
        os.environ["ELASTICSEARCH_URL"] = options.elasticsearch
    name = f"{options.shop}-{'es' if os.environ.get('ELASTICSEARCH_URL') else 'local'}"
    os.environ.setdefault("ELASTICSEARCH_INDEX", f"relevance-{options.shop}")
    media = options.data if options.shop != "demo" else None
    served.setup(name, options.cache, media)
    from imagesim.conf import get_settings

    floor = 0.0 if options.before else get_settings().MIN_RELEVANCE if options.floor is None else options.floor
    Report(options, floor).run()


class Report:
    """The measurements of one shop."""

    def __init__(self, options: argparse.Namespace, floor: float) -> None:
        self.options, self.floor = options, floor
        self.rng = random.Random(0)
        self.shop, self.photos = shops.make(options.shop, options.data, options.cache)
        if (part := shops.PARTS.get(options.shop)) and not part.tree:
            served.without_tree(categories=part.categories)
        if options.shop == "demo":
            self.seed()
        else:
            served.fill(self.shop, options.data)

    def seed(self) -> None:
        from demo_shop.shop.models import Product
        from demo_shop.shop.seeding import seed

        if not Product.objects.exists():
            seed()
        served.index()

    def run(self) -> None:
        from demo_shop.shop.models import Product

        self.products = {product.pk: product for product in Product.objects.select_related("category__parent")}
        rows = [self.known, self.nothing, self.something, self.phrased]
        own = {
            "demo": [self.two_words, self.qualified, self.languages, self.coloured],
            "grocery": [self.two_words, self.qualified, self.photo_entry],
            "fashion": [self.two_words, self.qualified, self.hybrid, self.photo_entry],
        }
        rows += own.get(self.options.shop, [])
        if self.options.shop in queries.SYNONYMS:
            rows.append(self.synonyms)
        for row in (*rows, self.times):
            if row.__name__ in (self.options.row or [row.__name__]):
                self.rng = random.Random(0)  # a row that is requested alone asks the same
                row()
        if "constants" in (self.options.row or ()):
            self.constants()

    # Queries.

    def words(self, text: str, limit: int = 10, floor: float | None = None) -> Any:
        import imagesim

        return imagesim.search(text=text, limit=limit, **self._options(floor))

    def page(self, text: str, offset: int) -> Any:
        """Return a later page of a query by words: entries with texts may fill the first one."""
        import imagesim

        return imagesim.search(text=text, limit=100, offset=offset)

    def vector(self, vector: Any, limit: int = 10) -> Any:
        """Return the answer to a photo with a known vector."""
        from imagesim.retrieval import query_vector, search

        kept = query_vector._embed
        query_vector._embed = lambda _embedder, given: dict.fromkeys(given, vector)
        try:
            return search.search(image=PIXEL, limit=limit, **self._options(None))
        finally:
            query_vector._embed = kept

    def similar(self, product: Any, limit: int = 10) -> Any:
        import imagesim

        kind = {} if self.options.before else {"same_category": True, "fallback": True}
        return imagesim.similar_to(product, limit=limit, **kind, **self._options(None))

    def _options(self, floor: float | None) -> dict[str, Any]:
        return {"min_relevance": self.floor if floor is None else floor}

    # Rows of the report.

    def known(self) -> None:
        every = sorted({product.name for product in self.products.values() if product.parent_id is None})
        names = self.rng.sample(every, 400) if len(every) > 400 else every
        position = {name: number for number, name in enumerate(names)}

        def search(text: str) -> list[int]:
            return [position[hit.item.name] for hit in self.words(text) if hit.item.name in position]

        for kind, (share, misses) in known_items.measure(names, search).items():
            say(f"known items, {kind}", share, known_items.TO_REACH[kind], misses[:3])
        asked = known_items.queries(names)["two words"]
        say("known items, two words: attainable", known_items.attainable(every, asked), None)

    def nothing(self) -> None:
        blank = [self.blank(colour) for colour in ("white", "black", "grey", "beige")]
        shown: dict[str, list[bool]] = {"pictures": [], "blank": [], "words": [], "nonsense": []}
        notes: dict[str, list[str]] = {}
        unsold = {other: photos for other, photos in self.photos.items() if other != self.options.shop}
        sold = shops.heads(name for each in self.products.values() for name in (each.name, each.category.name))
        for other, photos in unsold.items():
            before, to_demo = len(shown["pictures"]), (self.options.shop, other) == ("demo", "fashion")
            for number in self.rng.sample(range(len(photos.keys)), min(self.options.sample, len(photos.keys))):
                if to_demo and photos.labels[number]["masterCategory"] in ("Apparel", "Footwear"):
                    continue  # the demo sells some
                if shops.heads([photos.categories[number]]) & sold:
                    continue  # the juices of a grocery are an answer in a shop of drinks
                shown["pictures"].append(bool(len(self.vector(photos.vectors[number]))))
            notes.setdefault("pictures", []).append(f"{other} {np.mean(shown['pictures'][before:]):.3f}")
        shown["blank"] = [bool(len(self.vector(vector))) for vector in blank]
        texts = [f"{product.name} {product.category.name}" for product in self.products.values()]
        for kind, foreign in shops.unsold_words(unsold, texts).items():
            shown[kind], notes[kind] = [], []
            for text in self.rng.sample(sorted(foreign), min(self.options.sample, len(foreign))):
                shown[kind].append(bool(hits := self.words(text)))
                notes[kind] += [f"{text}: {hit.item.name}" for hit in hits[:1]]
        shown["nonsense"] = [bool(len(self.words(text))) for text in queries.NONSENSE]
        for kind, values in shown.items():
            say(f"nothing there, {kind} ({len(values)})", float(np.mean(values)), 0.05, notes.get(kind, [])[:8])
        say("nothing there, all", float(np.mean([value for values in shown.values() for value in values])), 0.05)

    def two_words(self) -> None:
        """Ask for a kind and what it should be like ("yellow shoes"), without and with an error in each word."""
        for spelled in ("", ", misspelled"):
            self._two_words(two_words.misspelled(self.questions()) if spelled else self.questions(), spelled)

    def _two_words(self, questions: Sequence[two_words.Question], spelled: str) -> None:
        both = f"two words{spelled}, {{}} entry has both"
        self._of_kinds(questions, sold=both.format("some"), unsold=both.format("no"))

    def _of_kinds(self, questions: Sequence[two_words.Question], *, sold: str, unsold: str) -> None:
        """Report what is shown of a kind, under the name ``sold`` or ``unsold``."""
        for is_sold, (row, junk) in two_words.measure(
            questions, lambda text: self.words(text, limit=two_words.FIRST), lambda hit: hit.item.category.slug
        ).items():
            what = sold if is_sold else unsold
            say(f"{what}: junk among the first {two_words.FIRST}", row.junk, None, junk[:8])
            say(f"{what}: shows any, any of the kind; of the kind, mean", row.answered, None, row[2:])

    def qualified(self) -> None:
        """Ask for a kind with words for whom, where or what it is like ("mens shoes"), or for what ("gym shoes"), and
        for things that are not sold."""
        kinds: dict[str, frozenset[str]] = {}
        for question in self.questions():
            kind = question.text.split()[-1]
            kinds[kind] = kinds.get(kind, frozenset()) | question.categories
        for name, phrases in (("qualified", queries.QUALIFIED), ("for an occasion", queries.OCCASIONS)):
            questions = [
                two_words.Question(phrase.format(kind), categories, sold)
                for sold, each in ((True, kinds), (False, dict.fromkeys(queries.ELSEWHERE, frozenset[str]())))
                for kind, categories in each.items()
                for phrase in phrases
            ]
            self._of_kinds(questions, sold=f"{name}, a kind", unsold=f"{name}, nothing there")

    def questions(self) -> Sequence[two_words.Question]:
        written = {"demo": two_words.DEMO, "grocery": two_words.GROCERY}
        return written.get(self.options.shop) or two_words.fashion(self.shop.labels, random.Random(0))

    def constants(self) -> None:
        """Store the figures of every value of some constants, for ``left-out``."""

        def search(text: str) -> Any:
            return self.words(text, limit=two_words.FIRST)

        figures = {
            "KIND_MATCH": left_out.kind_match(self.questions(), search),
            "CLOSEST_RELEVANCE": left_out.closest_relevance(self.shop, self.floor),
        }
        left_out.store(self.options.cache, self.options.shop, figures)
        if self.options.shop in self.photos:
            evidence = left_out.evidence(self.scenes(self.options.sample // 3))
            left_out.store(self.options.cache, self.options.shop, {"EVIDENCE": evidence})

    def scenes(self, count: int) -> list[Any]:
        """Return photos of scenes, each with the categories (slugs) of what it shows."""
        if self.options.shop == "fashion":
            slugs = sorted({product.category.slug for product in self.products.values()})
            return photo_entry.worn(self.options.data / "outfits", slugs, count)
        photos = self.photos["grocery"]
        chosen = self.rng.sample(list(zip(photos.files, photos.categories, strict=True)), count)
        return [(file.read_bytes(), frozenset({name.replace(" ", "-")[:50]})) for file, name in chosen]

    def blank(self, colour: str) -> Any:
        from PIL import Image

        return data.cached(
            self.options.cache,
            f"blank-{colour}",
            lambda: np.asarray(data.embedder().embed_images([Image.new("RGB", (400, 400), colour)]), dtype=np.float32),
        )[0]

    def something(self) -> None:
        products = self.rng.sample(sorted(self.products), min(self.options.sample, len(self.products)))
        self.judge("similar", [(self.similar, self.products[pk], self.products[pk].category.slug) for pk in products])
        photos = self.photos.get(self.options.shop)
        if photos is not None:
            slug = {name: name.replace(" ", "-")[:50] for name in photos.categories}
            chosen = self.rng.sample(range(len(photos.keys)), min(self.options.sample, len(photos.keys)))
            self.judge("photo", [(self.vector, photos.vectors[n], slug[photos.categories[n]]) for n in chosen])
        names = {product.category.name: product.category.slug for product in self.products.values()}
        self.judge("words with texts", [(self.words, name.lower(), slug) for name, slug in sorted(names.items())])

    def phrased(self) -> None:
        """Put words for asking and buying around the names of categories, and of things that are not sold."""
        slugs = {product.category.name.lower(): product.category.slug for product in self.products.values()}

        def of_category(name: str, text: str) -> int:
            return sum(hit.item.category.slug == slugs[name] for hit in self.words(text))

        kept, unsold = [], []
        alone = {name: count for name in sorted(slugs) if (count := of_category(name, name))}
        for phrase in queries.PHRASES:
            kept += [min(1.0, of_category(name, phrase.format(name)) / count) for name, count in alone.items()]
            unsold += [bool(len(self.words(phrase.format(thing)))) for thing in queries.ELSEWHERE]
        say("phrased: of the hits of the category that its name alone shows", float(np.mean(kept)), 0.95)
        say("phrased, nothing there", float(np.mean(unsold)), 0.05)

    def synonyms(self) -> None:
        """Ask for what is sold by other words."""
        first, any_of_kind, right, shown = [], [], 0, 0
        for text, slugs in queries.SYNONYMS[self.options.shop].items():
            found = [hit.item.category.slug in slugs.split() for hit in self.words(text)]
            first.append(text if found[:1] == [False] else "")
            any_of_kind.append(any(found))
            right, shown = right + sum(found), shown + len(found)
        missed = [each for each, has in zip(queries.SYNONYMS[self.options.shop], any_of_kind, strict=True) if not has]
        say("synonyms: shows any of the kind", float(np.mean(any_of_kind)), None, missed)
        say("synonyms: precision of the hits shown", right / max(1, shown), None, list(filter(None, first)))

    def coloured(self) -> None:
        """Ask for a category in a colour that some of its products have, whatever their texts say."""
        from imagesim.images import colours

        there: dict[tuple[str, Any], set[int]] = {}
        for product in self.products.values():
            if product.colour in colours.COLOURS:
                there.setdefault((product.colour, product.category), set()).add(product.parent_id or product.pk)
        asked = self.rng.sample(sorted(there, key=str), min(self.options.sample, len(there)))
        shares = []
        for colour, category in asked:
            hits = self.words(f"{colour} {category.name}".lower(), limit=5)
            right = sum(hit.item.colour == colour and hit.item.category == category for hit in hits)
            shares.append(right / min(5, len(there[colour, category])))
        say("coloured: of the first five, those of the colour and the category", float(np.mean(shares)), None)

    def judge(self, kind: str, asked: Sequence[tuple[Any, Any, str]]) -> None:
        """Report the precision of the hits shown, that of the first ten without a floor, and the relevant hits kept."""
        shown = right = kept = relevant = plain = places = 0
        for ask, value, slug in asked:
            floor, self.floor = self.floor, 0.0
            every = [hit.item.pk for hit in ask(value)]
            self.floor = floor
            hits = [hit.item.pk for hit in ask(value)]
            good = {pk for pk in (*every, *hits) if self.products[pk].category.slug == slug}
            shown, right = shown + len(hits), right + len(good & set(hits))
            relevant, kept = relevant + len(good & set(every)), kept + len(good & set(every) & set(hits))
            plain, places = plain + len(good & set(every)), places + len(every)
        say(f"with an answer, {kind}: precision of the hits shown", right / max(1, shown), None)
        say(f"with an answer, {kind}: P@10 without a floor", plain / max(1, places), None)
        say(f"with an answer, {kind}: relevant kept", kept / max(1, relevant), 0.9)

    def languages(self) -> None:
        scores: dict[str, list[float]] = {"German": [], "English": []}
        for german, english, categories in queries.DESCRIPTIVE:
            fitting = [each for each in self.products.values() if each.category.slug in categories]
            most = sum(each.parent_id is None for each in fitting)
            for language, text in (("German", german), ("English", english)):
                hits = self.words(text, limit=5, floor=0.0)
                right = sum(hit.item.category.slug in categories for hit in hits)
                scores[language].append(right / min(5, most))
        for language, values in scores.items():
            say(f"descriptive, {language} P@5", statistics.mean(values), None)
        german, english = (statistics.mean(scores[language]) for language in ("German", "English"))
        say("descriptive, German of English", german / english, 0.8)

    def hybrid(self) -> None:
        """Report nDCG@10 of type and colour words within each half, while half of the products have no texts."""
        from imagesim.indexes import get_index

        labels = {label["id"]: label for label in self.shop.labels}
        counted = Counter((label["articleType"], label["baseColour"]) for label in self.shop.labels)
        asked = self.rng.sample(sorted(kind for kind, count in counted.items() if count >= 20), 40)
        hidden = {product.pk for product in self.products.values() if product.pk % 2}
        with_texts(hidden, False)
        try:
            index = get_index()
            rows: dict[tuple[str, bool], list[float]] = {}
            for kind, colour in asked:
                text = f"{colour} {kind}".lower()
                answers = {
                    "hybrid": [hit.item for offset in (0, 100, 200) for hit in self.page(text, offset)],
                    "vectors": [hit.item for hit in by_vectors(text)],
                    "texts": [self.products[int(each.key.partition(":")[2])] for each in by_texts(index, text)],
                }
                for name, items in answers.items():
                    for texts in (True, False):
                        own = [item for item in items if (item.pk not in hidden) == texts][:10]
                        gains = [
                            float((labels[item.slug]["articleType"], labels[item.slug]["baseColour"]) == (kind, colour))
                            for item in own
                        ]
                        rows.setdefault((name, texts), []).append(ndcg(gains))
            for (name, texts), values in sorted(rows.items()):
                half = "with" if texts else "without"
                say(f"hybrid, {name}, half {half} texts: nDCG@10", statistics.mean(values), None)
        finally:
            with_texts(hidden, True)

    def photo_entry(self) -> None:
        """Search scenes through the one camera."""
        import imagesim

        def search(**arguments: Any) -> Any:
            return imagesim.search(min_relevance=0.0, **arguments)

        count = self.options.sample // 3
        if self.options.shop == "fashion":
            slugs = sorted({product.category.slug for product in self.products.values()})
            entries, beside = photo_entry.outfits(self.options.data / "outfits", slugs, search, count), "true box"
        else:
            photos = self.photos["grocery"]
            every = list(zip(photos.files, photos.categories, strict=True))
            chosen = [(file, name.replace(" ", "-")[:50]) for file, name in self.rng.sample(every, count)]
            entries, beside = photo_entry.groceries(chosen, search), "whole photo"
        true = photo_entry.mean(entries, "true")
        labels = Counter(entry.chosen for entry in entries).most_common(6)
        say(
            f"photo entry ({len(entries)}), auto: P@5", photo_entry.mean(entries, "auto"), round(true - 0.03, 3), labels
        )
        say(f"photo entry, {beside}: P@5", true, None)
        say("photo entry, whole photo: P@5", photo_entry.mean(entries, "whole"), None)
        for chosen_label, _count in labels:
            group = [entry for entry in entries if entry.chosen == chosen_label]
            ways = [round(photo_entry.mean(group, way), 2) for way in ("auto", "true", "whole", "overlap")]
            say(
                f"photo entry, chose {chosen_label} ({len(group)}): auto, true box, whole, overlap", ways[0], None, ways
            )

    def times(self) -> None:
        texts = [product.name for product in list(self.products.values())[:40]]
        for text in texts:
            self.words(text)
            by_vectors(text)
        for asked, fresh in (("again", ""), ("for the first time", " {}")):
            ours, theirs = [], []
            for number, text in enumerate(texts * 3):
                started = time.perf_counter()
                self.words(text + fresh.format(2 * number), limit=12)
                middle = time.perf_counter()
                by_vectors(text + fresh.format(2 * number + 1), limit=12)
                ours.append(middle - started)
                theirs.append(time.perf_counter() - middle)
            mine, their = (statistics.median(each) * 1000 for each in (ours, theirs))
            say(f"time, words asked {asked} ({mine:.1f} ms) of vectors alone ({their:.1f} ms)", mine / their, 1.25)


def by_vectors(text: str, limit: int = 100) -> Any:
    """Return the answer of the vectors alone."""
    import imagesim

    return imagesim.search(like=[text], limit=limit)


def by_texts(index: Any, text: str) -> Any:
    from imagesim.types import Query

    (found,) = index.search([Query(np.zeros(1, np.float32), text=text, limit=100)])
    return found.candidates


def with_texts(pks: set[int], on: bool) -> None:
    """Remove the texts of some products from the index, and the names of all colours; or restore them."""
    from imagesim.items import Items
    from imagesim.items.registry import registry

    items = registry.for_label("shop.product")
    kind: Any = type(items)
    kind.measured_colours = "colour" if on else None
    if on:
        kind.get_texts = Items.get_texts
    else:
        kind.get_texts = lambda self, item: {} if item.pk in pks else Items.get_texts(self, item)
    served.index()


def ndcg(gains: list[float]) -> float:
    ideal = sum(1 / np.log2(place + 2) for place in range(10))
    return float(sum(gain / np.log2(place + 2) for place, gain in enumerate(gains)) / ideal)


def say(what: str, value: float, to_reach: float | None, note: object = "") -> None:
    print(f"{what:70} {value:.3f}{'' if to_reach is None else f'  (to reach: {to_reach})'} {note or ''}", flush=True)


def _pixel() -> bytes:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return file.getvalue()


PIXEL = _pixel()

if __name__ == "__main__":
    main()
