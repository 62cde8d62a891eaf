"""One of several writers: a seeded random stream of changes to products.

It writes the number of operations of each kind to a file. To another file, it writes the products that it changed
without any signal, which only the comparison can find.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django


class Writer:
    def __init__(self, number: int, seed: int, silent: Path) -> None:
        self.dice = random.Random(f"{seed}:{number}")
        self.number = number
        self.done: Counter[str] = Counter()
        self.silent = silent.open("a")
        self.serial = 0
        self.operations: list[tuple[int, Callable[[], Any]]] = [
            (40, self.flip_stock),
            (14, self.edit),
            (8, self.create),
            (6, self.delete),
            (6, self.swap_picture),
            (4, self.add_picture),
            (2, self.delete_picture),
            (2, self.move_picture),
            (1, self.break_picture),
            (1, self.lose_picture),
            (3, self.mend_picture),
            (4, self.switch_active),
            (4, self.roll_back),
            (3, self.transact),
            (2, self.bulk_update),
            (2, self.bulk_create),
            (1, self.rename_category),
            (1, self.update_silently),
            (1, self.delete_silently),
        ]

    # Helpers.

    def some(self) -> Any:
        """Return a random product; None if another writer deleted it."""
        from demo_shop.shop.models import Product

        low, high = Product.objects.order_by("pk").values_list("pk", flat=True).first() or 0, self._highest()
        if self.dice.random() < 0.3:
            high = low + 20  # some products are changed more often than others
        return Product.objects.filter(pk__gte=self.dice.randint(low, max(low, high))).order_by("pk").first()

    def _highest(self) -> int:
        from demo_shop.shop.models import Product

        return Product.objects.order_by("-pk").values_list("pk", flat=True).first() or 0

    def some_photo(self) -> Any:
        product = self.some()
        return self.dice.choice(list(product.photos.all()) or [None]) if product else None

    def file(self) -> Any:
        from django.core.files.base import ContentFile

        from tests.chaos.pictures import draw

        self.serial += 1
        return ContentFile(draw(self.dice.randrange(10**9)), f"w{self.number}-{self.serial}.png")

    def category(self) -> Any:
        from demo_shop.shop.models import Category

        return self.dice.choice(list(Category.objects.all()))

    def fields(self) -> dict[str, Any]:
        return {
            "price": self.dice.randrange(1, 500),
            "stock": self.dice.randrange(3),
            "brand": self.dice.choice(["acme", "umbra", "norr"]),
            "colour": self.dice.choice(["red", "green", "blue", ""]),
        }

    def slug(self) -> str:
        self.serial += 1
        return f"w{self.number}-{self.serial}-{self.dice.randrange(10**9)}"

    def say_silent(self, pks: list[int]) -> None:
        self.silent.write(json.dumps(pks) + "\n")
        self.silent.flush()

    # Operations.

    def flip_stock(self) -> None:
        if product := self.some():
            product.stock = 0 if product.stock else 3
            product.save(update_fields=["stock"])

    def edit(self) -> None:
        if product := self.some():
            for name, value in self.fields().items():
                setattr(product, name, value)
            product.category = self.category()
            product.save()

    def create(self) -> None:
        from django.db import transaction

        from demo_shop.shop.models import Photo, Product

        with transaction.atomic():
            made = Product.objects.create(name="new", slug=self.slug(), category=self.category(), **self.fields())
            for position in range(self.dice.choice([0, 1, 1, 2])):
                Photo.objects.create(product=made, position=position, file=self.file())

    def delete(self) -> None:
        from django.db import transaction

        from demo_shop.shop.models import Photo, Product

        if (product := self.some()) and Product.objects.count() > 100:
            with transaction.atomic():
                list(Photo.objects.select_for_update().filter(product=product))
                product.delete()

    def swap_picture(self) -> None:
        if photo := self.some_photo():
            photo.file = self.file()
            photo.save(update_fields=["file"])

    def add_picture(self) -> None:
        from demo_shop.shop.models import Photo

        if (product := self.some()) and product.photos.count() < 3:
            Photo.objects.create(product=product, position=9, file=self.file())

    def delete_picture(self) -> None:
        from django.db import transaction

        from demo_shop.shop.models import Photo

        if photo := self.some_photo():
            with transaction.atomic():
                if held := Photo.objects.select_for_update().filter(pk=photo.pk).first():
                    held.delete()

    def move_picture(self) -> None:
        """Move a picture under a lock, because the former owner is ambiguous in concurrent moves."""
        from django.db import transaction

        from demo_shop.shop.models import Photo

        photo, product = self.some_photo(), self.some()
        with transaction.atomic():
            if photo and product and (held := Photo.objects.select_for_update().filter(pk=photo.pk).first()):
                held.product = product
                held.save(update_fields=["product"])

    def break_picture(self) -> None:
        """Overwrite a file with data that is not a picture, and save it."""
        self.overwrite(lambda path: path.write_bytes(b"\x89PNG broken " + self.dice.randbytes(20)))

    def lose_picture(self) -> None:
        self.overwrite(lambda path: path.unlink(missing_ok=True))

    def mend_picture(self) -> None:
        from tests.chaos.pictures import draw

        self.overwrite(lambda path: path.write_bytes(draw(self.dice.randrange(10**9))))

    def overwrite(self, change: Callable[[Path], Any]) -> None:
        from demo_shop.shop.models import Photo

        if photo := self.some_photo():
            change(Path(photo.file.path))
            try:
                photo.save(update_fields=["file"])
            except Exception:  # the file has changed although no save signals it
                now = Photo.objects.filter(file=photo.file.name).values_list("product_id", flat=True)
                self.say_silent([photo.product_id, *now])
                raise

    def switch_active(self) -> None:
        if product := self.some():
            product.active = self.dice.random() < 0.8
            product.save(update_fields=["active"])

    def roll_back(self) -> None:
        from django.db import transaction

        if product := self.some():
            with transaction.atomic():
                product.price = 99_999
                product.save()
                product.photos.all().delete()
                transaction.set_rollback(True)

    def transact(self) -> None:
        """Change several products in one slow transaction, with a savepoint rolled back in between."""
        from django.db import transaction

        with transaction.atomic():
            products = sorted({p.pk: p for p in (self.some(), self.some(), self.some()) if p}.items())
            for _, product in products:
                product.price = self.dice.randrange(1, 500)
                product.save(update_fields=["price"])
            with transaction.atomic():
                for _, product in products:
                    product.stock = 77
                    product.save(update_fields=["stock"])
                transaction.set_rollback(True)
            time.sleep(self.dice.random() * 0.1)

    def bulk_update(self) -> None:
        """Update many at once without signals, and mark them with ``touch()``, in one transaction."""
        from django.db import transaction

        import imagesim
        from demo_shop.shop.models import Product
        from imagesim.models import Scope

        if product := self.some():
            with transaction.atomic():
                pks = sorted(
                    Product.objects.select_for_update()
                    .filter(pk__gte=product.pk)
                    .order_by("pk")[:30]
                    .values_list("pk", flat=True)
                )
                chosen = Product.objects.filter(pk__in=pks)
                chosen.update(price=self.dice.randrange(1, 500), stock=self.dice.randrange(3))
                imagesim.touch(chosen, scope=Scope.METADATA)

    def bulk_create(self) -> None:
        from django.db import transaction

        import imagesim
        from demo_shop.shop.models import Photo, Product

        with transaction.atomic():
            shelf = self.category()
            made = Product.objects.bulk_create(
                Product(name="bulk", slug=self.slug(), category=shelf, **self.fields()) for _ in range(5)
            )
            files = [Photo(product=product, file=self.file()) for product in made]
            for photo in files:
                photo.file.save(photo.file.name, photo.file.file, save=False)
            Photo.objects.bulk_create(files)
            imagesim.touch(made)

    def rename_category(self) -> None:
        category = self.category()
        category.slug = f"c-{self.slug()}"[:50]
        category.save(update_fields=["slug"])

    def update_silently(self) -> None:
        from demo_shop.shop.models import Product

        if product := self.some():
            self.say_silent([product.pk])
            Product.objects.filter(pk=product.pk).update(price=self.dice.randrange(1, 500), stock=0)

    def delete_silently(self) -> None:
        from django.db import transaction

        from demo_shop.shop.models import Photo, Product

        if (product := self.some()) and Product.objects.count() > 100:
            self.say_silent([product.pk])
            with transaction.atomic():
                Photo.objects.filter(product=product)._raw_delete("default")
                Product.objects.filter(pk=product.pk)._raw_delete("default")

    # The stream.

    def run(self, seconds: float, pause: float) -> None:
        from django.db import DatabaseError

        weights = [weight for weight, _ in self.operations]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            [(_, operation)] = self.dice.choices(self.operations, weights)
            try:
                operation()
                self.done[operation.__name__] += 1
            except (DatabaseError, FileNotFoundError, ValueError) as error:
                # Two writers met: a row was gone, or a deadlock was broken. A shop would show an error page.
                self.done[f"failed: {type(error).__name__}"] += 1
            if pause:
                time.sleep(self.dice.random() * 2 * pause)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--silent", type=Path, required=True)
    parser.add_argument("--counts", type=Path, required=True)
    given = parser.parse_args()
    django.setup()
    writer = Writer(given.number, given.seed, given.silent)
    try:
        writer.run(given.seconds, given.pause)
    finally:
        given.counts.write_text(json.dumps(writer.done))


if __name__ == "__main__":
    main()
