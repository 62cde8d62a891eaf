from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import types
from datetime import timedelta
from unittest.mock import Mock

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.base import BaseHandler
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.urls import include, path, resolve
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

import imagesim
from imagesim import metrics
from imagesim.conf import get_settings
from imagesim.embedders import get_embedder
from imagesim.embedders.model_files import CONFIG
from imagesim.exceptions import BadQuery, EmbedderError, IndexUnavailable, QueryTimeout, SearchIndexError
from imagesim.indexes import get_index
from imagesim.indexing.sync import sync
from imagesim.items.registry import get_items
from imagesim.language.analysis import ANALYSIS
from imagesim.language.stemmers import snowball_version
from imagesim.models import ItemState
from imagesim.monitoring import health, status
from tests.shop import EMBEDDER, drop_index, forget, index_setting, picture, product

DOWN = {
    "BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex",
    "OPTIONS": {"hosts": ["http://127.0.0.1:9"], "name": "down"},
}


@pytest.fixture(autouse=True)
def _set_up(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}
    urlconf = types.ModuleType("monitoring_urls")
    urlconf.urlpatterns = [path("visual/", include("imagesim.urls"))]
    settings.ROOT_URLCONF = urlconf


@pytest.fixture
def shop(media_root, db):
    made = [product("shoe", picture("red")), product("boot", picture("blue")), product("broken", b"no picture")]
    sync()
    return made


