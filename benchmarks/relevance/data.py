"""The data sets of the relevance benchmarks; their embeddings are cached outside the repository."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from imagesim.types import Vector

BATCH = 32


@dataclass
class Shop:
    """A catalogue: each item's key, name, texts, and category with its parent, and the vectors of its images.

    ``vectors`` has shape (n, dims); row ``i`` is an image of item ``owner[i]``.
    """

    name: str
    keys: list[str]
    names: list[str]
    texts: list[dict[str, str]]
    categories: list[str]
    parents: dict[str, str]
    vectors: Vector
    owner: np.ndarray[Any, Any]
    groups: list[str] = field(default_factory=list)
    labels: list[dict[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def embedder() -> Any:
    """Return the built-in model with one thread, because the benchmarks share their machine."""
    import torch

    torch.set_num_threads(1)
    from imagesim.embedders.openclip import OpenClipEmbedder

    return OpenClipEmbedder(model="imagesim-lite", precision="auto")


def cached(cache: Path, name: str, make: Callable[[], Vector]) -> Vector:
    """Return the array stored under ``name``; the first call computes it."""
    file = cache / f"{name}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".part.npy")
        np.save(partial, make())
        partial.rename(file)
    loaded: Vector = np.load(file)
    return loaded


def embed_files(files: Sequence[Path]) -> Vector:
    """Return the vectors of pictures, in their order."""
    from imagesim import images

    model = embedder()
    parts = []
    for start in range(0, len(files), BATCH):
        pictures = [images.decode(file.read_bytes()) for file in files[start : start + BATCH]]
        parts.append(np.asarray(model.embed_images(pictures), dtype=np.float32))
    return np.concatenate(parts)


def embed_texts(texts: Sequence[str]) -> Vector:
    """Return the vectors of texts, in their order."""
    model = embedder()
    parts = [
        np.asarray(model.embed_texts(list(texts[start : start + 64])), dtype=np.float32)
        for start in range(0, len(texts), 64)
    ]
    return np.concatenate(parts)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def demo(cache: Path) -> Shop:
    """Return the demo shop's catalogue, with variants as items of one group."""
    from demo_shop.shop import catalogue, packages

    shop = catalogue.load()
    names = {child.slug: child.name for department in shop.departments for child in department.children}
    parents = {child.slug: department.slug for department in shop.departments for child in department.children}
    each = [(product, one) for product in shop.products for one in (product, *product.variants)]
    owner = [number for number, (_product, one) in enumerate(each) for _photo in one.photos]

    def embed() -> Vector:
        from io import BytesIO

        from imagesim import images

        pictures = {source: packages.read_pictures(package) for source, package in packages.PACKAGES.items()}
        model = embedder()
        vectors = []
        for _product, one in each:
            decoded = [images.decode(BytesIO(pictures[one.source][photo.file]).getvalue()) for photo in one.photos]
            vectors.append(np.asarray(model.embed_images(decoded), dtype=np.float32))
        return np.concatenate(vectors)

    return Shop(
        name="demo",
        keys=[one.slug for _product, one in each],
        names=[one.name for _product, one in each],
        texts=[
            {"name": one.name, "brand": one.brand, "category": names[one.category], "description": one.description,
             "colour": one.colour}
            for _product, one in each
        ],
        categories=[one.category for _product, one in each],
        parents=parents,
        vectors=cached(cache, "demo", embed),
        owner=np.array(owner),
        groups=[product.slug for product, _one in each],
    )  # fmt: skip


def grocery(folder: Path, cache: Path, *, products_only: bool = False, per_product: int = 12) -> tuple[Shop, Shop]:
    """Return (catalogue, held-out photos) of the grocery data set.

    The catalogue has the products' own pictures, and unless ``products_only`` also ``per_product`` training photos.
    """
    lines = rows(folder / "grocery" / "labels.csv")
    files = [folder / "grocery" / "images" / f"{line['id']}.jpg" for line in lines]
    vectors = cached(cache, "grocery", lambda: embed_files(files))
    texts = {line["product"]: line["description"] for line in lines if line["kind"] == "product"}
    taken: dict[str, int] = {}
    chosen, asked = [], []
    for number, line in enumerate(lines):
        if line["kind"] == "product":
            chosen.append(number)
        elif line["split"] == "train" and not products_only and taken.get(line["product"], 0) < per_product:
            taken[line["product"]] = taken.get(line["product"], 0) + 1
            chosen.append(number)
        elif line["split"] in ("val", "test"):
            asked.append(number)

    def item(line: dict[str, str]) -> dict[str, str]:
        return {"name": line["product"].replace("-", " "), "category": line["coarse"].replace("-", " "),
                "description": texts.get(line["product"], "")}  # fmt: skip

    def shop(name: str, numbers: list[int]) -> Shop:
        return _shop(name, lines, numbers, vectors, files, item, levels=("coarse", "department"))

    return shop("grocery", chosen), shop("grocery photos", asked)


