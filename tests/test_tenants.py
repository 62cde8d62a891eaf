"""django-tenants on PostgreSQL: each tenant has its own tables and, by the pattern of its name, its own index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings as django_settings

from imagesim.indexes import get_index
from imagesim.indexes.elasticsearch import ElasticsearchIndex

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
SHARED_APPS = ["django_tenants", "customers", "django.contrib.contenttypes"]
TENANT_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "demo_shop.shop", "imagesim"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS[1:]]
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
from imagesim import widgets
from imagesim.indexes import get_index
from imagesim.indexing.sync import sync
from imagesim.monitoring.status import get_status
from tests.shop import picture, product

names = {"acme": ["red shoe", "dark boot"], "zeta": ["green hat", "blue cap", "pink coat"]}
for schema in names:
    Client.objects.create(schema_name=schema, name=schema)
for schema, titles in names.items():
    with schema_context(schema):
        made = [product(title.replace(" ", "-"), picture("red", mark=n)) for n, title in enumerate(titles)]
        assert sync().indexed == len(titles)
        get_index().refresh()
for schema, titles in [*names.items(), *names.items()]:  # back and forth, in one process
    with schema_context(schema):
        slugs = sorted(title.replace(" ", "-") for title in titles)
        assert get_index().name.startswith(schema), get_index().name
        first = Product.objects.order_by("pk")[0]  # of the same key in both
        for hits in (imagesim.similar_to(first), widgets.similar_hits(first, timeout=60)):
            assert sorted([first.slug, *(hit.item.slug for hit in hits)]) == slugs, (schema, hits)
        found = imagesim.search(image=picture("red"))
        assert sorted(hit.item.slug for hit in found) == slugs, found
        status = get_status()
        assert (status.items, status.index.entries) == (len(titles), len(titles)), status
with schema_context("acme"):
    call_command("imagesim_clear", "--noinput", verbosity=0)
with schema_context("zeta"):
    assert get_status().index.entries == 3
    call_command("imagesim_rebuild", verbosity=0)
    call_command("imagesim_clear", "--noinput", verbosity=0)
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["local.LocalIndex", "elasticsearch.ElasticsearchIndex", "pgvector.PgvectorIndex"])
def test_tenants_are_isolated(request: pytest.FixtureRequest, tmp_path: Path, backend: str) -> None:
    pytest.importorskip("django_tenants")
    options = {"name": f"{{schema}}-products-{uuid.uuid4().hex[:8]}"}
    if "elasticsearch" in backend:
        options["hosts"] = request.getfixturevalue("elasticsearch_url")
    if "pgvector" in backend:  # in the schemas of the tenants
        request.getfixturevalue("pgvector_alias")
        server = django_settings.PGVECTOR_URLS["newest"]
    else:
        server = request.getfixturevalue("postgres")
    name = f"tenants_{uuid.uuid4().hex[:8]}"
    (tmp_path / "customers").mkdir()
    for file, text in {"customers/__init__": "", "customers/models": MODELS, "tenant_settings": SETTINGS}.items():
        (tmp_path / f"{file}.py").write_text(text)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tenant_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "SHOP": str(tmp_path),
        "DATABASE": name,
        "IMAGESIM_TEST_DATABASE_URL": server,
        "INDEX": json.dumps({"BACKEND": f"imagesim.indexes.{backend}", "OPTIONS": options}),
    }
    server = urlunsplit(urlsplit(server)._replace(path="/postgres"))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            command = [sys.executable, "-c", ASK]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_the_index_name_can_be_a_callable(settings: pytest.FixtureRequest) -> None:
    tenant = ["acme"]
    backend = "imagesim.indexes.elasticsearch.ElasticsearchIndex"
    settings.IMAGESIM = {"INDEX": {"BACKEND": backend, "OPTIONS": {"name": lambda: f"{tenant[0]}-products"}}}
    first = get_index()
    assert isinstance(first, ElasticsearchIndex)
    assert (first.name, get_index()) == ("acme-products", first)
    tenant[0] = "zeta"
    assert get_index().name == "zeta-products"
