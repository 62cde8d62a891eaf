from __future__ import annotations

import html
import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.core.files.base import ContentFile
from django.db import connection
from django.http import HttpRequest, QueryDict
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

import imagesim
from demo_shop.shop.models import Photo, Product
from imagesim.admin import ItemStateMixin, index_page
from imagesim.admin.base import badge, shorten
from imagesim.admin.buttons import BUTTONS
from imagesim.indexes import get_index
from imagesim.indexing import dispatch
from imagesim.indexing.sync import sync
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.models import ItemImage, ItemState, Job
from imagesim.monitoring.status import JobStatus
from imagesim.types import Hit, HitImage, Removal
from tests.shop import EMBEDDER, picture, product, registered
from tests.zoo.models import Lamp

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]

CONFIRMED = {"confirmed": "yes"}
PAGE = reverse("admin:imagesim_visualindex_changelist")
STATUS = reverse("admin:imagesim_visualindex_status")
ITEMS = reverse("admin:imagesim_itemstate_changelist")
RUNS = reverse("admin:imagesim_job_changelist")
PRODUCTS = reverse("admin:shop_product_changelist")


def nonce(request):
    return {"csp_nonce": "r4nd0m"}


@pytest.fixture(autouse=True)
def _small_embedder(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}


@pytest.fixture
def thread(settings):
    """The mode with a background thread, which the test client does not start."""
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "thread"}


@pytest.fixture
def shop():
    """Two indexed products, one with a broken picture, one waiting."""
    made = [product("shoe", picture("red")), product("boot", picture("blue")), product("broken", b"no picture")]
    sync()
    return [*made, product("late", picture("green"))]


def started(monkeypatch, answer: bool = True) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(dispatch, "start", lambda name, **arguments: names.append(name) or answer)
    return names


