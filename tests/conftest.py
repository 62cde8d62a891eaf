"""Shared fixtures: the real services, a clean media folder, and a clean runtime."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.management.commands import flush
from django.db import connections, transaction
from django.test import override_settings
from django.utils import translation

from demo_shop import environment
from imagesim import conf, events
from imagesim.embedders import BaseEmbedder, model_files
from imagesim.embedders.process import import_torchvision
from imagesim.indexing import signals
from imagesim.items.registry import registry
from imagesim.retrieval import rerank, variants
from imagesim.runtime import runtime
from tests.missing import missing

# By default, Python collects garbage whenever there are 700 more objects: a quarter of the processor time of collecting
# tests, and up to a tenth of that of running them.
gc.set_threshold(10_000, 20, 50)

pytest_plugins = ["imagesim.testing.fixtures"]

DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup"}
SERVICE_FIXTURES = {"elasticsearch_url", "redis_url", "database_server", "postgres", "pgvector_alias", "live_server"}


# Modules of tests that all load real models, start programs or try many cases. `make quick` does not even import them:
# torch alone takes seconds. A single test of another module is marked slow.
SLOW_MODULES = {
    "test_bad_input",
    "test_databases",
    "test_demo",
    "test_deployment",
    "test_elasticsearch_security",
    "test_embedder_http",
    "test_embedders",
    "test_evaluation",
    "test_howto",
    "test_howto_marketplace",
    "test_howto_project",
    "test_howto_testing",
    "test_howto_wholesale",
    "test_hub",
    "test_job_processes",
    "test_lite_base",
    "test_onnx",
    "test_openapi",
    "test_oscar",
    "test_packaging",
    "test_special_tokens",
    "test_precision",
    "test_quickstart",
    "test_readme",
    "test_reduced_precision",
    "test_regions",
    "test_slim",
    "test_sync_properties",
    "test_tasks",
}

# These start the demo shop, and need Chromium or servers.
SERVICE_FOLDERS = {"browser", "chaos", "hostile"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-services", action="store_true", help="only the tests that need no service")
    parser.addoption("--quick", action="store_true", help="of these, only the fast ones")
    parser.addoption(
        "--database-only",
        action="store_true",
        help="only the tests that use the database and no other service, for a second kind of database",
    )
    parser.addoption("--long", action="store_true", help="the tests that are marked long, too")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.option.quick and collection_path.stem in SLOW_MODULES else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.option
    unwanted_marks = [] if chosen.long else ["long"]
    if chosen.quick:
        unwanted_marks.append("slow")
    without_services = chosen.no_services or chosen.quick or chosen.database_only
    kept, deselected = [], []
    for item in items:
        unwanted = any(item.get_closest_marker(mark) for mark in unwanted_marks)
        if without_services and not unwanted:
            unwanted = _needs_service(item) or (chosen.database_only and not _uses_database(item))
        (deselected if unwanted else kept).append(item)
    if deselected:
        items[:] = kept
        config.hook.pytest_deselected(items=deselected)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # keep what has been collected until the end


_before = pytest.StashKey[tuple[Any, ...]]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_before] = _registrations()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A test that leaves a model registered, or a receiver disconnected, fails itself, not those that follow it."""
    yield
    assert _registrations() == item.stash[_before]


def _registrations() -> tuple[Any, ...]:
    return {items.model: type(items) for items in registry}, set(signals._links), set(signals._throughs)


def _needs_service(item: pytest.Item) -> bool:
    from tests.shop import INDEXES  # the tests of Oscar run in a project without the demo shop

    parameters = getattr(getattr(item, "callspec", None), "params", {}).values()
    kinds = INDEXES.keys() & {each for each in parameters if isinstance(each, str)}
    fixtures = _fixtures(item) | {INDEXES[kind] for kind in kinds}  # requested by name
    return bool(fixtures & SERVICE_FIXTURES) or item.path.parent.name in SERVICE_FOLDERS


