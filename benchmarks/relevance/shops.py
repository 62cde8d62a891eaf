"""The shops of the benchmark and the pictures searched in them: the data sets, narrow shops that sell a part of one, a
very small one, and shops whose products have nothing but a name."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.relevance import data, queries
from benchmarks.relevance.data import Shop

Keep = Callable[[dict[str, str]], bool]
"""Whether a shop sells the thing with these labels."""


def _sells(column: str, *values: str) -> Keep:
    return lambda labels: labels[column] in values


def _all(labels: dict[str, str]) -> bool:
    return True


class Part(NamedTuple):
    """The part of a data set that a shop sells. ``tree``: whether its categories have parents; ``categories``: whether
    its products have categories; ``level``: the labels that are its categories, if not those of the data set."""

    whole: str
    keep: Keep = _all
    tree: bool = True
    categories: bool = True
    level: str = ""


PARTS: Mapping[str, Part] = {
    "footwear": Part("fashion", _sells("masterCategory", "Footwear")),
    "accessories": Part("fashion", _sells("masterCategory", "Accessories")),
    "care": Part("fashion", _sells("masterCategory", "Personal Care")),
    "boutique": Part("fashion", lambda labels: int(labels["id"]) % 160 == 1),
    "produce": Part("grocery", _sells("department", "Fruit", "Vegetables")),
    "packages": Part("grocery", _sells("department", "Packages")),
    "flat-grocery": Part("grocery", tree=False),
    "flat-fashion": Part("fashion", tree=False),
    "coarse-grocery": Part("grocery", level="department"),
    "coarse-fashion": Part("fashion", level="masterCategory"),
    "named-grocery": Part("grocery", tree=False, categories=False),
    "named-fashion": Part("fashion", tree=False, categories=False),
}
"""The boutique has about fifty of all products. Some shops have other categories than the data set, or products with a
name and no category."""

LONE = "lone"
"""The groceries' own pictures, most of them alone in their category, among 600 clothes; photos of groceries are
searched in it."""

REST = "rest"
"""The held-out pictures of that part of a data set which the shop does not sell."""


def make(name: str, folder: Path, cache: Path) -> tuple[Shop, dict[str, Shop]]:
    """Return the shop ``name``, and held-out pictures by what they show: under ``name`` those of what it sells, under
    the other keys those of what it does not sell."""
    grocery, grocery_photos = data.grocery(folder, cache)
    fashion, fashion_photos = data.fashion(folder, cache)
    demo = data.demo(cache)
    photos = {"grocery": grocery_photos, "fashion": fashion_photos}
    home = data.of_departments(demo, ("home", "electronics"))
    if name == "mixed":  # what it does not sell are things for the home
        return data.mixed(grocery, fashion), {name: data.mixed(grocery_photos, fashion_photos), "home": home}
    if name == LONE:
        products, _photos = data.grocery(folder, cache, products_only=True)
        clothes = data.part_of(fashion, random.Random(2).sample(range(len(fashion.keys)), 600))
        return data.mixed(products, clothes), {name: grocery_photos, "home": home}
    shops = {"demo": demo, "grocery": grocery, "fashion": fashion}
    if name in shops:
        return shops[name], photos
    part = PARTS[name]
    whole, held = (data.by_label(each, part.level) for each in (shops[part.whole], photos.pop(part.whole)))
    shop = data.part_of(whole, [n for n, labels in enumerate(whole.labels) if part.keep(labels)])
    sold = set(shop.categories)
    near = sold | {shop.parents[each] for each in sold}  # sandals are close to an answer where only flip-flops are sold
    own = [n for n, category in enumerate(held.categories) if category in sold]
    rest = [n for n, category in enumerate(held.categories) if not {category, held.parents[category]} & near]
    photos |= {name: data.part_of(held, own), "home": home}
    return shop, {**photos, REST: data.part_of(held, rest)} if rest else photos


def unsold_words(photos: Mapping[str, Shop], texts: Iterable[str]) -> dict[str, set[str]]:
    """Return names of what a shop with these texts does not sell: those that share no word with them, and those from
    the rest of its data set, which may share the words for a colour or a brand."""
    own = _stems(" ".join(texts))
    names = {*queries.ELSEWHERE, *(name for shop in photos.values() for name in shop.names)}
    found = {"words": {text for text in map(_typed, names) if not _stems(text) & own}}
    if rest := photos.get(REST):
        pairs = zip(rest.names, rest.categories, strict=True)
        found["words, rest"] = {
            _typed(each) for name, kind in pairs if not _stems(_typed(kind)) & own for each in (name, kind)
        }
    return found


def heads(names: Iterable[str]) -> set[str]:
    """Return what things with these names are: the last word of each, such as "juice" for "Banana Juice, large"."""
    return {_typed(name.partition(",")[0]).split()[-1].rstrip("s") for name in names if name.strip()}


def _typed(name: str) -> str:
    return name.replace("-", " ").lower()


def _stems(text: str) -> set[str]:
    return {word.rstrip("s") for word in text.lower().split()}