def fashion(folder: Path, cache: Path) -> tuple[Shop, Shop]:
    """Return (catalogue, held-out pictures) of the fashion data set: those with an id divisible by 5 are the
    queries."""
    lines = rows(folder / "fashion" / "labels.csv")
    files = [folder / "fashion" / "images" / f"{line['id']}.jpg" for line in lines]
    vectors = cached(cache, "fashion", lambda: embed_files(files))

    def item(line: dict[str, str]) -> dict[str, str]:
        return {
            "name": f"{line['gender']} {line['baseColour']} {line['articleType']}",
            "category": line["subCategory"],
        }

    def shop(name: str, numbers: list[int]) -> Shop:
        return _shop(name, lines, numbers, vectors, files, item, levels=("articleType", "subCategory"))

    held = [number for number, line in enumerate(lines) if int(line["id"]) % 5 == 0]
    rest = [number for number, line in enumerate(lines) if int(line["id"]) % 5]
    return shop("fashion", rest), shop("fashion photos", held)


def mixed(*shops: Shop) -> Shop:
    """Return a department store that sells what all ``shops`` sell."""
    sizes = [len(shop.keys) for shop in shops]
    starts = np.cumsum([0, *sizes[:-1]])

    def joined(name: str) -> list[Any]:
        return [value for shop in shops for value in getattr(shop, name)]

    return Shop(
        name="mixed",
        keys=[f"{shop.name}-{key}".replace(" ", "-") for shop in shops for key in shop.keys],
        names=joined("names"),
        texts=joined("texts"),
        categories=joined("categories"),
        parents={category: parent for shop in shops for category, parent in shop.parents.items()},
        vectors=np.concatenate([shop.vectors for shop in shops]),
        owner=np.concatenate([shop.owner + start for shop, start in zip(shops, starts, strict=True)]),
        groups=joined("groups"),
        files=joined("files"),
    )


def of_departments(shop: Shop, departments: Sequence[str]) -> Shop:
    """Return the items of some departments, with an item for each picture."""
    chosen = [number for number, each in enumerate(shop.categories) if shop.parents[each] in departments]
    rows_of = [row for row, owner in enumerate(shop.owner.tolist()) if owner in set(chosen)]
    return Shop(
        name=shop.name,
        keys=[f"{shop.keys[shop.owner[row]]}-{row}" for row in rows_of],
        names=[shop.names[shop.owner[row]] for row in rows_of],
        texts=[shop.texts[shop.owner[row]] for row in rows_of],
        categories=[shop.categories[shop.owner[row]] for row in rows_of],
        parents=shop.parents,
        vectors=shop.vectors[rows_of],
        owner=np.arange(len(rows_of)),
    )


def part_of(shop: Shop, numbers: Sequence[int]) -> Shop:
    """Return the items with these numbers, from a shop with one picture per item."""
    return replace(
        shop,
        keys=[shop.keys[number] for number in numbers],
        names=[shop.names[number] for number in numbers],
        texts=[shop.texts[number] for number in numbers],
        categories=(categories := [shop.categories[number] for number in numbers]),
        parents={category: shop.parents[category] for category in categories},
        vectors=shop.vectors[numbers],
        owner=np.arange(len(numbers)),
        groups=[shop.groups[number] for number in numbers],
        labels=[shop.labels[number] for number in numbers],
        files=[shop.files[number] for number in numbers],
    )


def by_label(shop: Shop, level: str) -> Shop:
    """Return the shop with the labels of this name as its categories, or unchanged if the name is empty."""
    if not level:
        return shop
    categories = [labels[level] for labels in shop.labels]
    texts = [each | {"category": category} for each, category in zip(shop.texts, categories, strict=True)]
    return replace(shop, categories=categories, texts=texts, parents=dict.fromkeys(categories, shop.name.split()[0]))


def _shop(
    name: str,
    lines: list[dict[str, str]],
    numbers: list[int],
    vectors: Vector,
    files: list[Path],
    texts_of: Callable[[dict[str, str]], dict[str, str]],
    levels: tuple[str, str],
) -> Shop:
    """Return the lines with these numbers as items with one picture each; ``levels`` are the columns of category and
    parent."""
    category, parent = levels
    chosen = [lines[number] for number in numbers]
    texts = [texts_of(line) for line in chosen]
    return Shop(
        name=name,
        keys=[line["id"] for line in chosen],
        names=[each["name"] for each in texts],
        texts=texts,
        categories=[line[category] for line in chosen],
        parents={line[category]: line[parent] for line in lines},
        vectors=vectors[numbers],
        owner=np.arange(len(numbers)),
        groups=[line["id"] for line in chosen],
        labels=chosen,
        files=[files[number] for number in numbers],
    )