def _uses_database(item: pytest.Item) -> bool:
    return item.get_closest_marker("django_db") is not None or bool(_fixtures(item) & DATABASE_FIXTURES)


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _given(name: str, variable: str, value: str) -> str:
    """Return the service's address; without one the test is skipped, or fails if CI=true."""
    if not value:
        missing(f"{name} is not available: `make services` starts it and prints the value of {variable}")
    return value


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    """A real Elasticsearch. Choose index names that no other test has, and delete them."""
    return _given("Elasticsearch", "IMAGESIM_TEST_ELASTICSEARCH_URL", django_settings.ELASTICSEARCH_URL)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A real Redis, with the number of the database to use: different for each process of pytest-xdist, and without
    xdist."""
    url = _given("Redis", "IMAGESIM_TEST_REDIS_URL", django_settings.REDIS_URL)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw15").removeprefix("gw")
    base, _, number = url.rpartition("/")
    return f"{base}/{(int(number) + int(worker)) % 16}" if number.isdigit() else url


@pytest.fixture(scope="session")
def database_server() -> str:
    """PostgreSQL or MariaDB behind ``default``; the value is the address from the environment (not that of the test
    database)."""
    url = django_settings.DATABASE_URL
    if url.startswith("sqlite"):
        pytest.skip("this run is deliberately on SQLite (IMAGESIM_TEST_DATABASE_URL=sqlite://)")
    return _given("PostgreSQL", "IMAGESIM_TEST_DATABASE_URL", url)


@pytest.fixture(scope="session")
def postgres(database_server: str) -> str:
    """PostgreSQL behind ``default``."""
    if database_server.startswith("mysql"):
        pytest.skip("this run is deliberately on MySQL or MariaDB (IMAGESIM_TEST_DATABASE_URL)")
    return database_server


@pytest.fixture
def pgvector_alias(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[str]:
    """A database alias for a server with the newest pgvector, or with ``indirect`` the ``"oldest"``.

    Nothing there is rolled back: choose index names that no other test has, and delete them.
    """
    which = getattr(request, "param", "newest")
    variable = "IMAGESIM_TEST_PGVECTOR_URL" if which == "newest" else "IMAGESIM_TEST_PGVECTOR_OLDEST_URL"
    url = _given("pgvector", variable, django_settings.PGVECTOR_URLS[which])
    alias = "pgvector"
    defaults = {**connections["default"].settings_dict, "OPTIONS": {}}
    connections.databases[alias] = {**defaults, **environment.postgres(url)}
    with django_db_blocker.unblock():
        yield alias
        connections[alias].close()
    del connections.databases[alias]
    del connections[alias]


@pytest.fixture
def media_root(settings: django_settings, tmp_path: Path) -> Path:
    """An empty MEDIA_ROOT for each test."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    return settings.MEDIA_ROOT


@pytest.fixture(scope="module")
def kept(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Rows that a module's own fixtures make after this one, and their files, are kept for its other tests. Each test
    still undoes its changes to the rows; none may have transactions of its own. The value is MEDIA_ROOT."""
    folder = tmp_path_factory.mktemp("media")
    with django_db_blocker.unblock(), override_settings(MEDIA_ROOT=folder), transaction.atomic():
        yield folder
        transaction.set_rollback(True)


KEPT_TABLES = {"auth_permission", "django_content_type"}


@pytest.fixture(scope="session", autouse=True)
def _permissions_are_kept() -> Iterator[None]:
    """Have the tests with transactions leave permissions and content types alone: deleting and recreating them takes
    more time than most of these tests."""

    def tables_to_flush(style: Any, connection: Any, **options: Any) -> list[str]:
        tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
        return list(connection.ops.sql_flush(style, sorted(tables - KEPT_TABLES), **options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "sql_flush", tables_to_flush)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *arguments, **options: None)
        yield


@pytest.fixture(autouse=True)
def _fresh_runtime() -> Iterator[None]:
    """Reset the runtime after each test, except for embedders, whose models take seconds to load."""
    conf.get_settings.cache_clear()
    cache.clear()  # the counts of the throttles
    runtime.reset(keep=lambda value: isinstance(value, BaseEmbedder))
    yield
    conf.get_settings.cache_clear()
    translation.deactivate()  # LocaleMiddleware leaves the language of the last request active


@pytest.fixture(autouse=True)
def _without_optional_apps() -> None:
    """Searches cost what they cost a shop without ``merchandising``, ``insight`` and ``experiments``; the tests of
    these apps register them again."""
    rerank.register(None)
    events.observers.clear()
    variants.register(None)


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """One folder for all processes of a run: a model is assembled and exported once."""
    folder = Path(os.environ["IMAGESIM_TEST_SCRATCH"], "models")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def local_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with a few thousand random weights, as open_clip saves one."""
    import_torchvision()
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    model = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 2, "width": 32, "head_width": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}
    (folder / model_files.CONFIG).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**model).state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def staff(client: Any) -> Any:
    """Log in a staff user who has only these permissions."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission

    def log_in(*permissions: str) -> Any:
        user = get_user_model().objects.create_user("staff", is_staff=True)
        for name in permissions:
            label, codename = name.split(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def experiments_apply() -> None:
    """Visitors are in variants of the running experiments, and what they see is recorded, as in a shop with the app."""
    apps.get_app_config("imagesim_experiments").ready()


@pytest.fixture
def without_dictionaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the model knows which words are spelled correctly."""
    monkeypatch.setattr("imagesim.retrieval.words.reader.in_dictionary", lambda _word, _language: False)