class TestHealth:
    def test_everything_works(self, client, shop):
        answer = client.get("/visual/health/")

        assert answer.status_code == 200
        checks = {"database": "ok", "queue": "ok", "index": "ok", "model": "ok"}
        assert answer.json() == {"status": "ok", "checks": checks}
        assert "no-store" in answer["Cache-Control"]

    def test_a_monitor_needs_no_login(self, client, shop, settings):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        assert [client.get(f"/visual/{name}/").status_code for name in ("live", "health", "metrics")] == [200, 200, 302]

    def test_no_page_is_in_a_transaction_of_the_request(self, monkeypatch):
        """It could not begin while the database is down."""
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        for name in ("live", "health", "metrics"):
            view = resolve(f"/visual/{name}/").func
            assert BaseHandler().make_view_atomic(view) is view

    def test_texts_declared_after_the_index_was_made(self, shop, monkeypatch):
        """Words are not found in what the index does not hold; a sync must not just say "Synced 0"."""
        assert status.get_status().index.outdated == ""
        items = get_items("shop.product")
        monkeypatch.setattr(type(items), "text", {**items.text, "slug": 1} if items.text else {"name": 3, "slug": 1})
        items.__dict__.pop("text_specs", None)
        try:
            assert status.get_status().index.outdated == "text"
            assert [check.state for check in health.get_health() if check.name == "index"] == ["degraded"]
            out = io.StringIO()
            call_command("imagesim_status", stdout=out)
            assert "the index was made with other text; run `manage.py imagesim_rebuild`" in out.getvalue()
            call_command("imagesim_sync", stdout=(synced := io.StringIO()))
            assert "The index was made with other text: run `manage.py imagesim_rebuild`." in synced.getvalue()
        finally:
            items.__dict__.pop("text_specs", None)

    @pytest.mark.parametrize("upgraded", ["imagesim", "snowballstemmer"])
    def test_texts_analysed_by_another_version(self, shop, monkeypatch, upgraded):
        """After an upgrade, the status must not say "other text" to shops that have changed none."""
        if upgraded == "imagesim":
            monkeypatch.setattr("imagesim.indexing.write_targets.ANALYSIS", ANALYSIS + 1)
        else:
            major, minor = snowball_version()
            newer = f"{major}.{minor + 1}.0"
            monkeypatch.setattr("imagesim.language.stemmers.version", {"snowballstemmer": newer}.__getitem__)
        assert status.get_status().index.outdated == "analysis of texts"
        call_command("imagesim_status", stdout=(out := io.StringIO()))
        assert "the index was made with other analysis of texts; run `manage.py imagesim_rebuild`" in out.getvalue()

    @pytest.mark.parametrize("error", [QueryTimeout("too slow"), SearchIndexError("the key was refused")])
    def test_an_index_that_refuses_or_is_too_slow(self, client, shop, monkeypatch, error):
        def refuse(*arguments, **options):
            raise error

        monkeypatch.setattr(type(get_index()), "count", refuse)
        assert status.get_status().index.error == str(error)
        answer = client.get("/visual/metrics/")
        assert answer.status_code == 200
        assert answer["Content-Type"] == CONTENT_TYPE_LATEST  # Prometheus rejects an answer of another type
        assert "imagesim_index_up 0.0" in answer.content.decode()

    def test_an_alias_of_several_indexes(self, shop, settings, elasticsearch_url):
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": index_setting("elasticsearch", elasticsearch_url)}
        sync()
        index = get_index()
        index._client.indices.put_alias(index=index.create(index.meta()), name=index.name)
        forget()
        try:
            (failing,) = (check for check in health.get_health() if check.state != "ok")
            assert "points to several indexes" in failing.detail
            output = io.StringIO()
            call_command("imagesim_status", stdout=output)
            assert failing.detail in output.getvalue()
        finally:
            drop_index()

    def test_the_settings_name_another_model(self, client, shop, settings):
        """Photos and words are refused, and no new picture is indexed."""
        other = {**EMBEDDER, "OPTIONS": {"name": "another"}}
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": other}
        answer = client.get("/visual/health/")
        assert (answer.status_code, answer.json()["checks"]["index"]) == (503, "failing")
        settings.IMAGESIM = {**settings.IMAGESIM, "PREVIOUS_EMBEDDERS": [EMBEDDER]}
        assert client.get("/visual/health/").json()["status"] == "ok"

    @pytest.mark.long
    def test_a_model_that_cannot_be_loaded(self, client, shop, settings, tmp_path, local_clip, admin_user):
        """Photos are refused, and words are answered by texts alone."""
        shutil.copy(local_clip / CONFIG, tmp_path)  # without weights
        options = {"model": f"local-dir:{tmp_path}"}
        local = {"BACKEND": "imagesim.embedders.openclip.OpenClipEmbedder", "OPTIONS": options}
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": EMBEDDER, "PREVIOUS_EMBEDDERS": [local]}
        assert client.get("/visual/health/").json()["checks"]["model"] == "ok"
        with pytest.raises(EmbedderError):
            get_embedder(get_settings().PREVIOUS_EMBEDDERS[0]).embed_texts(["red"])
        client.force_login(admin_user)
        answer = client.get("/visual/health/")
        assert (answer.status_code, answer.json()["checks"]["model"]) == (503, "failing")
        assert "cannot be loaded" in answer.json()["details"]["model"]

    @pytest.mark.parametrize("address", ["/visual/health/", "/visual/live/", "/visual/metrics/"])
    def test_only_get_is_allowed(self, client, db, address):
        assert client.post(address).status_code == 405
        assert client.head(address).status_code == 200

    def test_before_the_first_index(self, client, db):
        answer = client.get("/visual/health/")

        assert answer.status_code == 200
        assert answer.json()["status"] == "degraded"
        assert answer.json()["checks"]["index"] == "degraded"

    def test_a_change_waits_too_long(self, client, shop):
        long_ago = timezone.now() - timedelta(seconds=301)
        ItemState.objects.filter(object_pk=str(shop[0].pk)).update(
            pending=True, changed_at=long_ago, not_before=long_ago
        )

        answer = client.get("/visual/health/")

        assert answer.status_code == 200
        assert answer.json()["checks"]["queue"] == "degraded"

    def test_a_change_with_a_delay_is_not_a_fault(self, client, shop):
        ItemState.objects.update(
            pending=True,
            changed_at=timezone.now() - timedelta(days=1),
            not_before=timezone.now() + timedelta(minutes=1),
        )

        assert client.get("/visual/health/").json()["checks"]["queue"] == "ok"

    def test_a_change_that_the_index_refuses_again_and_again(self, client, shop, admin_user):
        """For instance when the disk is full: it is never due for long, but still waiting."""
        ItemState.objects.filter(object_pk=str(shop[0].pk)).update(
            pending=True,
            changed_at=timezone.now() - timedelta(seconds=400),
            not_before=timezone.now() + timedelta(minutes=1),
            attempts=3,
            error="the disk is full",
        )
        client.force_login(admin_user)
        answer = client.get("/visual/health/").json()
        assert answer["checks"]["queue"] == "degraded"
        assert re.fullmatch(r"The oldest change .* 40\d s: the disk is full", answer["details"]["queue"])
        call_command("imagesim_status", stdout=(out := io.StringIO()))
        assert re.search(r"pending    1 \(the oldest one for 40\d s\): the disk is full", out.getvalue())

    def test_an_unavailable_index(self, client, shop, settings, admin_user, caplog):
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": DOWN}

        answer = client.get("/visual/health/")
        client.get("/visual/health/")
        (record,) = (record for record in caplog.records if record.name in ("imagesim.health", "django.request"))
        assert re.match("The index is failing: .*127.0.0.1:9", record.getMessage())
        assert answer.status_code == 503
        assert answer.json()["checks"] == {"database": "ok", "queue": "ok", "index": "failing", "model": "ok"}
        assert "details" not in answer.json()  # details are for the staff

        client.force_login(admin_user)
        assert client.get("/visual/health/").json()["details"]["index"]
        assert client.get("/visual/live/").json() == {"status": "ok"}  # the shop stays in service

    def test_an_unavailable_database(self, rf, monkeypatch):
        def fail(*args: object) -> None:
            raise DatabaseError("gone")

        monkeypatch.setattr(ItemState.objects, "exists", fail)
        monkeypatch.setattr(ItemState.objects, "filter", fail)
        monkeypatch.setattr(type(get_index()), "meta", fail)

        class User:
            @property
            def is_active(self) -> bool:
                raise DatabaseError("gone")

        request = rf.get("/")
        request.user = User()
        answer = health.health_view(request)

        assert answer.status_code == 503
        failing = dict.fromkeys(("database", "queue", "index"), "failing")
        assert json.loads(answer.content)["checks"] == {**failing, "model": "ok"}

    @pytest.mark.parametrize("error", [None, ConnectionError("no Redis")])
    def test_users_of_another_model_and_of_a_session_that_is_gone(self, rf, shop, error):
        class User:
            @property
            def is_active(self) -> bool:
                if error:
                    raise error
                return True

        request = rf.get("/")
        request.user = User()
        answer = health.health_view(request)

        assert answer.status_code == 200
        assert "details" not in json.loads(answer.content)

    def test_an_unexpected_error_is_a_failure_and_logged(self, monkeypatch, caplog, db):
        def fail(self: object) -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(type(get_index()), "ping", fail)

        check = next(each for each in health.get_health() if each.name == "index")

        assert (check.state, check.detail) == ("failing", "ZeroDivisionError")
        assert "The check of the index failed" in caplog.text

    def test_the_worst_state_counts(self):
        checks = [health.Check("a", "ok"), health.Check("b", "degraded")]

        assert health.worst(checks) == "degraded"
        assert health.worst([*checks, health.Check("c", "failing")]) == "failing"