def messages_of(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


class TestItems:
    def test_the_list_shows_the_state_of_every_item(self, admin_client, shop):
        page = admin_client.get(ITEMS)

        text = text_of(page)
        for item in shop:
            assert reverse("admin:shop_product_change", args=[item.pk]) in page.content.decode()
        assert re.search(r"shoe indexed", text)
        assert re.search(r"late waiting", text)
        broken = ItemState.objects.get(object_pk=str(shop[2].pk))
        assert shorten(broken.error) in html.unescape(text)

    def test_the_number_of_queries_does_not_depend_on_the_items(
        self, admin_client, shop, django_assert_max_num_queries
    ):
        for number in range(10):
            product(f"more-{number}")

        with django_assert_max_num_queries(12):
            admin_client.get(ITEMS)

    @pytest.mark.parametrize(
        ("question", "found"),
        [
            ({"q": "shoe"}, {"shoe"}),  # by the name in the shop's own list
            ({"q": "nothing like it"}, set()),
            ({"pictures": "bad"}, {"broken"}),
            ({"pictures": "good"}, {"shoe", "boot", "late"}),
            ({"model": "shop.product"}, {"shoe", "boot", "broken", "late"}),
            ({"outcome__exact": "indexed"}, {"shoe", "boot"}),
            ({"pending__exact": "1"}, {"late"}),
        ],
    )
    def test_searching_and_filtering(self, admin_client, shop, question, found):
        page = admin_client.get(ITEMS, question)

        assert {state._imagesim_item.name for state in page.context["cl"].result_list} == found

    def test_a_search_by_name_respects_permissions(self, staff, shop):
        client = staff("imagesim.view_itemstate")

        page = client.get(ITEMS, {"q": "acme"})

        assert list(page.context["cl"].result_list) == []

    def test_a_search_by_key_and_by_picture(self, admin_client, shop):
        for term in (str(shop[1].photos.get().file.name),):
            page = admin_client.get(ITEMS, {"q": term})
            assert [state.object_pk for state in page.context["cl"].result_list] == [str(shop[1].pk)]

    def test_the_page_of_an_item_shows_its_pictures_and_their_errors(self, admin_client, shop):
        state = ItemState.objects.get(object_pk=str(shop[2].pk))

        page = admin_client.get(reverse("admin:imagesim_itemstate_change", args=[state.pk]))

        content = page.content.decode()
        assert shop[2].photos.get().file.url in content
        assert state.images.get().error
        assert state.images.get().error[:40] in page.content.decode().replace("&#x27;", "'")
        assert 'name="_save"' not in content
        assert "Delete" not in text_of(page)

    def test_the_queries_of_the_page_of_an_item_do_not_depend_on_its_pictures(self, admin_client):
        def queries(name: str, count: int) -> int:
            item = product(name, *[picture("red", mark=number) for number in range(count)])
            sync()
            state = ItemState.objects.get(object_pk=str(item.pk))
            with CaptureQueriesContext(connection) as captured:
                page = admin_client.get(reverse("admin:imagesim_itemstate_change", args=[state.pk]))
            assert page.content.decode().count("imagesim-thumbnail") == 1 + count
            return len(captured)

        queries("first", 1)  # what is read once in a process
        assert queries("many", 6) == queries("one", 1)

    def test_the_picture_of_what_the_shop_does_not_show(self, admin_client):
        hidden = product("hidden", picture("red"), active=False)
        sync()
        state = ItemState.objects.get()
        assert state.outcome == "skipped"
        page = admin_client.get(reverse("admin:imagesim_itemstate_change", args=[state.pk])).content.decode()
        for content in (admin_client.get(ITEMS).content.decode(), page):
            (shown,) = re.findall(r'<img class="imagesim-thumbnail" src="([^"]+)"', content)
            assert shown == hidden.photos.get().file.url

    @pytest.mark.parametrize("method", ["get_queryset", "get_hit_queryset"])
    def test_the_picture_of_what_has_ended_since_it_was_indexed(self, admin_client, method):
        """The clock has decided that no page shows it; the state does not record that."""
        ended = product("ended", picture("red"))
        sync()
        state = ItemState.objects.get()
        queryset = {method: lambda self: Product.objects.exclude(name="ended")}
        with registered(Product, type("Lots", (type(registry.for_model(Product)),), queryset)):
            page = admin_client.get(reverse("admin:imagesim_itemstate_change", args=[state.pk])).content.decode()
            for content in (admin_client.get(ITEMS).content.decode(), page):
                shown = set(re.findall(r'<img class="imagesim-thumbnail" src="([^"]+)"', content))
                assert shown == {ended.photos.get().file.url}

    def test_an_error_of_the_shop_s_queryset_breaks_no_page(self, admin_client):
        shoe = product("shoe", picture("red"))
        sync()
        broken = {"get_hit_queryset": lambda self: Product.objects.filter(no_such_field=1)}
        with registered(Product, type("Broken", (type(registry.for_model(Product)),), broken)):
            assert shoe.photos.get().file.url in admin_client.get(ITEMS).content.decode()

    def test_a_deleted_item_and_an_unregistered_model(self, admin_client):
        gone = ItemState.objects.create(model="shop.product", object_pk="999")
        old = ItemState.objects.create(model="shop.former", object_pk="1")
        ItemImage.objects.create(state=gone, position=0, name="gone.png")

        text = text_of(admin_client.get(ITEMS))

        assert "shop.product:999" in text
        assert "shop.former:1" in text
        registry.register(Lamp, type("LampItems", (Items,), {"images": "pictures__file"}))
        try:
            assert "shop.former:1 shop.former" in text_of(admin_client.get(ITEMS))
        finally:
            registry.unregister(Lamp)
        page = admin_client.get(reverse("admin:imagesim_itemstate_change", args=[gone.pk]))
        assert "gone.png" in page.content.decode()
        assert admin_client.get(reverse("admin:imagesim_itemstate_change", args=[old.pk])).status_code == 200

    def test_an_item_whose_model_is_not_in_the_admin(self):
        state_admin = admin.site._registry[ItemState]
        state = ItemState(model="shop.product", object_pk="1")
        state._imagesim_item = Lamp(name="Lamp")

        assert state_admin.item(state) == "Lamp"

    def test_nothing_can_be_edited(self, admin_client, shop):
        state = ItemState.objects.first()

        assert admin_client.get(reverse("admin:imagesim_itemstate_add")).status_code == 403
        assert admin_client.get(reverse("admin:imagesim_itemstate_delete", args=[state.pk])).status_code == 403
        assert admin_client.post(reverse("admin:imagesim_itemstate_change", args=[state.pk])).status_code == 403

    def test_reindexing_selected_items(self, admin_client, shop):
        states = ItemState.objects.filter(object_pk__in=[str(shop[0].pk), str(shop[2].pk)])
        old = ItemState.objects.create(model="shop.former", object_pk="x", pending=False)

        page = admin_client.post(
            ITEMS,
            {"action": "reindex_selected", "_selected_action": [state.pk for state in [*states, old]]},
            follow=True,
        )

        assert messages_of(page) == [
            "2 items are queued for reindexing, with their pictures. Run manage.py imagesim_sync to index them."
        ]
        assert all(state.pending for state in states.all())

    def test_reindexing_requires_a_permission(self, staff, shop):
        client = staff("imagesim.view_itemstate")
        state = ItemState.objects.filter(pending=False).first()

        page = client.get(ITEMS)
        assert "reindex_selected" not in page.content.decode()
        client.post(ITEMS, {"action": "reindex_selected", "_selected_action": [state.pk]})

        state.refresh_from_db()
        assert not state.pending


class TestShopAdmin:
    def test_a_column_shows_the_state_of_each_item(self, admin_client, shop):
        text = text_of(admin_client.get(PRODUCTS))

        assert "Visual search" in text
        assert text.count("indexed") >= 2
        assert "waiting" in text

    def test_one_query_per_page(self, admin_client, shop, django_assert_num_queries):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        def queries() -> int:
            with CaptureQueriesContext(
                connection,
            ) as captured:
                admin_client.get(PRODUCTS)
            return len([query for query in captured if "imagesim_itemstate" in query["sql"]])

        assert queries() == 1
        product("one more")
        assert queries() == 1

    def test_an_empty_list(self, admin_client):
        assert admin_client.get(PRODUCTS).status_code == 200

    @pytest.mark.usefixtures("thread")
    def test_reindexing_selected_items(self, admin_client, shop):
        page = admin_client.post(
            PRODUCTS, {"action": "reindex_selected", "_selected_action": [shop[0].pk]}, follow=True
        )

        assert messages_of(page) == ["1 item is queued for reindexing, with its pictures."]
        assert ItemState.objects.get(object_pk=str(shop[0].pk)).pending

    def test_the_action_requires_a_permission(self, staff, shop):
        page = staff("shop.view_product").get(PRODUCTS)

        assert "Visual search" in text_of(page)
        assert "reindex_selected" not in page.content.decode()

    def test_a_shop_can_place_the_column_and_disable_actions(self, rf: RequestFactory, admin_user):
        class Own(ItemStateMixin, admin.ModelAdmin):
            list_display = ("visual_search", "name")
            actions = None

        own = Own(Product, admin.site)
        request = rf.get("/")
        request.user = admin_user

        assert own.get_list_display(request) == ["visual_search", "name"]
        assert own.get_actions(request) == {}
        assert "unknown" in own.visual_search(Product(name="not saved"))
        assert "unknown" in own.visual_search(Product(pk=12345))

    def test_a_class_of_another_package_that_knows_no_place_of_actions(self, rf: RequestFactory, admin_user):
        """Django 6.1 and later say where actions are shown; packages such as django-import-export do not accept it."""

        class OfAnother(admin.ModelAdmin):
            def get_actions(self, request: HttpRequest) -> dict[str, Any]:
                return super().get_actions(request)

        class Own(ItemStateMixin, OfAnother):
            pass

        own, request = Own(Product, admin.site), rf.get("/")
        request.user = admin_user

        def names(place: str) -> list[str]:
            return list(own.get_actions(request, action_location=SimpleNamespace(name=place)))

        assert names("CHANGE_LIST") == ["delete_selected", "reindex_selected"]
        assert names("CHANGE_FORM") == []

    def test_an_unregistered_model(self, rf: RequestFactory, admin_user, monkeypatch):
        """A check reports it, and no page of the shop breaks."""

        class Own(ItemStateMixin, admin.ModelAdmin):
            pass

        own = Own(Lamp, admin.site)
        assert [message.id for message in own.check()] == ["imagesim.E401"]
        assert Own(Product, admin.site).check() == []
        assert "unknown" in own.visual_search(Lamp())
        shown: list[str] = []
        monkeypatch.setattr(own, "message_user", lambda request, message, level: shown.append(message))
        own.reindex_selected(rf.get("/"), Lamp.objects.all())
        assert shown[0].startswith("zoo.Lamp is not registered; ")


class TestVisualIndexPage:
    def test_the_page_shows_the_state(self, admin_client, shop):
        page = admin_client.get(PAGE)

        text = text_of(page)
        assert page.status_code == 200
        assert "LocalIndex" in text
        assert "test-pixels-64" in text
        assert page.context["snapshot"]["fields"]["indexed"] == "2"
        assert re.search(r"\d+(\.\d)? % of the items are in the index", text)

    @pytest.mark.parametrize("address", [PAGE, STATUS, ITEMS, RUNS])
    def test_without_time_zones(self, admin_client, settings, address):
        settings.USE_TZ = False
        product("shoe", picture("red"))
        sync()

        assert admin_client.get(address).status_code == 200

    def test_the_page_has_no_inline_script_or_style(self, admin_client, shop):
        for address in (PAGE, ITEMS, RUNS, PRODUCTS):
            content = admin_client.get(address).content.decode()
            assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", content), address
            assert not re.search(r"\sstyle=|<style|\son\w+=", content), address

    def test_its_script_and_its_style_have_the_nonce_of_the_page(self, admin_client, settings):
        """Like everything in the admin of Django 6.1."""
        engine = settings.TEMPLATES[0]
        processors = [*engine["OPTIONS"]["context_processors"], "tests.test_admin.nonce"]
        settings.TEMPLATES = [{**engine, "OPTIONS": {**engine["OPTIONS"], "context_processors": processors}}]
        content = admin_client.get(PAGE).content.decode()
        assert re.search('<script[^>]* nonce="r4nd0m" [^>]*visual-index', content)
        assert re.search('<link[^>]*imagesim/admin/admin[^>]*.css" nonce="r4nd0m">', content)

    def test_no_template_loads_a_script_or_a_style_without_the_nonce(self):
        for template in Path(imagesim.__file__).parent.rglob("*.html"):
            for loaded in re.findall(
                r"<script[^>]*>|<link[^>]*>|<style[^>]*>|{{ ?\w*\.?media[^}]*}}", template.read_text()
            ):
                assert 'nonce="{{ csp_nonce }}"' in loaded or "application/json" in loaded, (template, loaded)

    def test_the_page_is_listed_in_the_admin_index(self, admin_client):
        assert PAGE in admin_client.get(reverse("admin:index")).content.decode()

    def test_the_status_view_for_the_script(self, admin_client, shop):
        answer = admin_client.get(STATUS)

        assert "no-store" in answer["Cache-Control"]
        told = answer.json()
        page = admin_client.get(PAGE).content.decode()
        for name in re.findall(r'data-field="(\w+)"', page):
            assert name in told["fields"], name
        for name in re.findall(r'data-shown="(\w+)"', page):
            assert name in told["shown"], name
        for name in re.findall(r'data-bar="(\w+)"', page):
            assert name in told["bars"], name

    @pytest.mark.parametrize("address", [PAGE, STATUS])
    def test_viewing_requires_a_permission(self, staff, client, address):
        assert client.get(address).status_code == 302  # redirected to the login page
        assert staff("imagesim.view_itemstate").get(address).status_code == 403

    def test_starting_a_job_requires_another_permission(self, staff, monkeypatch):
        names = started(monkeypatch)
        client = staff("imagesim.view_visualindex")

        page = client.get(PAGE)
        assert page.status_code == 200
        assert "Rebuild the index" not in page.content.decode()
        assert ITEMS not in page.content.decode()
        assert client.post(reverse("admin:imagesim_visualindex_start", args=["rebuild"])).status_code == 403
        assert names == []

    def test_starting_a_job_requires_post_and_a_csrf_token(self, admin_user, monkeypatch):
        from django.test import Client

        names = started(monkeypatch)
        address = reverse("admin:imagesim_visualindex_start", args=["rebuild"])
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)

        assert client.get(address).url == PAGE
        assert client.post(address).status_code == 403
        assert names == []

    def test_the_login_after_an_expired_session_ends_at_the_page(self, client, admin_user, monkeypatch):
        names = started(monkeypatch)
        answer = client.post(reverse("admin:imagesim_visualindex_start", args=["rebuild"]))
        client.force_login(admin_user)
        answer = client.get(QueryDict(urlsplit(answer.url).query)["next"], follow=True)
        assert (answer.status_code, answer.redirect_chain) == (200, [(PAGE, 302)])
        assert names == []

    def test_an_unknown_job(self, admin_client):
        assert admin_client.post(reverse("admin:imagesim_visualindex_start", args=["explode"])).status_code == 404

    @pytest.mark.parametrize("job", ["sync", "reconcile", "rebuild"])
    def test_starting_a_job(self, staff, monkeypatch, job):
        names = started(monkeypatch)
        client = staff("imagesim.view_visualindex", "imagesim.rebuild_visualindex")

        page = client.post(reverse("admin:imagesim_visualindex_start", args=[job]), CONFIRMED, follow=True)

        assert names == [job]
        assert messages_of(page)[0].startswith("Started: ")
        entry = LogEntry.objects.get()
        assert entry.user.username == "staff"
        assert entry.change_message == str(BUTTONS[job].title)

    def test_a_job_that_runs_is_not_started_again(self, admin_client, monkeypatch):
        """An index that the admin asked to keep on standby would be switched to."""
        names = started(monkeypatch)
        running = Job.objects.create(kind="rebuild", slot="rebuild", status="running", owner="elsewhere/1/1")
        given = CONFIRMED | {"option": "on"}
        page = admin_client.post(reverse("admin:imagesim_visualindex_start", args=["rebuild"]), given, follow=True)
        assert messages_of(page) == ["A job of this kind is running already."]
        assert names == []
        running.heartbeat_at -= timedelta(hours=1)  # its process died: another one continues it
        running.save()
        admin_client.post(reverse("admin:imagesim_visualindex_start", args=["rebuild"]), given)
        assert names == ["rebuild"]

    def test_a_rebuild_is_asked_about_first(self, admin_client, monkeypatch):
        names = started(monkeypatch)
        address = reverse("admin:imagesim_visualindex_start", args=["rebuild"])

        page = admin_client.post(address)

        assert names == []
        assert "twice the space" in text_of(page)
        assert f'action="{address}"' in page.content.decode()
        assert admin_client.post(address, CONFIRMED).status_code == 302
        assert names == ["rebuild"]

    def test_starting_a_job_in_manual_mode(self, admin_client, monkeypatch, settings):
        address = reverse("admin:imagesim_visualindex_start", args=["rebuild"])

        page = admin_client.post(address, CONFIRMED, follow=True)
        assert messages_of(page) == [
            "No tasks run in the background (SYNC is 'manual'): run manage.py imagesim_rebuild."
        ]

        settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "celery"}
        started(monkeypatch, answer=False)
        page = admin_client.post(address, CONFIRMED, follow=True)
        assert messages_of(page)[-1].startswith("It could not be started; try again, or run manage.py")
        assert "Celery worker" in text_of(page)

    def test_retrying_failed_items(self, admin_client, shop):
        state = ItemState.objects.get(object_pk=str(shop[0].pk))
        ItemState.objects.filter(pk=state.pk).update(outcome="failed", error="storage", pending=False)
        assert admin_client.get(STATUS).json()["fields"]["failed"] == "2"  # including the broken one
        ItemState.objects.create(model="shop.product", object_pk="99", outcome="failed", error="gone", pending=True)
        shown = admin_client.get(reverse("admin:imagesim_visualindex_changelist")).content.decode()
        why = re.search(r'href="([^"]*outcome__exact[^"]*)"', shown)
        found = admin_client.get(html.unescape(why[1])).context["cl"].result_list
        assert len(found) == 2  # as many as the page says, without those that wait for another attempt

        page = admin_client.post(reverse("admin:imagesim_visualindex_start", args=["retry"]), follow=True)

        assert messages_of(page)[0].startswith("2 items are queued for reindexing")
        sync()
        state.refresh_from_db()
        assert (state.outcome, state.error) == ("indexed", "")

    def test_retrying_after_a_picture_was_repaired(self, admin_client, shop):
        broken = shop[2]
        Photo.objects.filter(product=broken).delete()
        Photo.objects.create(product=broken, file=ContentFile(b"", name="x.png"))
        photo = broken.photos.get()
        with photo.file.storage.open(photo.file.name, "wb") as file:
            picture("yellow").save(file, "PNG")
        state = ItemState.objects.get(object_pk=str(broken.pk))

        admin_client.post(ITEMS, {"action": "reindex_selected", "_selected_action": [state.pk]})
        sync()

        state.refresh_from_db()
        assert state.outcome == "indexed"
        assert state.images.get().error == ""

    def test_a_running_rebuild_shows_its_bar_and_the_time_left(self, admin_client):
        began = timezone.now() - timedelta(seconds=100)
        Job.objects.create(
            kind="rebuild", status="running", owner="elsewhere/1/1", total=400, done=100, started_at=began
        )

        told = admin_client.get(STATUS).json()

        assert told["running"] is True
        assert told["shown"]["job"] is True
        assert told["bars"]["job"] == [100, 400]
        assert told["fields"]["job_kind"] == "rebuild"
        assert told["fields"]["job_progress"] == "100 of 400 (25.0 %)"
        assert told["fields"]["job_left"] == "5 minutes left"
        assert told["fields"]["job_state"] == "Running now"
        assert told["fields"]["rebuild"].startswith("running since ")
        assert 'max="400"' in admin_client.get(PAGE).content.decode()

    def test_of_how_many_a_job_does_not_know_yet_it_has_not_done_all(self, admin_client):
        Job.objects.create(kind="reconcile", status="running", owner="elsewhere/1/1")
        assert admin_client.get(STATUS).json()["fields"]["job_progress"] == "0 of 0 (–)"

    def test_a_job_whose_process_died(self, admin_client):
        long_ago = timezone.now() - timedelta(hours=1)
        Job.objects.create(
            kind="rebuild", status="running", total=4, done=1, started_at=long_ago, heartbeat_at=long_ago
        )

        told = admin_client.get(STATUS).json()

        assert told["fields"]["job_left"] == "stopped; the next sync continues it"
        assert told["fields"]["job_state"] == "Waiting"
        assert told["bars"]["job"] == [1, 4]

    def test_a_job_without_a_known_total(self, admin_client):
        Job.objects.create(kind="reconcile", status="running", owner="elsewhere/1/1")

        told = admin_client.get(STATUS).json()

        assert told["bars"]["job"] is None
        assert told["fields"]["job_left"] == ""

    def test_waiting_changes_in_manual_mode_show_no_sync(self, admin_client, shop):
        assert admin_client.get(STATUS).json()["running"] is False

    @pytest.mark.usefixtures("thread")
    def test_changes_that_wait_are_shown_as_a_sync(self, admin_client, shop):
        told = admin_client.get(STATUS).json()

        assert told["running"] is True
        assert told["fields"]["job_kind"] == "sync"
        assert told["fields"]["job_progress"] == "1 change waits"
        assert told["bars"]["job"][0] == told["bars"]["job"][1] - 1
        assert told["fields"]["job_state"] == "Running now"

    @pytest.mark.usefixtures("thread")
    def test_changes_that_are_retried_wait(self, admin_client, shop):
        """The page must not say for hours, until the next attempt, that a sync is running, with the error."""
        later = timezone.now() + timedelta(hours=1)
        ItemState.objects.update(pending=True, attempts=3, error="There is no file.", not_before=later)

        fields = admin_client.get(STATUS).json()["fields"]

        assert (fields["job_state"], fields["job_kind"], fields["job_left"]) == ("Waiting", "sync", "There is no file.")

    def test_an_unavailable_index(self, admin_client, settings, shop):
        settings.IMAGESIM = {
            **settings.IMAGESIM,
            "INDEX": {
                "BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex",
                "OPTIONS": {"hosts": ["http://127.0.0.1:9"], "name": "down"},
            },
        }

        page = admin_client.get(PAGE)

        assert page.status_code == 200
        assert page.context["snapshot"]["shown"]["index_error"] is True
        assert page.context["snapshot"]["fields"]["index_entries"] == ""

    def test_an_index_with_other_entries_than_were_written_to_it(self, admin_client, shop):
        """The page must not say that 100 % of the items are in the index."""
        assert admin_client.get(STATUS).json()["shown"]["advice"] is False
        keys = [key for key, _version in get_index().scan()]
        get_index().write([Removal(key, ItemState.objects.latest("version").version + 1) for key in keys])
        ItemState.objects.update(synced_at=timezone.now() - timedelta(minutes=2))

        told = admin_client.get(STATUS).json()

        assert told["shown"]["advice"] is True
        assert told["fields"]["advice"].startswith("The index has 0 entries, but 2 items were written to it")

    def test_an_index_of_before_a_filter(self, admin_client, shop, monkeypatch):
        items = registry.for_model(Product)
        monkeypatch.setattr(items, "kinds", {**items.kinds, "season": "keyword"})
        told = admin_client.get(STATUS).json()
        advice = "Filters, texts or their analysis have changed since the index was made: rebuild it."
        assert told["fields"]["advice"] == advice

    def test_an_index_of_before_an_upgrade_with_other_weights(self, admin_client, settings, shop):
        """The page must not only show the name of the model, with no explanation, while photos are refused."""
        other = {**EMBEDDER, "OPTIONS": {"name": "another"}}
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": other}
        told = admin_client.get(STATUS).json()
        assert told["shown"]["index_error"] is False
        assert told["fields"]["advice"].startswith("The index was made with another model than that of the settings:")

        settings.IMAGESIM = {**settings.IMAGESIM, "PREVIOUS_EMBEDDERS": [EMBEDDER]}
        assert admin_client.get(STATUS).json()["shown"]["advice"] is False

    def test_before_the_first_sync(self, admin_client):
        told = admin_client.get(STATUS).json()

        assert told["fields"]["coverage"] == "–"
        assert told["fields"]["rebuild"] == "never"
        assert told["shown"]["index_error"] is True

    def test_in_another_language(self, admin_client, shop):
        with translation.override("de"):
            told = index_page.snapshot()

        assert told["fields"]["coverage"].endswith(" %")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (89 * 60, "89 minutes"),
        (90 * 60, "2 hours"),
        (7200, "2 hours"),
    ],
)
def test_durations(seconds, text):
    assert index_page._duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 0, "–"), (999, 1000, "99.9 %"), (2999, 3000, "99.9 %"), (5, 4, "100 %")]
)
def test_percentages_are_rounded_down(part, whole, text):
    assert index_page._percent(part, whole) == text


