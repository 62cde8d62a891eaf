"""Staff preview a variant: the shop as its visitors see it, marked, and never counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from demo_shop.shop.models import Product
from imagesim.experiments import preview
from imagesim.experiments.models import Experiment, Exposure, Variant
from imagesim.indexing import jobs
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.sync import sync
from imagesim.insight.recorder import recorder
from tests import shop
from tests.shop import picture, product
from tests.test_experiments import PERSON, experiment, forget
from tests.test_experiments_standby import OTHER

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]
MARK = "Preview: you see the shop as visitors in variant B"
AGENT = {"user-agent": PERSON}


@pytest.fixture(autouse=True)
def _on(settings: Any, experiments_apply: None) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": shop.EMBEDDER, "EVENTS": True}


@pytest.fixture
def shelf() -> list[Product]:
    made = [product(name, picture(name)) for name in ("red", "darkred", "orange", "blue", "navy")]
    sync()
    return made


def begin(client: Client, made: Experiment, letter: str = "B") -> Any:
    return client.post(reverse("admin:imagesim_experiments_preview", args=[made.pk]), {"variant": letter}, follow=True)


def results(client: Client, item: Product) -> dict[str, Any]:
    found: dict[str, Any] = client.get(
        reverse("imagesim:similar", args=["shop.product", item.pk]), headers=AGENT
    ).json()
    return found


@pytest.mark.parametrize("start", [False, True])
def test_staff_see_what_its_visitors_do_and_are_not_counted(admin_client, client, shelf, start):
    made = experiment({"min_relevance": 1.0}, start=start)
    usual = results(admin_client, shelf[0])["results"]  # in either variant, where it runs
    recorder().flush()
    before = Exposure.objects.count()
    assert before == start
    answer = begin(admin_client, made)
    assert "You see the shop as visitors in variant B" in answer.content.decode()
    assert "End the preview" in answer.content.decode()
    assert MARK not in answer.content.decode()  # it is not a page of the shop
    found = results(admin_client, shelf[0])
    assert (found["results"], found["token"]) == ([], "")
    assert len(results(client, shelf[0])["results"]) == 4  # nobody else is affected; without a session, nothing changes
    page = admin_client.get(f"/product/{shelf[0].slug}/", headers=AGENT)
    assert MARK in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert MARK not in client.get(f"/product/{shelf[0].slug}/", headers=AGENT).content.decode()
    recorder().flush()
    assert Exposure.objects.count() == before
    answer = begin(admin_client, made, "")
    assert "The preview has ended." in answer.content.decode()
    assert results(admin_client, shelf[0])["results"] == usual


def with_nonce(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """As Django's middleware and that of django-csp set it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request._csp_nonce = "r4nd0m"
        return get_response(request)

    return middleware


def test_its_bar_has_the_nonce_of_the_page(admin_client, shelf, settings):
    begin(admin_client, experiment({"min_relevance": 1.0}, start=False))
    assert '<link rel="stylesheet" href="/static/imagesim_experiments/' in admin_client.get("/").content.decode()
    settings.MIDDLEWARE = ["tests.test_experiments_preview.with_nonce", *settings.MIDDLEWARE]
    admin_client.handler.load_middleware()
    assert '<link rel="stylesheet" nonce="r4nd0m" href="/static/' in admin_client.get("/").content.decode()


def test_only_where_the_variant_applies(admin_client, shelf):
    begin(admin_client, experiment({"min_relevance": 1.0}, start=False, where=["words"]))
    assert len(results(admin_client, shelf[0])["results"]) == 4


def test_it_ends_with_the_logout_and_not_with_the_next_search(admin_client, shelf):
    begin(admin_client, experiment({"min_relevance": 1.0}, start=False))
    page = f"/product/{shelf[0].slug}/"
    assert MARK in admin_client.get(page, headers=AGENT).content.decode()
    admin_client.post(reverse("admin:logout"))
    assert not admin_client.cookies[preview.COOKIE].value
    assert MARK not in admin_client.get(page, headers=AGENT).content.decode()


