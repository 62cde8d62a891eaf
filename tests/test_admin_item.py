"""The shop's own admin of its products: what is said after a save, the badge, similar items, small pictures."""

from __future__ import annotations

import html
import re
from typing import Any

import numpy as np
import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.db import connection
from django.template import engines
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.urls import path, reverse
from PIL import Image, ImageFilter

from demo_shop.shop.admin import ProductAdmin
from demo_shop.shop.models import Photo, Product
from demo_shop.shop.similarity import ProductItems
from imagesim.admin import ItemStateAdmin, mixin
from imagesim.exceptions import IndexUnavailable
from imagesim.images.remote import RemoteImage
from imagesim.indexes.local import LocalIndex
from imagesim.indexing.sync import sync
from imagesim.insight.admin import FindingAdmin
from imagesim.insight.models import Finding
from imagesim.models import ItemState
from tests.shop import EMBEDDER, encoded, picture, product

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]
PRODUCTS = reverse("admin:shop_product_changelist")


@pytest.fixture(autouse=True)
def _small_embedder(settings: Any) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": EMBEDDER}


def sharp(side: int = 256) -> Image.Image:
    blocks = np.random.default_rng(1).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)


def page_of(item: Product, name: str = "change") -> str:
    return reverse(f"admin:shop_product_{name}", args=[item.pk])


def similar_page(item: Product) -> str:
    return page_of(item, "imagesim_similar")