def test_the_result_of_the_latest_job():
    at = timezone.now()
    run = JobStatus("reconcile", "failed", 1, 2, 0, "", at, None, None, {"missing": 3, "first": True, "x": "y"}, "boom")

    text = index_page._latest(run)

    assert text.startswith("failed, ")
    assert text.endswith("boom; missing 3")
    with translation.override("de"):
        assert index_page._latest(run).endswith("boom; fehlend 3")


class TestJobs:
    def test_the_list_and_a_page(self, admin_client):
        run = Job.objects.create(
            kind="rebuild", status="done", total=4, done=4, report={"repaired": 1}, error="x" * 201
        )
        Job.objects.create(kind="reconcile", status="running", owner="elsewhere/1/1")

        text = text_of(admin_client.get(RUNS))
        assert "4 of 4" in text
        assert "…" in text
        page = admin_client.get(reverse("admin:imagesim_job_change", args=[run.pk]))
        assert "&quot;repaired&quot;: 1" in page.content.decode()
        assert admin_client.get(reverse("admin:imagesim_job_add")).status_code == 403

    def test_a_job_whose_process_died_waits(self, admin_client):
        job = Job.objects.create(kind="rebuild", slot="rebuild", status="running", owner="elsewhere/1/1")
        badge_of = '<span class="imagesim-badge" data-tone="waiting">{}</span>'.format
        assert badge_of("running") in admin_client.get(RUNS).content.decode()
        Job.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
        for page in (RUNS, reverse("admin:imagesim_job_change", args=[job.pk])):
            assert badge_of("waiting") in admin_client.get(page).content.decode()

    def test_the_history_says_who_paused_it(self, staff):
        client = staff("imagesim.view_job", "imagesim.rebuild_visualindex")
        job = Job.objects.create(kind="rebuild", slot="rebuild", status="running", owner="elsewhere/1/1")
        client.post(reverse("admin:imagesim_job_control", args=["rebuild", "pause"]), {"job": job.pk})
        history = text_of(client.get(reverse("admin:imagesim_job_history", args=[job.pk])))
        assert "staff Pause" in history