def test_it_ends_with_the_session_though_nothing_is_searched(admin_client, shelf):
    begin(admin_client, experiment({"min_relevance": 1.0}, start=False))
    assert MARK in admin_client.get("/", headers=AGENT).content.decode()
    Session.objects.all().delete()
    assert MARK not in admin_client.get("/", headers=AGENT).content.decode()
    assert not admin_client.cookies[preview.COOKIE].value


def test_it_needs_the_permission_at_each_search(client, shelf):
    user = get_user_model().objects.create_user("editor", password="x", is_staff=True)
    made = experiment({"min_relevance": 1.0}, start=False)
    client.force_login(user)
    assert begin(client, made).status_code == 403
    for codename in ("change_experiment", "view_experiment"):
        permission = Permission.objects.get(codename=codename)
        user.user_permissions.set([permission])
        begin(client, made)
        assert results(client, shelf[0])["results"] == []
    user.user_permissions.clear()
    assert len(results(client, shelf[0])["results"]) == 4
    assert preview.COOKIE not in {name for name, each in client.cookies.items() if each.value}
    user.user_permissions.add(permission)
    begin(client, made)
    kept = client.cookies[preview.COOKIE].value
    client.logout()
    client.cookies[preview.COOKIE] = kept
    assert len(results(client, shelf[0])["results"]) == 4
    client.force_login(get_user_model().objects.create_superuser("other"))
    client.cookies[preview.COOKIE] = kept
    assert len(results(client, shelf[0])["results"]) == 4
    client.cookies[preview.COOKIE] = f"{kept}x"
    page = client.get(f"/product/{shelf[0].slug}/", headers=AGENT)
    assert "Preview:" not in page.content.decode()


def test_visitors_cost_nothing_more(client, shelf):
    def statements() -> int:
        with CaptureQueriesContext(connection) as asked:
            results(client, shelf[0])
        return len(asked)

    statements()
    before = statements()
    experiment({"min_relevance": 1.0}, start=False)
    forget()
    statements()
    assert statements() == before


def test_the_index_on_standby(admin_client, shelf, settings):
    made = experiment({"standby": True}, start=False)
    assert "cannot be previewed now" in begin(admin_client, made).content.decode()
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [shop.EMBEDDER]}
    before = results(admin_client, shelf[0])["results"]
    rebuild(hold=True)
    begin(admin_client, made)
    assert results(admin_client, shelf[0])["results"] != before
    jobs.cancel(jobs.standby())
    assert results(admin_client, shelf[0])["results"] == before
    page = admin_client.get(f"/product/{shelf[0].slug}/", headers=AGENT)
    assert "cannot be previewed now: you see the shop as it is" in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_on_an_asynchronous_server(shelf, async_client):
    made = experiment({"min_relevance": 1.0}, start=False)
    async_client.force_login(get_user_model().objects.create_superuser("chief"))

    async def pages() -> dict[str, str]:
        address = reverse("admin:imagesim_experiments_preview", args=[made.pk])
        await async_client.post(address, {"variant": "B"})
        found = {}
        for path in (f"/product/{shelf[0].slug}/", "/", reverse("admin:index")):
            page = await async_client.get(path, headers=AGENT)
            found[path] = page.content.decode()
        return found

    assert [MARK in content for content in async_to_sync(pages)().values()] == [True, True, False]
    Session.objects.all().delete()
    assert MARK not in async_to_sync(async_client.get)("/", headers=AGENT).content.decode()


def test_a_variant_that_was_deleted(admin_client, shelf):
    made = experiment({"min_relevance": 1.0}, start=False)
    begin(admin_client, made)
    Variant.objects.all().delete()
    assert len(results(admin_client, shelf[0])["results"]) == 4
