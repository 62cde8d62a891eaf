"""Tests that tests/test_oscar.py runs in a separate process, because Oscar needs its own settings."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import reverse
from oscar.core.loading import get_model
from PIL import Image
from sorl.thumbnail import get_thumbnail

import imagesim
from imagesim.indexes import get_index
from imagesim.indexing.sync import SyncReport, sync
from tests.oscar.counting import CountingEmbedder

Category = get_model("catalogue", "Category")
Partner = get_model("partner", "Partner")
Product = get_model("catalogue", "Product")
ProductCategory = get_model("catalogue", "ProductCategory")
ProductClass = get_model("catalogue", "ProductClass")
ProductImage = get_model("catalogue", "ProductImage")
StockRecord = get_model("partner", "StockRecord")


def picture(colour: str) -> bytes:
    data = io.BytesIO()
    image = Image.new("RGB", (60, 60), "white")
    image.paste(Image.new("RGB", (40, 40), colour), (10, 10))
    image.save(data, "PNG")
    return data.getvalue()


def upload(colour: str) -> SimpleUploadedFile:
    return SimpleUploadedFile(f"{colour}.png", picture(colour), "image/png")


@pytest.fixture(autouse=True)
def _clean_index(db, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    yield
    index = get_index()
    for backing_index in index.backing_indexes():
        index.drop(backing_index)


class Shop:
    def __init__(self) -> None:
        self.partner = Partner.objects.create(name="Depot")
        self.kind = ProductClass.objects.create(name="Goods", track_stock=True)
        self.shoes = Category.add_root(name="Shoes")
        self.boots = self.shoes.add_child(name="Boots")
        self.lamps = Category.add_root(name="Lamps")

    def add(self, title: str, colour: str, *categories, stock: int = 1, price: str = "10.00", **fields):
        if "parent" not in fields:
            fields["product_class"] = self.kind
        product = Product.objects.create(title=title, **fields)
        for category in categories:
            ProductCategory.objects.create(product=product, category=category)
        if colour:
            ProductImage.objects.create(product=product, original=upload(colour))
        StockRecord.objects.create(
            product=product, partner=self.partner, partner_sku=title, price=Decimal(price), num_in_stock=stock
        )
        return product


@pytest.fixture
def shop() -> Shop:
    return Shop()


def synced() -> SyncReport:
    """Sync and refresh: Elasticsearch refreshes once per second, which is too slow for tests."""
    report = sync()
    get_index().refresh()
    return report


def titles(hits) -> list[str]:
    return [hit.item.title for hit in hits]


def test_the_system_checks_pass():
    call_command("check", "--tag", "imagesim", "--fail-level", "WARNING")


def test_save_search_filter_and_delete(shop):
    red = shop.add("Red shoe", "red", shop.shoes, price="80.00")
    shop.add("Dark red boot", "darkred", shop.boots, price="120.00")
    shop.add("Blue lamp", "blue", shop.lamps, stock=0)

    report = synced()

    assert (report.indexed, report.failed) == (3, 0)
    assert titles(imagesim.similar_to(red)) == ["Dark red boot", "Blue lamp"]
    assert titles(imagesim.search(image=picture("red"))) == ["Red shoe", "Dark red boot", "Blue lamp"]
    assert titles(imagesim.search(image=picture("red"), category="lamps")) == ["Blue lamp"]
    assert titles(imagesim.search(image=picture("red"), category=["boots", "lamps"])) == ["Dark red boot", "Blue lamp"]
    assert titles(imagesim.search(image=picture("red"), in_stock=True)) == ["Red shoe", "Dark red boot"]
    assert titles(imagesim.search(image=picture("red"), filters={"price__lte": 100})) == ["Red shoe", "Blue lamp"]
    assert titles(imagesim.search(image=picture("red"), filters={"type": "goods"})) == [
        "Red shoe",
        "Dark red boot",
        "Blue lamp",
    ]

    red.delete()
    synced()

    assert titles(imagesim.search(image=picture("red"))) == ["Dark red boot", "Blue lamp"]
    assert get_index().count() == 2


def test_stock_changes_the_results_without_opening_pictures(shop):
    shoe = shop.add("Red shoe", "red", shop.shoes, stock=2)
    synced()
    embedded = CountingEmbedder.embedded

    record = shoe.stockrecords.get()
    record.allocate(2)  # as Oscar does at the checkout
    synced()
    assert titles(imagesim.search(image=picture("red"), in_stock=True)) == []
    assert titles(imagesim.search(image=picture("red"), in_stock=False)) == ["Red shoe"]

    record.cancel_allocation(1)
    report = synced()
    assert titles(imagesim.search(image=picture("red"), in_stock=True)) == ["Red shoe"]

    # The searches embedded three pictures of their own; the two syncs embedded none.
    assert CountingEmbedder.embedded - embedded == 3
    assert (report.opened, report.embedded) == (0, 0)


def test_adding_a_product_to_a_category_and_removing_it(shop):
    shoe = shop.add("Red shoe", "red", shop.shoes)
    synced()

    link = ProductCategory.objects.create(product=shoe, category=shop.lamps)
    synced()
    assert titles(imagesim.search(image=picture("red"), category="lamps")) == ["Red shoe"]

    link.delete()
    synced()
    assert titles(imagesim.search(image=picture("red"), category="lamps")) == []


def test_renaming_a_category(shop):
    shop.add("Red shoe", "red", shop.shoes)
    synced()

    shop.shoes.slug = "footwear"
    shop.shoes.save()
    synced()

    assert titles(imagesim.search(image=picture("red"), category="footwear")) == ["Red shoe"]
    assert titles(imagesim.search(image=picture("red"), category="shoes")) == []


def add_parent(shop, title, *children, category):
    """Add a parent as in the sandbox's catalogue: children have no title, and only they have stock records."""
    parent = Product.objects.create(title=title, product_class=shop.kind, structure=Product.PARENT)
    ProductCategory.objects.create(product=parent, category=category)
    for number, (colour, stock) in enumerate(children):
        sku = f"{title}-{number}"
        child = shop.add("", colour, parent=parent, structure=Product.CHILD, stock=0)
        child.stockrecords.update(partner_sku=sku, num_in_stock=stock, price=Decimal(10 * (number + 1)))
    return parent


