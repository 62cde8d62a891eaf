from __future__ import annotations

import io
import re
import sys
from threading import Lock
from typing import ClassVar
from unittest.mock import Mock

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.urls import get_script_prefix, set_script_prefix
from PIL import Image

from demo_shop.shop.models import Product
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.items.thumbnail_files import FOLDER
from imagesim.pages import thumbnails
from imagesim.pages.thumbnails import Pictures
from imagesim.runtime import runtime
from tests import shop
from tests.shop import encoded, picture, product, registered

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


@pytest.fixture
def shoe() -> Product:
    return product("shoe", picture(size=(900, 600)))


def url(item: Product, width: int = 320) -> str:
    return Pictures(registry.for_item(item), item, "").url(width)


def stored() -> list[str]:
    return default_storage.listdir(FOLDER)[1] if default_storage.exists(FOLDER) else []


def test_a_thumbnail_that_browsers_keep_for_a_day(shoe, client):
    response = client.get(url(shoe))
    assert (response.status_code, response["Content-Type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(response.content)).size == (320, 213)
    assert response["Cache-Control"].startswith("public, max-age=86400")
    assert url(shoe) == url(shoe)
    again = client.get(url(shoe), headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_thumbnail_that_needs_a_login_is_kept_by_no_shared_cache(shoe, client, admin_user, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert client.get(url(shoe)).status_code == 302
    client.force_login(admin_user)
    response = client.get(url(shoe))
    assert response["Cache-Control"].startswith("private, max-age=86400")
    assert client.get(url(shoe), headers={"If-None-Match": response["ETag"]}).status_code == 304


def test_a_thumbnail_for_credentials_in_a_header_is_kept_by_no_shared_cache(shoe, client):
    """A middleware that reads the header may decide which items this visitor sees."""
    response = client.get(url(shoe), headers={"Authorization": "Token secret"})
    assert response["Cache-Control"].startswith("private, max-age=86400")


def test_a_picture_replaced_under_its_name_has_a_new_thumbnail(shoe, client):
    before = client.get(url(shoe))
    name = shoe.photos.get().file.name
    default_storage.delete(name)
    assert default_storage.save(name, ContentFile(encoded(picture("blue", size=(900, 600))))) == name
    after = client.get(url(shoe), headers={"If-None-Match": before["ETag"]})
    assert (after.status_code, len(stored())) == (200, 1)
    assert Image.open(io.BytesIO(after.content)).getpixel((160, 100))[2] > 200


def test_the_thumbnail_of_a_picture_that_is_gone_stays(shoe, client):
    before = client.get(url(shoe))
    default_storage.delete(shoe.photos.get().file.name)
    assert client.get(url(shoe)).content == before.content


def test_a_thumbnail_is_created_once(shoe, client, monkeypatch):
    first = client.get(url(shoe))
    assert len(stored()) == 1
    monkeypatch.setattr("imagesim.images.decode", lambda *arguments, **options: pytest.fail("made again"))
    assert client.get(url(shoe)).content == first.content


def test_while_others_are_created_the_original_is_shown(shoe, client, monkeypatch):
    monkeypatch.setattr(thumbnails, "WAIT_SECONDS", 0.01)
    with runtime.get("thumbnails", Lock):
        response = client.get(url(shoe))
    assert (response.status_code, response["Cache-Control"]) == (302, "no-store")
    assert response["Location"] == shoe.photos.get().file.url
    assert stored() == []
    assert client.get(url(shoe)).status_code == 200


def test_a_thumbnail_created_meanwhile_is_not_created_again(shoe, client, monkeypatch):
    client.get(url(shoe))
    found = iter([False, True])
    monkeypatch.setattr(default_storage._wrapped, "exists", lambda name: next(found))
    monkeypatch.setattr("imagesim.images.decode", lambda *arguments, **options: pytest.fail("made again"))
    assert client.get(url(shoe)).status_code == 200


@pytest.mark.parametrize("size", [0, 100], ids=["empty", "a part"])
def test_a_part_of_a_thumbnail_is_not_shown(shoe, client, size):
    whole = client.get(url(shoe)).content
    path = default_storage.path(f"{FOLDER}/{stored()[0]}")
    with open(path, "r+b") as file:  # another process is writing it, or was killed while doing so
        file.truncate(size)
    assert client.get(url(shoe)).content == whole
    with open(path, "rb") as file:
        assert file.read() == whole


def test_a_thumbnail_that_is_deleted_while_it_is_read_is_created_again(shoe, client, monkeypatch):
    whole, name, is_newer = client.get(url(shoe)).content, f"{FOLDER}/{stored()[0]}", thumbnails._is_newer

    def is_newer_and_deleted(*names: object) -> bool:
        newer = is_newer(*names)
        default_storage.delete(name)
        return newer

    monkeypatch.setattr(thumbnails, "_is_newer", is_newer_and_deleted)
    response = client.get(url(shoe))
    assert (response.status_code, response.content) == (200, whole)


def test_of_a_thumbnail_that_two_processes_create_there_is_one_file(shoe, client, monkeypatch):
    client.get(url(shoe))
    [name] = stored()
    default_storage.delete(f"{FOLDER}/{name}")

    def made(data: bytes, width: int) -> bytes:
        default_storage.save(f"{FOLDER}/{name}", ContentFile(b"by another process"))
        return b"by this one"

    monkeypatch.setattr(thumbnails, "_made", made)
    assert client.get(url(shoe)).content == b"by this one"
    assert stored() == [name]


def test_only_a_few_widths_are_created(shoe):
    assert url(shoe, 100) == url(shoe, 160) != url(shoe, 161) == url(shoe, 320)
    assert url(shoe, 9000) == url(shoe, 640)


def test_srcset_names_each_width(shoe):
    assert re.findall(r" (\d+w)", Pictures(registry.for_item(shoe), shoe, "").srcset) == ["160w", "320w", "640w"]


def test_the_address_is_looked_up_once_and_for_each_prefix(shoe, monkeypatch):
    url(shoe)
    monkeypatch.setattr(thumbnails, "reverse", lambda *arguments, **options: pytest.fail("looked up again"))
    before = url(shoe, 160)
    assert url(other := product("boot", picture())) != before
    monkeypatch.undo()
    previous = get_script_prefix()
    set_script_prefix("/shop/")
    try:
        assert url(shoe, 160) == f"/shop{before}"
        assert url(other).startswith("/shop/")
    finally:
        set_script_prefix(previous)


def test_a_forged_url_is_rejected(shoe, client):
    address, width = url(shoe).split("?")
    letter = address[-5]
    assert client.get(f"{address[:-5]}{'x' if letter != 'x' else 'y'}{address[-4:]}?{width}").status_code == 404
    assert client.get("/api/visual/thumbnail/x:y/?width=320").status_code == 404
    for other in ("", "?width=", "?width=321", "?width=9000", "?width=-1"):
        assert client.get(f"{address}{other}").status_code == 404
    assert client.post(f"{address}?{width}").status_code == 405
    assert stored() == []


def test_a_hidden_item_has_no_thumbnail(shoe, client):
    address = url(shoe)
    Product.objects.update(active=False)
    assert client.get(address).status_code == 404


def test_of_the_relations_of_an_item_only_its_pictures_are_loaded(shoe, client, django_assert_num_queries):
    class Declared(Items):
        images = "photos__file"
        category = "category__slug"
        in_stock = "variants__stock"
        filters: ClassVar = {"colour": "variants__colour", "price": "variants__price"}

        def get_hit_queryset(self):
            return super().get_hit_queryset().filter(stock__gt=0)

    with registered(Product, Declared):
        address = url(shoe)
        with django_assert_num_queries(2) as queries:
            assert client.get(address).status_code == 200
        assert "shop_category" not in queries[0]["sql"]
        Product.objects.update(stock=0)
        assert client.get(address).status_code == 404


def test_of_a_picture_that_cannot_be_decoded_the_original_is_shown(shoe, client):
    address, file = url(shoe), shoe.photos.get().file
    default_storage.delete(file.name)
    default_storage.save(file.name, ContentFile(b"<svg xmlns='http://www.w3.org/2000/svg'/>"))
    response = client.get(address)
    assert (response.status_code, response["Location"]) == (302, file.url)
    assert response["Cache-Control"] == "no-store"


def test_a_missing_file(shoe, client):
    address, name = url(shoe), shoe.photos.get().file.name
    default_storage.delete(name)
    assert client.get(address).status_code == 404


class ClientError(Exception):
    """Like the error that the client of an object store raises."""


@pytest.mark.parametrize("error", [ClientError("403"), PermissionError("read-only")])
def test_a_storage_that_takes_no_thumbnails(shoe, client, monkeypatch, caplog, error):
    address = url(shoe)
    monkeypatch.setattr(default_storage, "save", Mock(side_effect=error))
    response = client.get(address)
    assert (response.status_code, response["Content-Type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(response.content)).size == (320, 213)
    assert [record.getMessage() for record in caplog.records] == [
        f"Thumbnails cannot be stored, and are made again: {error}"
    ]


@pytest.mark.parametrize("error", [ClientError("403"), PermissionError("no")])
def test_of_a_picture_that_cannot_be_read_the_original_is_shown(shoe, client, monkeypatch, error):
    address, file = url(shoe), shoe.photos.get().file
    monkeypatch.setattr(default_storage, "open", Mock(side_effect=error))
    response = client.get(address)
    assert (response.status_code, response["Location"]) == (302, file.url)
    assert response["Cache-Control"] == "no-store"


def test_a_storage_whose_client_fails_on_a_picture_that_is_gone(shoe, client, monkeypatch):
    before = client.get(url(shoe))
    default_storage.delete(shoe.photos.get().file.name)
    monkeypatch.setattr(default_storage, "get_modified_time", Mock(side_effect=ClientError("404")))
    assert client.get(url(shoe)).content == before.content


def test_thumbnails_of_the_shop_take_precedence(shoe, monkeypatch):
    items = registry.for_item(shoe)
    monkeypatch.setattr(items, "get_thumbnail_url", lambda item, name, width: f"https://cdn.example/{width}")
    assert url(shoe) == "https://cdn.example/320"


def test_an_item_on_which_the_shops_code_fails_breaks_no_page(shoe, monkeypatch, caplog):
    monkeypatch.setattr(type(registry.for_item(shoe)), "get_images", lambda self, item: 1 / 0)
    pictures = Pictures(registry.for_item(shoe), shoe, "")
    assert (pictures.original, pictures.url(320), pictures.srcset) == ("", "", "")
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == f"ProductItems.get_images() fails for shop.product:{shoe.pk}"


def test_a_picture_without_a_url_breaks_no_page(shoe, client, monkeypatch, caplog):
    def no_url(*_given):
        raise NotImplementedError("This storage has no URLs.")

    items = registry.for_item(shoe)
    monkeypatch.setattr(default_storage, "url", no_url)
    assert Pictures(items, shoe, "").original == ""
    assert client.get(url(shoe)).status_code == 200
    monkeypatch.setattr(type(items), "get_image_url", no_url)  # such as that of an image server
    pictures = Pictures(items, shoe, "")
    assert (pictures.original, pictures.url(320), pictures.srcset) == ("", "", "")
    assert f"ProductItems.get_image_url() fails for shop.product:{shoe.pk}" in caplog.text


def test_without_a_picture():
    assert url(product("bare")) == ""
    assert Pictures(registry.for_item(bare := product("bare too")), bare, "").srcset == ""


def test_cards_and_rest_responses_have_thumbnails(client, settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER}
    made = shop.shelf()
    hit = client.get(f"/api/visual/items/shop.product/{made['red'].pk}/similar/").json()["results"][0]
    assert client.get(hit["image"]["thumbnail"]).status_code == 200
    widths = dict(reversed(each.split()) for each in hit["image"]["srcset"].split(", "))
    assert set(widths) == {"160w", "320w", "640w"}
    assert widths["320w"] == hit["image"]["thumbnail"]  # with the host, as a page on another site shows them, too
    shop.drop_index()


def test_a_file_of_which_the_thumbnail_app_makes_nothing_is_shown_itself(shoe, monkeypatch, caplog):
    """Such as a PDF. The message must not name a method that the shop has not written."""
    thumbnailer = Mock(side_effect=ValueError("The source file does not appear to be an image"))
    monkeypatch.setattr(thumbnails, "_thumbnail_app", lambda: "easy_thumbnails")
    monkeypatch.setitem(sys.modules, "easy_thumbnails", Mock())
    monkeypatch.setitem(sys.modules, "easy_thumbnails.files", Mock(get_thumbnailer=thumbnailer))
    pictures = Pictures(registry.for_item(shoe), shoe, "")
    name = shoe.photos.get().file.name
    assert pictures.url(320) == pictures.original != ""
    assert pictures.srcset == ""
    [message] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert message == (
        f"easy_thumbnails cannot make a thumbnail of {name!r} of shop.product:{shoe.pk}, so the original is shown: "
        "The source file does not appear to be an image"
    )


def test_a_picture_of_which_no_thumbnail_can_be_made_is_shown_as_it_is(shoe, monkeypatch, caplog):
    """A missing file, from which a thumbnail app cannot make anything, must not fail every page that shows the item."""
    items = registry.for_model(Product)

    def missing(item, name, width):
        raise FileNotFoundError(name)

    monkeypatch.setattr(items, "get_thumbnail_url", missing)
    pictures = Pictures(items, shoe, "")
    assert pictures.url(320) == pictures.original == shoe.photos.get().file.url
    assert pictures.srcset == ""
    assert f"ProductItems.get_thumbnail_url() fails for shop.product:{shoe.pk}" in caplog.text
