"""``python -m tests.hostile.stock``: a small shop to attack, indexed with the real model."""

from __future__ import annotations

import random
from io import BytesIO

import django
from PIL import Image, ImageDraw

PRODUCTS = 24


def draw(seed: int) -> bytes:
    """Return a picture that differs from that of any other seed."""
    dice = random.Random(seed)
    image = Image.new("RGB", (224, 224), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(8):
        x, y = dice.randrange(180), dice.randrange(180)
        colour = tuple(dice.randrange(256) for _ in range(3))
        pen.ellipse((x, y, x + dice.randrange(20, 90), y + dice.randrange(20, 90)), colour)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage
    from django.core.management import call_command

    from demo_shop.shop import catalogue
    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.indexing.sync import sync

    call_command("migrate", verbosity=0, interactive=False)
    get_user_model().objects.create_superuser("admin", "", "not-guessed")
    shelves = [Category.objects.create(name=f"Shelf {n}", slug=f"shelf-{n}") for n in range(4)]
    for n in range(PRODUCTS):
        product = Product.objects.create(
            name=f"Product {n}", slug=f"product-{n}", category=shelves[n % 4], price=n + 1, stock=1, brand="acme"
        )
        Photo.objects.create(product=product, file=ContentFile(draw(n), f"{n}.png"))
    for sample in catalogue.load().samples:
        default_storage.save(sample.path, ContentFile(draw(1)))
    report = sync()
    assert not report.interrupted, report


if __name__ == "__main__":
    main()