def samples(response) -> dict[tuple[str, str, str], float]:
    families = text_string_to_metric_families(response.content.decode())
    return {
        (sample.name, sample.labels.get("kind", ""), sample.labels.get("outcome", "")): sample.value
        for family in families
        for sample in family.samples
        if "le" not in sample.labels
    }


class TestMetrics:
    def test_gauges_of_the_status(self, client, shop):
        product("late", picture("green"))

        found = samples(client.get("/visual/metrics/"))

        assert found["imagesim_items", "", ""] == 4
        assert found["imagesim_items_indexed", "", ""] == 2
        assert found["imagesim_items_failed", "", ""] == 1
        assert found["imagesim_items_skipped", "", ""] == 0
        assert found["imagesim_changes_pending", "", ""] == 1
        assert found["imagesim_queue_age_seconds", "", ""] > 0
        assert found["imagesim_embeddings", "", ""] == 2
        assert found["imagesim_index_up", "", ""] == 1
        assert found["imagesim_index_entries", "", ""] == 2

    def test_an_unavailable_index(self, client, shop, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": DOWN}

        found = samples(client.get("/visual/metrics/"))

        assert found["imagesim_index_up", "", ""] == 0
        assert ("imagesim_index_entries", "", "") not in found

    def test_queries_and_embeddings_are_counted(self, client, shop):
        before = samples(client.get("/visual/metrics/"))

        imagesim.similar_to(shop[0])
        imagesim.search(image=picture("red"))
        with pytest.raises(BadQuery):
            imagesim.search(text="")
        product("more", picture("green"))
        sync()

        after = samples(client.get("/visual/metrics/"))
        for name, kind, outcome, more in [
            ("imagesim_search_seconds_count", "similar", "ok", 1),
            ("imagesim_search_seconds_count", "search", "ok", 1),
            ("imagesim_search_seconds_count", "search", "bad_query", 1),
            ("imagesim_embed_seconds_count", "query", "ok", 1),
            ("imagesim_embed_seconds_count", "batch", "ok", 1),
        ]:
            key = (name, kind, outcome)
            assert after[key] == before.get(key, 0) + more, key
        assert after["imagesim_search_seconds_sum", "search", "ok"] > 0

    def test_other_events_are_not_counted(self):
        metrics.observe("weather.report", 1.0, "ok")
        metrics.connect()

        assert metrics.observers.count(metrics.observe) == 1

    @pytest.mark.slow
    def test_several_processes(self, client, shop, tmp_path, monkeypatch):
        """What another process measured is in the answer of this one."""
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        code = (
            "import django; django.setup()\n"
            "from imagesim import metrics\n"
            "metrics.observe('search.similar', 0.25, 'ok')\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)

        found = samples(client.get("/visual/metrics/"))

        assert found["imagesim_search_seconds_sum", "similar", "ok"] == 0.25
        assert found["imagesim_items_indexed", "", ""] == 2

    @pytest.mark.parametrize("error", [OperationalError("refused\n\tIs the server running?"), InterfaceError("closed")])
    def test_while_the_database_is_down(self, client, shop, monkeypatch, caplog, error):
        """Prometheus would drop an answer with 500, and with it the times that the process has measured."""
        imagesim.similar_to(shop[0])
        assert b"\nimagesim_database_up 1.0\n" in client.get("/visual/metrics/").content
        monkeypatch.setattr(health, "get_status", Mock(side_effect=error))
        monkeypatch.setattr(health.ItemState.objects, "exists", Mock(side_effect=error))
        assert client.get("/visual/health/").json()["checks"]["database"] == "failing"
        answer = client.get("/visual/metrics/")
        assert answer.status_code == 200
        assert b"\nimagesim_database_up 0.0\n" in answer.content
        assert b"imagesim_items" not in answer.content
        assert b'imagesim_search_seconds_count{kind="similar",outcome="ok"}' in answer.content
        assert [each.levelname for each in caplog.records] == ["WARNING", "WARNING"]
        assert not any("\n" in message for message in caplog.messages)

    @pytest.mark.slow
    @pytest.mark.long
    def test_without_the_package(self):
        """Neither the app nor its addresses need prometheus_client."""
        code = (
            "import sys\n"
            "import importlib.util as util\n"
            "find = util.find_spec\n"
            "util.find_spec = lambda name, *rest: None if name == 'prometheus_client' else find(name, *rest)\n"
            "sys.modules['prometheus_client'] = None\n"
            "import django; django.setup()\n"
            "from imagesim import urls\n"
            "assert [pattern.name for pattern in urls.urlpatterns] == ['live', 'health']\n"
        )

        subprocess.run([sys.executable, "-c", code], check=True)


class TestTiming:
    @pytest.fixture
    def seen(self, monkeypatch):
        seen: list[tuple[str, str]] = []
        monkeypatch.setattr(metrics, "observers", [lambda event, seconds, outcome: seen.append((event, outcome))])
        return seen

    def test_every_outcome_is_reported(self, seen, caplog):
        @metrics.timed("search.x")
        def answer(error: Exception | None = None) -> int:
            """A backend that answers three."""
            if error:
                raise error
            return 3

        with caplog.at_level(logging.DEBUG, "imagesim.timing"):
            assert answer() == 3
        with pytest.raises(IndexUnavailable):
            answer(IndexUnavailable("down"))
        with pytest.raises(KeyboardInterrupt):
            answer(KeyboardInterrupt())
        with pytest.raises(ValueError, match="x"):
            answer(ValueError("x"))

        assert seen == [
            ("search.x", "ok"),
            ("search.x", "index_unavailable"),
            ("search.x", "error"),
            ("search.x", "error"),
        ]
        assert answer.__doc__ == "A backend that answers three."
        assert caplog.records[0].event_name == "search.x"
        assert caplog.records[0].outcome == "ok"
        assert "search.x took" in caplog.text

    def test_an_observer_that_fails_is_logged_and_the_rest_goes_on(self, seen, caplog):
        def fail(event: str, seconds: float, outcome: str) -> None:
            raise OSError("the folder of the figures is gone")

        metrics.observers.insert(0, fail)
        with metrics.timed("search.x"):
            pass

        assert seen == [("search.x", "ok")]
        assert "the folder of the figures is gone" in caplog.text

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("media_root")
    def test_the_async_variant_is_timed_once(self, seen):
        shoe = product("shoe", picture("red"))
        sync()
        seen.clear()

        async_to_sync(imagesim.asimilar_to)(shoe)

        assert seen == [("search.similar", "ok")]