def test_badges():
    assert "unknown" in badge(None)
    assert 'data-tone="bad"' in badge(ItemState(outcome="failed", error="<b>", pending=True))
    assert "&lt;b&gt;" in badge(ItemState(outcome="failed", error="<b>"))
    assert 'data-tone="waiting"' in badge(ItemState(outcome="indexed", pending=True))
    assert 'data-tone="good"' in badge(ItemState(outcome="indexed", pending=False))
    assert 'data-tone="none"' in badge(ItemState(outcome="skipped", pending=False))
    assert shorten("one\ntwo") == "one"
    cause = "This is not a picture that can be read (it looks like HTML); send one of JPEG, PNG, WebP, AVIF, GIF, HEIC."
    assert shorten(f"products/2026/11/mountain-running-shoe-blue-42.jpg: {cause}").endswith(cause)
    assert registry.for_model(Product)


class TestRates:
    """Click-through rates, if the shop stores events."""

    def test_no_rates_while_events_are_disabled(self, admin_client):
        assert "Visitor events" not in admin_client.get(PAGE).content.decode()

    def test_click_through_by_place_position_and_category(self, admin_client, settings, monkeypatch):
        from imagesim import events
        from imagesim.admin import index_page

        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}
        assert "Nothing yet." in admin_client.get(PAGE).content.decode()
        shown = [product(f"boot-{n}") for n in range(3)]
        token = events.make_token("look", [Hit(item, 0.5, HitImage("", "")) for item in shown], categories=["<boots>"])
        seen = [
            {"token": token, "kind": "view", "item": f"shop.product:{item.pk}", "position": n}
            for n, item in enumerate(shown)
        ]
        events.store(seen)
        events.store([{**seen[0], "kind": "click"}])
        html = re.sub(r"\s+", " ", admin_client.get(PAGE).content.decode())
        assert '<th scope="row">Shop the look</th><td>3</td><td>1</td><td>0</td><td>33.3 %</td>' in html
        assert '<th scope="row">1</th><td>1</td><td>1</td><td>0</td><td>100.0 %</td>' in html
        assert '<th scope="row">3</th><td>1</td><td>0</td><td>0</td><td>0.0 %</td>' in html
        assert '<th scope="row">&lt;boots&gt;</th><td>3</td>' in html
        assert "At most the latest 500,000 events are counted." in html
        monkeypatch.setattr(index_page, "LATEST_EVENTS", 1)
        assert '<th scope="row">&lt;boots&gt;</th><td>0</td><td>1</td>' in admin_client.get(PAGE).content.decode()

    def test_clicks_without_views_have_no_rate(self):
        from imagesim import events
        from imagesim.admin.index_page import _row

        assert _row("x", events.EventCounts("x", 0, 2, 0))["click_through"] == "–"
