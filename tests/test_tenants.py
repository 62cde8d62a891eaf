"""django-tenants on PostgreSQL: each tenant has separate tables and a separate index, by its schema in the name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings as django_settings

from demo_shop.shop.models import Category, Product
from imagesim.checks import check_tenants
from imagesim.indexes import get_index
from imagesim.indexes.elasticsearch import ElasticsearchIndex
from imagesim.items.registry import registry
from imagesim.retrieval.filters import categories_of
from tests.shop import product

ROOT = Path(__file__).resolve().parent.parent

MODELS = """
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin

class Client(TenantMixin):
    name = models.CharField(max_length=100)
    auto_create_schema = True

class Domain(DomainMixin):
    pass
"""
SETTINGS = """
import json, os
from tests.settings import *

DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"
DATABASES["default"]["NAME"] = os.environ["DATABASE"]
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED = os.environ.get("SHARED", "").split()
SHARED_APPS = ["django_tenants", "customers", "django.contrib.contenttypes", *SHARED]
TENANT_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "demo_shop.shop", "imagesim"]
TENANT_APPS += os.environ.get("APPS", "").split()
TENANT_APPS = [name for name in TENANT_APPS if name not in SHARED]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS[1:]]
STORAGES = {
    "default": {"BACKEND": os.environ.get("STORAGE", "django.core.files.storage.FileSystemStorage")},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
TENANT_MODEL, TENANT_DOMAIN_MODEL = "customers.Client", "customers.Domain"
MEDIA_ROOT = os.environ["SHOP"]
IMAGESIM = {
    "SYNC": "manual",
    "EMBEDDER": {"BACKEND": "imagesim.testing.embedders.PixelEmbedder"},
    "INDEX": json.loads(os.environ["INDEX"]),
}
"""
ASK = """
import django; django.setup()
from django.core.management import call_command
call_command("makemigrations", "customers", verbosity=0)
call_command("migrate_schemas", shared=True, verbosity=0)
from customers.models import Client
from django_tenants.utils import schema_context
import imagesim
from demo_shop.shop.models import Product
from imagesim.pages import widgets
from imagesim.checks import check_tenants
from imagesim.indexes import get_index
from imagesim.indexing.rebuild import rebuild, swap
from imagesim.indexing.sync import sync
from imagesim.indexing.reconcile import reconcile
from imagesim.monitoring.status import get_status
from imagesim.pages.thumbnails import _stored
from tests.shop import picture, product

names = {"acme": ["red shoe", "dark boot"], "zeta": ["green hat", "blue cap", "pink coat"]}
for schema in names:
    Client.objects.create(schema_name=schema, name=schema)
for schema, titles in names.items():
    with schema_context(schema):
        made = [product(title.replace(" ", "-"), picture("red", mark=n)) for n, title in enumerate(titles)]
        assert sync().indexed == len(titles)
        get_index().refresh()
        assert _stored(made[0].photos.get().file, 320)
for schema in names:  # in one storage
    with schema_context(schema):
        assert reconcile().report["thumbnails"] == 0
for schema, titles in [*names.items(), *names.items()]:  # back and forth, in one process
    with schema_context(schema):
        slugs = sorted(title.replace(" ", "-") for title in titles)
        assert schema in get_index().name, get_index().name
        first = Product.objects.order_by("pk")[0]  # of the same key in both
        for hits in (imagesim.similar_to(first), widgets.similar_hits(first, timeout=60)):
            assert sorted([first.slug, *(hit.item.slug for hit in hits)]) == slugs, (schema, hits)
        found = imagesim.search(image=picture("red"))
        assert sorted(hit.item.slug for hit in found) == slugs, found
        status = get_status()
        assert (status.items, status.index.entries) == (len(titles), len(titles)), status
with schema_context("acme"):
    held = rebuild(hold=True).target  # an index on standby is that of its tenant
    product("late-sock", picture("red"))
    sync()
    get_index().refresh(held)
    assert get_status().standby.entries == 3, get_status()
with schema_context("zeta"):
    assert get_status().standby is None
    assert held not in get_index().backing_indexes()
    assert rebuild().status == "done"
with schema_context("acme"):
    assert get_status().standby.backing_index == held == swap().target == get_index().active()
    assert get_index().backing_indexes() == [held]
    call_command("imagesim_clear", "--noinput", verbosity=0)
with schema_context("zeta"):
    assert get_status().index.entries == 3
    call_command("imagesim_rebuild", verbosity=0)
    call_command("imagesim_clear", "--noinput", verbosity=0)
"""


THREADS = """
import django; django.setup()
import time
from django.core.management import call_command
call_command("makemigrations", "customers", verbosity=0)
call_command("migrate_schemas", shared=True, verbosity=0)
from customers.models import Client
from django_tenants.utils import tenant_context
from imagesim.indexing import jobs
from imagesim.indexing.sync import sync
from imagesim.models import Job
from tests.shop import picture, product

jobs.BEAT_SECONDS = 0.05
for schema in ("acme", "zeta"):
    tenant = Client.objects.create(schema_name=schema, name=schema)
    with tenant_context(tenant):
        assert f"/{schema}/" in product("shoe", picture("red")).photos.get().file.path
        assert sync().indexed == 1
        job = jobs.start(Job.Kind.RECONCILE)
        began = job.heartbeat_at
        with jobs.kept_alive(job):
            deadline = time.monotonic() + 60
            while job.heartbeat_at == began and time.monotonic() < deadline:
                time.sleep(0.05)
                job.refresh_from_db()
        assert job.heartbeat_at > began
"""


APPS = """
import django; django.setup()
import json, time
from django.core.management import call_command
call_command("makemigrations", "customers", verbosity=0)
call_command("migrate_schemas", shared=True, verbosity=0)
from customers.models import Client
from django.db import transaction
from django_tenants.utils import schema_context
from demo_shop.shop.models import Product
from imagesim.checks import check_tenants
from imagesim.events import Answer
from imagesim.insight.models import Search
from imagesim.insight.recorder import recorder, to_row
from imagesim.merchandising import engine
from imagesim.merchandising.models import Rule

for schema in ("acme", "zeta"):
    Client.objects.create(schema_name=schema, name=schema)

def rules():
    return sorted({ready.rule.name for each in engine.rules.current().by_trigger.values() for ready in each})

def ask(number, text):
    recorder().add(to_row(Answer(f"r{number}", "words", text, "", "", 0, 12, ("shop.product:1",), 1, 0.5)))

# Rules: a change in one schema reaches that one, also if it is committed elsewhere; the index has one name for all.
for schema in ("acme", "zeta"):
    with schema_context(schema):
        assert rules() == [], rules()
with transaction.atomic():
    with schema_context("acme"):
        Rule.objects.create(name="only acme", action="message", message="Hello")
    with schema_context("zeta"):
        Product.objects.count()
for schema, names in {"acme": ["only acme"], "zeta": [], "public": None}.items():
    if names is not None:
        with schema_context(schema):
            assert rules() == names, (schema, rules())
with schema_context("zeta"):
    Rule.objects.create(name="only zeta", action="message", message="Hello")
    assert rules() == ["only zeta"], rules()
with schema_context("acme"):
    assert rules() == ["only acme"], rules()

# Answers of several tenants in one buffer, written by the recorder's own thread.
for number in range(50):
    with schema_context(("acme", "zeta")[number % 2]):
        ask(number, ("acme", "zeta")[number % 2])
with schema_context("gone"):
    ask(99, "of a tenant that was dropped")
deadline = time.monotonic() + 60
found = {}
while found != {"acme": 25, "zeta": 25} and time.monotonic() < deadline:
    time.sleep(0.1)
    for schema in ("acme", "zeta"):
        with schema_context(schema):
            assert set(Search.objects.values_list("text", flat=True)) <= {schema}
            found[schema] = Search.objects.count()
assert found == {"acme": 25, "zeta": 25}, found
for _time in range(600):
    if recorder().dropped == 1:
        break
    time.sleep(0.1)
assert recorder().dropped == 1, recorder().dropped
assert check_tenants() == []
"""


START = """
import django; django.setup()
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings
call_command("makemigrations", "customers", verbosity=0)
call_command("migrate_schemas", shared=True, verbosity=0)
from customers.models import Client
from django_tenants.utils import schema_context
import imagesim
from demo_shop.shop.models import Product
from imagesim.checks import check_tenants
from imagesim.database import after_commit
from imagesim.exceptions import SearchIndexError
from imagesim.indexes import get_index
from imagesim.indexing import dispatch
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.models import ItemState
from imagesim.runtime import runtime
from tests.shop import picture, product

for schema in ("acme", "zeta"):
    Client.objects.create(schema_name=schema, name=schema)
"""


UPGRADE = """
index = settings.IMAGESIM["INDEX"]
before = {**index, "OPTIONS": {**index.get("OPTIONS", {}), "name": lambda: "imagesim"}}  # as when it was shared
with override_settings(IMAGESIM={**settings.IMAGESIM, "INDEX": before}):
    for schema in ("acme", "zeta"):
        with schema_context(schema):
            product(f"{schema}-shoe", picture("red"))
            assert (sync().embedded, get_index().name) == (1, "imagesim")
for schema in ("acme", "zeta"):
    with schema_context(schema):
        assert (get_index().name, get_index().active()) == (f"imagesim-{schema}", None)
        report = sync()
        assert (report.indexed, report.embedded, report.opened) == (1, 0, 0), report
        assert [hit.item.slug for hit in imagesim.search(image=picture("red"))] == [f"{schema}-shoe"]
assert get_index().name == "imagesim"  # nothing works in the public schema
types = {"public": {"APPS": settings.SHARED_APPS}, "shop": {"APPS": settings.TENANT_APPS}}
with override_settings(HAS_MULTI_TYPE_TENANTS=True, TENANT_TYPES=types), schema_context("acme"):
    assert get_index().name == "imagesim-acme"  # although the type of the tenant is not known here
"""


MESSAGES = """
sent = []

class Messages(dispatch.MessageDispatcher):
    WAKE_INTERVAL = 60.0

    def send(self, task, arguments, **options):
        sent.append(connection.schema_name)
        return True

runtime.get((dispatch.Dispatcher, "manual"), Messages)
for schema in ("acme", "zeta", "acme", "zeta"):
    with schema_context(schema):
        product(f"shoe-{len(sent)}")
assert sent == ["acme", "zeta"] * 2, sent
runtime.reset()
runtime.get((dispatch.Dispatcher, "manual"), Messages)
with transaction.atomic():
    for schema in ("acme", "zeta"):
        with schema_context(schema):
            for each in Product.objects.all():
                each.save()
    assert len(sent) == 4, sent
assert sent == ["acme", "zeta"] * 3, sent

called = []
with transaction.atomic():
    with schema_context("acme"):
        after_commit(None, lambda: called.append(connection.schema_name))
assert (called, connection.schema_name) == (["acme"], "public"), called
"""


PUBLIC = """
from unittest import TestCase
from imagesim.checks.deployment import check_index
from imagesim.warm_up import warm_up

def refused():
    try:
        get_index().meta()
    except SearchIndexError as error:
        return str(error)

# Only the tenants have an index.
assert check_index() == []
assert "all_tenants_command" in refused() and "imagesim_rebuild" not in refused(), refused()
with TestCase().assertNoLogs("imagesim", "WARNING"):
    warm_up()
with schema_context("acme"):
    assert [found.id for found in check_index()] == ["imagesim.W010"]
    assert "imagesim_sync" in refused(), refused()
for name in ("imagesim_sync", "imagesim_rebuild", "imagesim_status"):
    try:
        call_command(name, verbosity=0)
    except CommandError as error:
        assert "all_tenants_command" in str(error) and "manage.py migrate" not in str(error), error
    else:
        raise AssertionError(name)
with override_settings(IMAGESIM={**settings.IMAGESIM, "SYNC": "celery"}):
    dispatch._poll(None)  # needs no timer, because nothing is to be polled

# Each tenant indexes products that all share.
shoe = product("shoe", picture("red"))
for schema in ("acme", "zeta"):
    with schema_context(schema):
        assert sync().indexed == 1
shoe.price = 12
with transaction.atomic():
    shoe.save()
    assert imagesim.touch(shoe) == 0
for schema in ("acme", "zeta"):
    with schema_context(schema):
        assert not ItemState.objects.filter(pending=True).exists()
        assert reconcile().report["stale"] == 1
        get_index().refresh()
        assert len(imagesim.search(image=picture("red"), filters={"price": 12})) == 1
        call_command("imagesim_clear", "--noinput", verbosity=0)
"""


ONE_CATALOGUE = """
assert {found.id for found in check_tenants()} == {"imagesim.W024"}
shoe = product("shoe", picture("red"))
assert sync().indexed == 1
with schema_context("acme"):
    assert get_index().name == "imagesim"
    assert len(imagesim.search(image=picture("red"))) == 1
    shoe.delete()
assert sync().removed == 1
"""


def run_for_tenants(script: str, postgres: str, folder: Path, index: dict[str, object], **more: str) -> None:
    """Run a script in a project with django-tenants, on a separate database."""
    pytest.importorskip("django_tenants")
    name = f"tenants_{uuid.uuid4().hex[:8]}"
    (folder / "customers").mkdir()
    for file, text in {"customers/__init__": "", "customers/models": MODELS, "tenant_settings": SETTINGS}.items():
        (folder / f"{file}.py").write_text(text)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tenant_settings",
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "SHOP": str(folder),
        "DATABASE": name,
        "INDEX": json.dumps(index),
        **more,
    }
    server = urlunsplit(urlsplit(postgres)._replace(path="/postgres"))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            command = [sys.executable, "-c", script]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pattern", ["products", pytest.param("{schema}-products", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "backend",
    [
        "elasticsearch.ElasticsearchIndex",
        pytest.param("local.LocalIndex", marks=pytest.mark.long),
        pytest.param("pgvector.PgvectorIndex", marks=pytest.mark.long),
    ],
)
def test_tenants_are_isolated(
    request: pytest.FixtureRequest, postgres: str, tmp_path: Path, backend: str, pattern: str
) -> None:
    options = {"name": f"{pattern}-{uuid.uuid4().hex[:8]}"}
    server = postgres
    if "elasticsearch" in backend:
        options["hosts"] = request.getfixturevalue("elasticsearch_url")
    if "pgvector" in backend:
        request.getfixturevalue("pgvector_alias")
        server = django_settings.PGVECTOR_URLS["newest"]
    index = {"BACKEND": f"imagesim.indexes.{backend}", "OPTIONS": options}
    run_for_tenants(ASK, server, tmp_path, index, IMAGESIM_TEST_DATABASE_URL=server)


@pytest.mark.timeout(300)
@pytest.mark.long
def test_threads_work_for_the_tenant(postgres: str, tmp_path: Path) -> None:
    """Threads that read files must find them in the storage of django-tenants, and heartbeats must not go to the public
    schema."""
    index = {"BACKEND": "imagesim.indexes.local.LocalIndex", "OPTIONS": {"name": "{schema}-products"}}
    storage = "django_tenants.files.storage.TenantFileSystemStorage"
    run_for_tenants(THREADS, postgres, tmp_path, index, STORAGE=storage)


@pytest.mark.timeout(300)
@pytest.mark.long
def test_rules_and_recorded_answers_stay_with_their_tenant(postgres: str, tmp_path: Path) -> None:
    """Even where the index has the same name for all tenants."""
    index = {"BACKEND": "imagesim.indexes.local.LocalIndex", "OPTIONS": {"name": "products"}}
    apps = "imagesim.merchandising imagesim.insight"
    run_for_tenants(APPS, postgres, tmp_path, index, APPS=apps)


LOCAL = {"BACKEND": "imagesim.indexes.local.LocalIndex"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("script", "shared"),
    [
        pytest.param(UPGRADE, "", marks=pytest.mark.long),
        (MESSAGES, ""),
        pytest.param(PUBLIC, "demo_shop.shop", marks=pytest.mark.long),
        pytest.param(ONE_CATALOGUE, "demo_shop.shop imagesim", marks=pytest.mark.long),
    ],
    ids=["upgrade", "messages", "public", "one catalogue"],
)
def test_schemas(postgres: str, tmp_path: Path, script: str, shared: str) -> None:
    """A plain name of before is followed by the schema, and nothing is embedded again; changes are announced in the
    schema in which they were made; the public schema may have no tables of this app, or the only ones."""
    run_for_tenants(START + script, postgres, tmp_path, LOCAL, SHARED=shared)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_public_schema_with_elasticsearch(postgres: str, tmp_path: Path, elasticsearch_url: str) -> None:
    options = {"hosts": elasticsearch_url, "name": f"products-{uuid.uuid4().hex[:8]}"}
    index = {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": options}
    run_for_tenants(START + PUBLIC, postgres, tmp_path, index, SHARED="demo_shop.shop")


INSTALLED = ["imagesim", "imagesim.merchandising", "imagesim.insight", "imagesim.experiments"]


def test_an_app_that_no_tenant_has_is_named(settings: Any) -> None:
    settings.SHARED_APPS = ["django_tenants", "imagesim", "imagesim.insight.apps.InsightConfig"]
    settings.TENANT_APPS = INSTALLED[:2]
    shared, missing = check_tenants()
    assert {shared.id, missing.id} == {"imagesim.W024"}
    assert shared.msg.startswith("imagesim.insight is in SHARED_APPS and not in TENANT_APPS")
    assert missing.msg.startswith("imagesim.experiments is neither in TENANT_APPS nor in SHARED_APPS")
    settings.TENANT_APPS = INSTALLED
    assert check_tenants() == []
    settings.TENANT_APPS = []
    assert check_tenants() == []


@pytest.mark.parametrize(
    ("mode", "found"), [("thread", ["imagesim.W036"]), ("django_tasks", ["imagesim.W036"]), ("celery", [])]
)
def test_what_syncs_no_tenant_is_named(settings: Any, mode: str, found: list[str]) -> None:
    settings.SHARED_APPS, settings.TENANT_APPS = ["django_tenants"], INSTALLED
    settings.IMAGESIM = {"SYNC": mode}
    assert [each.id for each in check_tenants()] == found
    settings.SHARED_APPS = settings.TENANT_APPS = []
    assert check_tenants() == []


def test_the_index_name_can_be_a_callable(settings: pytest.FixtureRequest) -> None:
    tenant = ["acme"]
    backend = "imagesim.indexes.elasticsearch.ElasticsearchIndex"
    settings.IMAGESIM = {"INDEX": {"BACKEND": backend, "OPTIONS": {"name": lambda: f"{tenant[0]}-products"}}}
    first = get_index()
    assert isinstance(first, ElasticsearchIndex)
    assert (first.name, get_index()) == ("acme-products", first)
    tenant[0] = "zeta"
    assert get_index().name == "zeta-products"


@pytest.mark.django_db
def test_names_that_differ_in_punctuation_share_no_categories(settings: Any) -> None:
    """As those of the schemas ``a-b`` and ``a_b`` do."""
    item = product("shoe", category="shoes")
    found = []
    for name, category in {"products-a-b": "shoes", "products-a_b": "hats"}.items():
        settings.IMAGESIM = {"INDEX": {"BACKEND": LOCAL["BACKEND"], "OPTIONS": {"name": name}}}
        Category.objects.filter(pk=item.category_id).update(slug=category)
        found.append(categories_of(registry.for_model(Product)))
    assert found == [["shoes"], ["hats"]]
