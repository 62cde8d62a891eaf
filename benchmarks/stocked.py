"""A shop whose products are already embedded, for benchmarks of the sync that must not open pictures."""

from __future__ import annotations

from pathlib import Path

DIMS = 256
"""The vectors of the built-in model."""
EMBEDDER = {"BACKEND": "tests.embedders.PixelEmbedder", "OPTIONS": {"dims": DIMS}}


def fill(items: int) -> None:
    """Create products with one picture each, a vector for every picture, and a waiting change for every product."""
    import numpy as np
    from django.core.management import call_command

    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.embedders import get_embedder
    from imagesim.models import Embedding, ItemImage, ItemState, Scope

    call_command("migrate", verbosity=0, interactive=False)
    shelf, _ = Category.objects.get_or_create(slug="all", defaults={"name": "All"})
    fingerprint = get_embedder().fingerprint
    dice = np.random.default_rng(1)
    for start in range(0, items, 1000):
        numbers = range(start, min(start + 1000, items))
        products = Product.objects.bulk_create(
            Product(name=f"p{n}", slug=f"p{n}", category=shelf, price=n % 90 + 1, stock=1) for n in numbers
        )
        Photo.objects.bulk_create(
            Photo(product=product, file=f"p/{n}.png") for n, product in zip(numbers, products, strict=True)
        )
        states = ItemState.objects.bulk_create(
            ItemState(model="shop.product", object_pk=str(product.pk), scope=Scope.METADATA) for product in products
        )
        ItemImage.objects.bulk_create(
            ItemImage(state=state, position=0, name=f"p/{n}.png", digest=f"{n:064x}")
            for n, state in zip(numbers, states, strict=True)
        )
        rows = dice.standard_normal((len(numbers), DIMS)).astype("<f4")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        Embedding.objects.bulk_create(
            Embedding(digest=f"{n:064x}", fingerprint=fingerprint, vector=row.tobytes())
            for n, row in zip(numbers, rows, strict=True)
        )


def first_index() -> None:
    """Activate an empty index, without queueing every item again, as the first sync would."""
    from imagesim.indexes import get_index
    from imagesim.indexing.write_targets import new_meta

    drop_indexes()
    index = get_index()
    index.promote(index.create(new_meta()))


def drop_indexes() -> None:
    from imagesim.indexes import get_index

    index = get_index()
    for name in index.backing_indexes():
        index.drop(name)


def processor_seconds(pid: int) -> float:
    """Return the processor seconds of a process and all its children, terminated ones included. Linux only."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        each = int(folder.name)
        parents[each] = int(fields[1])
        seconds[each] = sum(map(int, fields[11:15])) / 100  # its own and its children's, in hundredths of a second
    total, todo = 0.0, [pid]
    while todo:
        each = todo.pop()
        total += seconds.get(each, 0.0)
        todo += [child for child, parent in parents.items() if parent == each]
    return total