def test_a_parent_represents_its_children(shop, client):
    shirt = add_parent(shop, "Shirt", ("red", 0), ("blue", 3), ("", 1), category=shop.shoes)
    other = add_parent(shop, "Jumper", ("darkred", 2), category=shop.shoes)
    assert synced().indexed == 2

    (first, second) = imagesim.search(image=picture("blue"))
    assert (first.item, second.item) == (shirt, other)
    assert first.image.name == shirt.children.get(images__original__contains="blue").images.get().original.name
    assert titles(imagesim.similar_to(shirt)) == ["Jumper"]
    assert titles(imagesim.search(image=picture("red"), filters={"price": 20})) == ["Shirt"]

    page = client.get(shirt.get_absolute_url())
    assert page.status_code == 200, "a page that is not sent elsewhere"
    assert other.get_absolute_url() in page.content.decode().partition("imagesim-similar")[2]
    for hit in imagesim.search(image=picture("red")):
        assert client.get(hit.item.get_absolute_url()).status_code == 200


def test_changes_of_children_update_their_parent(shop):
    shirt = add_parent(shop, "Shirt", ("red", 0), category=shop.shoes)
    synced()
    assert titles(imagesim.search(image=picture("red"), in_stock=True)) == []
    child = shirt.children.get()

    record = child.stockrecords.get()
    record.num_in_stock = 5
    record.save()
    assert synced().opened == 0
    assert titles(imagesim.search(image=picture("red"), in_stock=True)) == ["Shirt"]

    ProductImage.objects.create(product=child, original=upload("blue"), display_order=1)
    synced()
    (hit,) = imagesim.search(image=picture("blue"))
    assert (hit.item, round(hit.score, 3)) == (shirt, 1.0)

    child.is_public = False
    child.save()
    synced()
    assert titles(imagesim.search(image=picture("blue"))) == []


def test_hiding_a_product_and_showing_it_again(shop):
    shoe = shop.add("Red shoe", "red", shop.shoes)
    synced()

    shoe.is_public = False
    shoe.save()
    synced()
    assert titles(imagesim.search(image=picture("red"))) == []

    shoe.is_public = True
    shoe.save()
    synced()
    assert titles(imagesim.search(image=picture("red"))) == ["Red shoe"]


def _errors(context) -> dict[str, object]:
    names = {name for part in context or () for name in part.flatten() if name.endswith(("form", "formset"))}
    return {name: (context[name].errors, getattr(context[name], "non_form_errors", str)()) for name in names}


def test_changes_in_the_oscar_dashboard(shop, client):
    get_user_model().objects.create_superuser("boss", "boss@example.com", "secret")
    assert client.login(username="boss@example.com", password="secret")
    address = reverse("dashboard:catalogue-product-create", kwargs={"product_class_slug": shop.kind.slug})
    form = {
        "title": "Green lamp",
        "slug": "green-lamp",
        "is_public": "on",
        "action": "save",
        "priority": "0",
        "order": "0",
        "is_discountable": "on",
        "structure": "standalone",
        "upc": "",
        "parent": "",
        "productcategory_set-TOTAL_FORMS": "1",
        "productcategory_set-INITIAL_FORMS": "0",
        "productcategory_set-0-category": str(shop.lamps.pk),
        "images-TOTAL_FORMS": "1",
        "images-INITIAL_FORMS": "0",
        "images-0-original": upload("green"),
        "images-0-display_order": "0",
        "images-0-caption": "",
        "primary_recommendations-TOTAL_FORMS": "0",
        "primary_recommendations-INITIAL_FORMS": "0",
        "stockrecords-TOTAL_FORMS": "1",
        "stockrecords-INITIAL_FORMS": "0",
        "stockrecords-0-partner": str(shop.partner.pk),
        "stockrecords-0-partner_sku": "green-1",
        "stockrecords-0-price": "30.00",
        "stockrecords-0-num_in_stock": "4",
        "stockrecords-0-price_currency": "GBP",
    }

    answer = client.post(address, form)

    assert answer.status_code == 302, str(_errors(answer.context))
    synced()
    (hit,) = imagesim.search(image=picture("green"), category="lamps", in_stock=True, filters={"price": 30})
    assert hit.item.title == "Green lamp"
    assert hit.score == pytest.approx(1, abs=1e-3)

    client.post(reverse("dashboard:catalogue-product-delete", kwargs={"pk": hit.item.pk}))
    synced()

    assert titles(imagesim.search(image=picture("green"))) == []


def test_the_product_page_shows_similar_products(shop, client):
    red = shop.add("Red shoe", "red", shop.shoes)
    other = shop.add("Dark red boot", "darkred", shop.boots)
    shop.add("Sold boot", "darkred", shop.boots, stock=0)
    synced()

    page = client.get(red.get_absolute_url())

    assert page.status_code == 200
    content = page.content.decode()
    similar = content[content.index("imagesim-similar") :]
    assert other.get_absolute_url() in similar
    assert "Dark red boot" in similar
    # oscar has sorl-thumbnail reduce its pictures, and so do the cards.
    assert get_thumbnail(other.images.get().original, "320", upscale=False).url in similar
    assert "Sold boot" not in similar