def text_of(response: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def saved(client: Any, item: Product, **changes: Any) -> list[str]:
    """Save the product with its own form; return the messages."""
    form = {each.name: each.value() for each in client.get(page_of(item)).context["adminform"].form}
    form |= {"photos-TOTAL_FORMS": "0", "photos-INITIAL_FORMS": "0"} | changes
    form = {name: value for name, value in form.items() if value is not None and value is not False}
    answer = client.post(page_of(item), form, follow=True)
    assert answer.redirect_chain, answer.context["errors"]
    return [str(message) for message in answer.context["messages"]][1:]


class TestSave:
    def test_bad_pictures_are_named_with_the_reason(self, admin_client):
        blurred = sharp().filter(ImageFilter.GaussianBlur(5))
        item = product("shoe", sharp(), sharp(120), blurred, b"no picture")
        gone = Photo.objects.create(product=item, position=9, file=ContentFile(encoded(sharp()), "gone.png"))
        gone.file.storage.delete(gone.file.name)

        said = saved(admin_client, item)

        names = [photo.file.name.rpartition("/")[2] for photo in item.photos.order_by("position")]
        assert len(said) == 4
        assert said[0].startswith(f"Picture “{names[1]}”: It has 120 × 120 pixels; use one with at least 200")
        assert said[1] == f"Picture “{names[2]}”: It looks blurred; use a sharper one."
        assert said[2].startswith(f"Picture “{names[3]}”: This is not a picture that can be read")
        assert said[3] == f"Picture “{names[4]}”: The storage does not have its file."

    def test_without_any_picture(self, admin_client):
        item = product("shoe")
        assert saved(admin_client, item) == ["“shoe” has no picture, so nobody finds it by its looks."]
        assert saved(admin_client, item, active=False) == []  # the shop does not show it

    def test_nothing_is_said_of_good_pictures(self, admin_client):
        assert saved(admin_client, product("shoe", sharp())) == []

    def test_a_picture_added_with_the_save(self, admin_client):
        item = product("shoe", sharp())
        file = ContentFile(encoded(sharp(100)), "new.png")
        new = {"photos-TOTAL_FORMS": "1", "photos-0-file": file, "photos-0-position": "1", "photos-0-focus": "center"}
        (said,) = saved(admin_client, item, **new)
        assert "100 × 100 pixels" in said

    def test_a_failing_check_does_not_fail_the_save(self, admin_client, monkeypatch):
        item = product("shoe", sharp(100))

        def broken(self: Any, shown: Any) -> Any:
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM there_is_no_such_table")

        with monkeypatch.context() as patched:
            patched.setattr(ProductItems, "get_images", broken)
            patched.setattr(mixin, "queryset_of", lambda items: items.model.objects.all())
            assert saved(admin_client, item, name="boot") == []
        item.refresh_from_db()
        assert item.name == "boot"

    def test_a_storage_that_cannot_be_reached_is_no_bad_picture(self, admin_client, monkeypatch):
        def down(file: Any) -> bytes:
            raise ConnectionResetError

        item = product("shoe", sharp(100))
        monkeypatch.setattr(mixin.images, "read", down)
        assert saved(admin_client, item) == []

    def test_what_is_opened_is_bounded_and_new_pictures_come_first(self, monkeypatch):
        item = product("shoe", *[sharp(90 + n) for n in range(3)])
        sync()
        Photo.objects.create(product=item, position=9, file=ContentFile(encoded(sharp(77)), "new.png"))
        monkeypatch.setattr(mixin, "PICTURES", 2)
        said = list(mixin.problems(Product.objects.get()))
        assert [re.findall(r"(\d+) ×", each)[0] for each in said] == ["77", "90"]
        monkeypatch.setattr(mixin, "SECONDS", -1)
        assert list(mixin.problems(item)) == []

    def test_of_a_large_picture_only_the_header_is_read(self, monkeypatch):
        item = product("shoe", sharp().filter(ImageFilter.GaussianBlur(5)))
        monkeypatch.setattr(mixin, "PIXELS", 256 * 256 - 1)
        monkeypatch.setattr(mixin, "measure", lambda data: pytest.fail("decoded"))
        assert list(mixin.problems(item)) == []

    def test_pictures_on_other_servers_are_not_fetched(self, monkeypatch):
        monkeypatch.setattr(ProductItems, "get_images", lambda self, item: [RemoteImage("https://cdn.test/1.jpg")])
        monkeypatch.setattr(RemoteImage, "read", lambda *_: pytest.fail("fetched"))
        assert list(mixin.problems(product("shoe"))) == []


class TestBadge:
    def test_it_leads_to_its_reason(self, admin_client):
        item = product("broken", b"no picture")
        sync()
        state = ItemState.objects.get()
        link = f'<a href="{reverse("admin:imagesim_itemstate_change", args=[state.pk])}"><span class="imagesim-badge"'
        assert link in admin_client.get(PRODUCTS).content.decode()
        page = text_of(admin_client.get(reverse("admin:imagesim_itemstate_change", args=[state.pk])))
        assert f"It could not be indexed: {state.error}" in page
        assert link in admin_client.get(similar_page(item)).content.decode()

    def test_an_item_that_failed_and_was_saved_since_waits(self, admin_client):
        """Its error is forgotten; it must not be shown as failed, without a reason."""
        item = product("broken", b"no picture")
        sync()
        item.save()
        page = text_of(admin_client.get(similar_page(item)))
        assert "It waits to be indexed." in page
        assert "failed" not in page
        assert "waiting" in text_of(admin_client.get(PRODUCTS)).partition("broken")[2]

    def test_not_for_those_who_may_not_see_it(self, staff):
        item = product("broken", b"no picture")
        sync()
        client = staff("shop.view_product")
        for page in (PRODUCTS, similar_page(item)):
            assert "imagesim-badge" in client.get(page).content.decode()
            assert "/itemstate/" not in client.get(page).content.decode()

    def test_the_app_own_pages_link_only_what_the_user_may_view(self, staff, admin_client):
        item = product("red", picture("red"))
        sync()
        pages = [
            reverse("admin:imagesim_itemstate_changelist"),
            reverse("admin:imagesim_itemstate_change", args=[ItemState.objects.get().pk]),
        ]
        for page in pages:
            assert f'href="{page_of(item)}"' in admin_client.get(page).content.decode()
        client = staff("imagesim.view_itemstate")
        for page in pages:
            answer = client.get(page).content.decode()
            assert str(item) in answer
            assert page_of(item) not in answer


with isolate_apps("demo_shop.shop"):

    class Novelty(Product):
        class Meta:
            proxy = True
            app_label = "shop"


office, counter = admin.AdminSite(name="office"), admin.AdminSite(name="counter")
office.register(Product, ProductAdmin)
counter.register(Novelty, ProductAdmin)
counter.register(ItemState, ItemStateAdmin)
counter.register(Finding, FindingAdmin)
urlpatterns = [path(f"{site.name}/", site.urls) for site in (admin.site, office, counter)]


@pytest.mark.urls(__name__)
def test_an_admin_with_a_proxy_of_the_model(admin_client):
    red, dark = product("red", picture("red")), product("dark", picture("darkred"))
    sync()
    similar = admin_client.get(f"/counter/shop/novelty/{red.pk}/similar/").content.decode()
    assert f'href="/counter/shop/novelty/{dark.pk}/change/"' in similar
    found = admin_client.get("/counter/imagesim/itemstate/?q=acme").context["cl"].result_list
    assert {state.object_pk for state in found} == {str(red.pk), str(dark.pk)}, "by the brand"
    Finding.objects.create(kind=Finding.Kind.TINY, state=ItemState.objects.first())
    work_list = admin_client.get("/counter/imagesim_insight/finding/").content.decode()
    assert f'href="/counter/shop/novelty/{red.pk}/change/"' in work_list


@pytest.mark.urls(__name__)
def test_an_admin_without_the_pages_of_the_app(admin_client):
    item = product("red", picture("red"))
    sync()
    for page in ("", f"{item.pk}/change/", f"{item.pk}/similar/"):
        answer = admin_client.get(f"/office/shop/product/{page}")
        assert answer.status_code == 200
        assert "/itemstate/" not in answer.content.decode()


class TestSimilarItems:
    def test_the_page_of_a_product_leads_to_it(self, admin_client):
        item = product("red", picture("red"))
        page = admin_client.get(page_of(item)).content.decode()
        assert f'<a href="{similar_page(item)}">Similar items</a>' in page
        assert "History" in page
        assert "Similar items" not in admin_client.get(reverse("admin:shop_product_add")).content.decode()

    def test_a_template_of_the_shop_stays(self, admin_client, monkeypatch):
        own = engines["django"].from_string(
            "{% extends 'admin/change_form.html' %}{% block form_top %}OWN{% endblock %}"
        )
        item = product("red", picture("red"))
        monkeypatch.setattr(ProductAdmin, "change_form_template", own.template)
        page = admin_client.get(page_of(item)).content.decode()
        assert "OWN" in page
        assert similar_page(item) in page

    def test_pictures_relevance_and_links(self, admin_client):
        red, dark = product("red", picture("red")), product("dark <b>", picture("darkred"))
        product("blue", picture("blue"), category="hats")
        sync()
        answer = admin_client.get(similar_page(red))
        page = answer.content.decode()
        assert answer.context["similar"][0]["name"] == "dark <b>"
        assert f'<a href="{page_of(dark)}">dark &lt;b&gt;</a>' in page
        assert re.search(r"\d+ % relevant", page)
        assert page.count("imagesim-thumbnail") == len(answer.context["similar"])
        assert page_of(red) in page  # in the breadcrumbs

    @pytest.mark.parametrize(
        ("made", "changes", "sentence"),
        [
            ([b"no picture"], {}, "It could not be indexed: "),
            ([], {}, "It has no picture."),
            ([sharp()], {"active": False}, "The shop does not show it."),
            ([sharp()], {}, "Nothing in the index is similar enough to it."),
        ],
    )
    def test_why_there_is_none(self, admin_client, made, changes, sentence):
        item = product("only", *made, **changes)
        sync()
        assert sentence in text_of(admin_client.get(similar_page(item)))

    @pytest.mark.parametrize("method", ["get_queryset", "get_hit_queryset"])
    @pytest.mark.parametrize("is_noticed", [True, False])
    def test_why_no_page_shows_it(self, admin_client, monkeypatch, method, is_noticed):
        """For instance a draft or an item that was sold in a marketplace, before and after the sync."""
        item = product("draft", sharp())
        sync()
        all_of_them = getattr(ProductItems, method)
        monkeypatch.setattr(ProductItems, method, lambda self: all_of_them(self).exclude(name="draft"))
        state = ItemState.objects.get()
        page = reverse("admin:imagesim_itemstate_change", args=[state.pk])
        if is_noticed:
            item.save()
            sync()
        assert "The shop does not show it." in text_of(admin_client.get(page))

    def test_the_code_of_the_shop_fails_for_what_pages_show(self, admin_client, monkeypatch):
        product("red", sharp())
        sync()
        monkeypatch.setattr(ProductItems, "get_hit_queryset", lambda self: Product.objects.filter(pk=1 / 0))
        page = reverse("admin:imagesim_itemstate_change", args=[ItemState.objects.get().pk])
        answer = admin_client.get(page)
        assert answer.status_code == 200
        assert "The shop does not show it." not in text_of(answer)

    def test_an_item_that_waits_and_one_that_was_never_noticed(self, admin_client):
        product("other", sharp(300))
        sync()
        item = product("late", sharp())
        assert "It waits to be indexed." in text_of(admin_client.get(similar_page(item)))
        ItemState.objects.all().delete()
        assert "It was never indexed" in text_of(admin_client.get(similar_page(item)))

    @pytest.mark.parametrize("kind", ["down", "missing"])
    def test_without_the_index(self, admin_client, settings, monkeypatch, kind):
        item = product("red", picture("red"))
        if kind == "down":
            sync()

            def down(self: Any, queries: Any, **given: Any) -> Any:
                raise IndexUnavailable("https://user:secret@es1:9200 is gone")

            monkeypatch.setattr(LocalIndex, "search", down)
        answer = admin_client.get(similar_page(item))
        assert answer.status_code == 200
        assert "The index cannot answer now: " in text_of(answer)
        assert "secret" not in text_of(answer)

    def test_an_item_on_which_the_code_of_the_shop_fails(self, admin_client, monkeypatch, caplog):
        def fail(self: Any, item: Any) -> Any:
            raise KeyError("season")

        item = product("red", picture("red"))
        Product.objects.update(name="red\nERROR invented")
        monkeypatch.setattr(ProductItems, "get_categories", fail)
        sync()
        answer = admin_client.get(similar_page(item))
        assert answer.status_code == 200
        assert "KeyError: 'season'" in text_of(answer)
        assert "ERROR invented" not in caplog.text

    def test_what_the_user_may_not_see_is_left_out(self, staff, monkeypatch):
        red, dark = product("red", picture("red")), product("dark", picture("darkred"))
        sync()
        assert staff("shop.view_category").get(similar_page(red)).status_code == 403
        get_user_model().objects.all().delete()
        client = staff("shop.view_product")
        assert page_of(dark) in client.get(similar_page(red)).content.decode()
        all_of_them = ProductAdmin.get_queryset
        monkeypatch.setattr(
            ProductAdmin, "get_queryset", lambda self, request: all_of_them(self, request).exclude(name="dark")
        )
        answer = client.get(similar_page(red))
        assert "There are similar items, but none that you may see." in text_of(answer)
        assert page_of(dark) not in answer.content.decode()
        assert client.get(similar_page(dark)).status_code == 302

    def test_models_that_the_user_may_not_see_are_left_out(self, admin_client, monkeypatch):
        red, dark = product("red", picture("red")), product("dark", picture("darkred"))
        sync()
        # As with another model: the user may see this item, but none of those that are similar.
        monkeypatch.setattr(ProductAdmin, "has_view_permission", lambda self, request, obj=None: obj is not None)
        answer = admin_client.get(similar_page(red))
        assert "none that you may see" in text_of(answer)
        assert page_of(dark) not in answer.content.decode()

    def test_an_item_that_does_not_exist(self, admin_client):
        answer = admin_client.get(reverse("admin:shop_product_imagesim_similar", args=[999]), follow=True)
        assert "doesn’t exist" in text_of(answer)


class TestThumbnails:
    def test_lists_show_small_pictures_in_a_fixed_number_of_queries(self, admin_client):
        listed = reverse("admin:imagesim_itemstate_changelist")

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                page = admin_client.get(listed).content.decode()
            assert page.count("imagesim-thumbnail") == Product.objects.count()
            assert "/thumbnail/" in page
            return len(captured)

        product("first", picture("red"))
        first = queries()
        for number in range(5):
            product(f"p{number}", picture("red", mark=number))
        assert queries() == first

    def test_the_page_of_the_index_shows_what_failed_last(self, staff):
        broken = product("broken", b"no picture")
        sync()
        index_page = reverse("admin:imagesim_visualindex_changelist")
        client = staff("imagesim.view_visualindex", "imagesim.view_itemstate")
        page = client.get(index_page).content.decode()
        assert reverse("admin:imagesim_itemstate_change", args=[ItemState.objects.get().pk]) in page
        assert "/thumbnail/" in page
        assert broken.name in page
        get_user_model().objects.all().delete()
        assert "Latest failures" not in staff("imagesim.view_visualindex").get(index_page).content.decode()

    def test_a_failing_storage_leaves_the_place_empty(self, admin_client, monkeypatch):
        product("shoe", picture("red"))

        def failing(*_: Any) -> Any:
            raise OSError("gone")

        monkeypatch.setattr(ProductItems, "get_images", failing)
        page = admin_client.get(reverse("admin:imagesim_itemstate_changelist"))
        assert page.status_code == 200
        assert "imagesim-thumbnail" not in page.content.decode()


def test_the_mixin_names_its_page_after_the_model() -> None:
    names = [each.name for each in admin.site._registry[Product].get_urls()]
    assert names[0] == "shop_product_imagesim_similar"
