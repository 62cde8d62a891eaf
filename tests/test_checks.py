from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import types
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import pytest
from celery import current_app
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.core.checks import ERROR, WARNING, Warning, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection, models
from django.test.utils import isolate_apps
from django.urls import include, path
from django.utils import timezone

import imagesim
from demo_shop.shop.models import Product
from imagesim import checks
from imagesim.checks import deployment
from imagesim.checks.items import check_items, check_pages, check_texts
from imagesim.exceptions import EmbedderError, IndexMissing, IndexUnavailable
from imagesim.indexes.local import LocalIndex
from imagesim.indexing import signals
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.models import Event, Job
from imagesim.retrieval.params import reserved_names
from imagesim.tasks import purge
from imagesim.types import IndexMeta
from tests.shop import EMBEDDER, picture, product
from tests.zoo.models import DeskLamp, Lamp, Maker, Picture, Standing


@pytest.fixture
def register():
    """Register a model for the duration of a test, in place of those of the shop."""
    before = dict(registry._items)
    registry._items.clear()

    def add(model: type[models.Model] = Lamp, **attributes: object) -> Items:
        attributes = {"images": "pictures__file", **attributes}
        registry.register(model, type(f"{model.__name__}Items", (Items,), attributes))
        return registry.for_model(model)

    yield add
    registry._items.clear()
    registry._items.update(before)
    signals.connect()


def ids(found) -> list[str]:
    return [message.id for message in found]


def messages(found) -> list[str]:
    return [message.msg for message in found]


class TestSettings:
    def test_the_demo_shop_passes(self):
        assert checks.check_settings() == []
        assert check_items() == []

    def test_every_wrong_setting_is_reported_at_once(self, settings):
        settings.IMAGESIM = {"NO": 1, "SYNC": 2, "MAX_LIMIT": 30}

        found = checks.check_settings()

        assert ids(found) == ["imagesim.E001", "imagesim.E001"]

    def test_a_format_that_pillow_does_not_know(self, settings):
        settings.IMAGESIM = {"IMAGE_FORMATS": ["jpg", "JPEG", "webp", "TIFF", "HEIF", "AVIF", "SVG"]}
        found = checks.check_settings()
        assert ids(found) == ["imagesim.E001", "imagesim.E001"]
        assert [message.msg.split(",")[0] for message in found] == [
            "IMAGESIM['IMAGE_FORMATS'] has 'jpg'",
            "IMAGESIM['IMAGE_FORMATS'] has 'SVG'",
        ]
        assert found[0].hint == "Write 'JPEG'."
        assert found[1].hint == "See the names in Pillow's list of image file formats."

    def test_celery_chosen_without_an_application_that_has_a_broker(self, settings, monkeypatch):
        settings.IMAGESIM = {"SYNC": "celery"}
        [found] = checks.check_settings()
        assert found.id == "imagesim.W030"
        assert "__init__.py" in found.hint
        monkeypatch.setitem(current_app.conf, "task_always_eager", True)
        assert checks.check_settings() == [], "it needs none"

    def test_celery_chosen_but_not_installed(self, settings, monkeypatch):
        settings.IMAGESIM = {"SYNC": "celery"}
        monkeypatch.setitem(current_app.conf, "broker_url", "redis://127.0.0.1:6379/0")
        assert checks.check_settings() == []
        monkeypatch.setattr(checks, "find_spec", lambda name: None)

        (found,) = checks.check_settings()

        assert found.id == "imagesim.E003"
        assert found.hint == 'Install it with: pip install "django-imagesim[celery]"'


class FailingIndex(LocalIndex):
    def __new__(cls, **options):
        raise ImportError("No module named 'elasticsearch'", name="elasticsearch")


class TestBackends:
    def test_a_backend_that_cannot_be_imported(self, settings):
        settings.IMAGESIM = {
            "INDEX": {"BACKEND": "no.Where"},
            "EMBEDDER": {"BACKEND": "tests.test_checks.FailingIndex"},
        }

        found = checks.check_backends()

        assert ids(found) == ["imagesim.E002", "imagesim.E002"]
        assert "IMAGESIM['EMBEDDER']: 'tests.test_checks.FailingIndex' is not a subclass of" in found[0].msg
        assert "IMAGESIM['INDEX']: 'no.Where' cannot be imported" in found[1].msg

    def test_a_backend_that_needs_a_package(self, settings):
        settings.IMAGESIM = {"INDEX": {"BACKEND": "tests.test_checks.FailingIndex"}}

        (found,) = (message for message in checks.check_backends() if message.id == "imagesim.E002")

        assert found.hint == 'Install it with: pip install "django-imagesim[elasticsearch]"'

    @pytest.mark.parametrize(
        ("setting", "path", "options", "message"),
        [
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"request_timeout": "5"}, "float, not str"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"shards": 1.5}, "int, not float"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"replicas": None}, "int, not None"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"num_candidates": True}, "int | None, not bool"),
            ("INDEX", "indexes.pgvector.PgvectorIndex", {"database": ["x"]}, "the database ['x'] is not"),
            ("INDEX", "indexes.local.LocalIndex", {"name": None}, "name must be a text, not None"),
            ("EMBEDDER", "embedders.openclip.OpenClipEmbedder", {"weights": ["colour"]}, "dictionary update"),
            ("EMBEDDER", "embedders.openclip.OpenClipEmbedder", {"device": {1: 0, "a": 0}}, "cannot be compared"),
        ],
    )
    def test_options_of_another_type(self, settings, setting, path, options, message):
        settings.IMAGESIM = {setting: {"BACKEND": f"imagesim.{path}", "OPTIONS": options}}

        found = [*checks.check_settings(), *checks.check_backends()]

        (found,) = (each for each in found if each.id in ("imagesim.E001", "imagesim.E002", "imagesim.E102"))
        assert message in found.msg

    @pytest.mark.parametrize(
        ("setting", "path", "options", "message"),
        [
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"m": 0}, "m must be at least 1, not 0"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"ef_construction": 0}, "ef_construction must be"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"num_candidates": -5}, "num_candidates must be"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"num_candidates": 0}, "num_candidates must be"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"shards": 0}, "shards must be at least 1"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"replicas": -1}, "replicas must be at least 0"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"m": 513}, "m must be at most 512, not 513"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"ef_construction": 3201}, "at most 3200, not 3201"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"shards": 1025}, "shards must be at most 1024"),
            ("INDEX", "indexes.elasticsearch.ElasticsearchIndex", {"request_timeout": 0}, "request_timeout must be"),
            ("INDEX", "indexes.pgvector.PgvectorIndex", {"request_timeout": -1}, "request_timeout must be more than 0"),
            ("INDEX", "indexes.pgvector.PgvectorIndex", {"m": 1}, "m must be from 2 to 100"),
            ("INDEX", "indexes.pgvector.PgvectorIndex", {"m": 101}, "m must be from 2 to 100"),
            ("INDEX", "indexes.pgvector.PgvectorIndex", {"m": 51}, "twice as many to 1000, not 51 and 100"),
            ("INDEX", "indexes.pgvector.PgvectorIndex", {"ef_construction": 1001}, "not 16 and 1001"),
            ("EMBEDDER", "embedders.openclip.OpenClipEmbedder", {"weights": {"words": "a"}}, "must be a finite number"),
        ],
    )
    def test_numbers_out_of_range(self, settings, setting, path, options, message):
        """Some of them would fail every search; others would leave nothing in an Elasticsearch index after a rebuild,
        if it has no links."""
        settings.IMAGESIM = {setting: {"BACKEND": f"imagesim.{path}", "OPTIONS": options}}

        (found,) = (each for each in checks.check_backends() if each.id == "imagesim.E002")

        assert message in found.msg

    def test_a_previous_embedder_that_cannot_be_made(self, settings):
        """It answers queries until a rebuild is done, so a mistake in it would fail all of them until then."""
        wrong = [{"BACKEND": "no.Where"}, {"BACKEND": "imagesim.embedders.openclip.OpenClipEmbedder"}]
        settings.IMAGESIM = {"PREVIOUS_EMBEDDERS": wrong}

        (found,) = (each for each in checks.check_backends() if each.id == "imagesim.E002")

        assert "IMAGESIM['PREVIOUS_EMBEDDERS']: 'no.Where' cannot be imported" in found.msg

    def test_numbers_that_are_options(self, settings):
        options = {"request_timeout": 5, "recall": 1, "num_candidates": None, "shards": 2}
        backend = "imagesim.indexes.elasticsearch.ElasticsearchIndex"
        settings.IMAGESIM = {"INDEX": {"BACKEND": backend, "OPTIONS": options}}

        assert "imagesim.E002" not in ids(checks.check_backends())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"hosts": ["es1:9200"]}, "'scheme', 'host', and 'port'"),
            ({"hosts": "http://es1"}, "'scheme', 'host', and 'port'"),
            ({"hosts": "http://shop:hidden@es1:99999999"}, "Could not parse URL"),
            ({"hosts": 5}, "'int' object is not iterable"),
            ({"basic_auth": 5}, "'int' object"),
            ({"api_key": "k", "bearer_auth": "b"}, "Can only set one"),
        ],
    )
    def test_what_the_client_of_elasticsearch_does_not_accept(self, settings, options, message):
        backend = "imagesim.indexes.elasticsearch.ElasticsearchIndex"
        settings.IMAGESIM = {"INDEX": {"BACKEND": backend, "OPTIONS": options}}

        (found,) = (message for message in checks.check_backends() if message.id == "imagesim.E002")

        assert message in found.msg
        assert "hidden" not in found.msg
        deployment.check_connections()  # does not fail on it

    def test_the_checks_of_backends_are_included(self, monkeypatch):
        from imagesim.indexes import get_index

        monkeypatch.setattr(type(get_index()), "check", lambda self: [Warning("mine", id="index.W1")])

        assert "index.W1" in ids(checks.check_backends())


class TestItems:
    def test_nothing_registered(self, register):
        assert ids(check_items()) == ["imagesim.W001"]

    def test_valid_declarations(self, register):
        register(
            category="tags__label",
            filters={"maker": "maker__name", "half": "half"},
            filter_kinds={"half": "number"},
            related={Picture: "lamp", "zoo.Standing": "lamp"},
        )

        assert check_items() == []

    def test_paths_that_do_not_resolve(self, register):
        register(images="picturs__file", category="maker__nam", group="x", filters={"brand": "brand__name"})

        found = check_items()

        assert ids(found) == ["imagesim.E010"] * 4
        assert found[0].msg.startswith("LampItems: 'picturs__file' does not resolve: zoo.Lamp has no 'picturs'; it has")
        assert found[0].obj is Lamp

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            *(("categories", "category"), ("image", "images"), ("stock", "in_stock"), ("get_image", "get_images")),
            ("queryset", "get_queryset"),
        ],
    )
    def test_a_misspelt_name_gets_a_suggestion(self, register, name, meant):
        register(**{name: (lambda self, item: []) if name.startswith("get_") else "name"})

        (found,) = check_items()

        assert found.id == "imagesim.W003"
        assert found.msg == f"LampItems: {name!r} means nothing to Items."
        assert repr(meant) in found.hint

    def test_additional_attributes_of_the_shop(self, register):
        register(rack="maker__name", _images="x", with_price=lambda self: 3)
        assert check_items() == []

    def test_a_property_of_the_shop_is_not_read(self, register):
        """The property may query the database, or need what exists only during a request."""
        register(shelf=property(lambda self: pytest.fail("read")))

        assert check_items() == []

    def test_missing_images(self, register):
        register(images="")

        assert ids(check_items()) == ["imagesim.E011"]

    def test_images_from_a_method_of_the_items(self, register):
        register(images="", get_images=lambda self, item: [])

        assert check_items() == []

    @pytest.mark.parametrize("images", ["pictures", "maker", "name", ["pictures__file", "lumen"]])
    def test_images_that_are_not_files(self, register, images):
        register(images=images)

        assert ids(check_items()) == ["imagesim.E012"]

    @pytest.mark.parametrize("images", ["link", "facts", "facts__photo", ["plan", "facts__photos__url"]])
    def test_images_by_address(self, register, images, settings):
        register(images=images)
        (found,) = check_items()
        assert found.id == "imagesim.E012"
        assert "REMOTE_IMAGE_HOSTS" in found.hint

        settings.IMAGESIM = {"REMOTE_IMAGE_HOSTS": ["cdn.example.com"]}
        assert check_items() == []

    def test_images_from_a_property_are_not_checked(self, register):
        register(images="hues")

        assert check_items() == []

    @pytest.mark.parametrize("kinds", [{}, {"burns": "text"}])
    def test_a_filter_of_unknown_kind(self, register, kinds):
        register(filters={"burns": "burns"}, filter_kinds=kinds)

        assert ids(check_items()) == ["imagesim.E013"]

    def test_a_kind_for_a_wrong_path(self, register):
        register(filters={"burns": "nonsense"}, filter_kinds={"burns": "number"})

        assert ids(check_items()) == ["imagesim.E010"]

    def test_a_wrong_kind_for_a_wrong_path(self, register):
        register(filters={"burns": "nonsense"}, filter_kinds={"burns": "text"})

        assert ids(check_items()) == ["imagesim.E010", "imagesim.E013"]

    def test_kinds_that_differ_between_models(self, register):
        register(filters={"name": "name", "size": "lumen"})
        register(Maker, images="hues", get_images=lambda self, item: [], filters={"size": "name", "burns": "burns"})

        found = check_items()

        assert ids(found) == ["imagesim.E010", "imagesim.E010", "imagesim.E014"]
        assert found[2].msg == "MakerItems: The filter 'size' is of kind 'keyword' here and 'number' for zoo.lamp."

    @isolate_apps("tests")
    def test_keys_that_no_float_holds(self, register):
        class Ware(models.Model):  # noqa: DJ008
            id = models.BigIntegerField(primary_key=True)
            views = models.BigIntegerField()
            picture = models.ImageField()

            class Meta:
                app_label = "tests"

        register(Ware, images="picture", filters={"key": "pk", "views": "views"}, text={})
        (found,) = check_items()
        assert (found.id, found.level) == ("imagesim.W034", WARNING)
        assert "filter_kinds = {'key': 'keyword'}" in found.hint

        registry.unregister(Ware)
        register(Ware, images="picture", filters={"key": "pk"}, filter_kinds={"key": "keyword"}, text={})
        register(Maker, images="", get_images=lambda self, item: [], filters={"number": "pk"}, text={})
        assert check_items() == []

    @pytest.mark.parametrize("name", ["price__lte", "in stock", "2nd", "", 7])
    def test_invalid_filter_names(self, register, name):
        register(filters={name: "lumen"})

        assert ids(check_items()) == ["imagesim.E015"]

    @pytest.mark.parametrize("name", sorted(reserved_names()))
    def test_a_reserved_name(self, register, name):
        register(filters={name: "name"})

        (found,) = check_items()
        assert (found.id, found.level) == ("imagesim.E019", ERROR)
        assert repr(name) in found.msg

    def test_names_that_used_to_clash_are_reserved(self):
        assert {"label", "region", "timeout", "heading", "empty", "sort", "page"} < reserved_names()

    def test_a_kind_without_a_filter(self, register):
        register(filters={"lumen": "lumen"}, filter_kinds={"lumens": "number"})

        (found,) = check_items()

        assert found.id == "imagesim.E016"
        assert found.msg == "LampItems: filter_kinds names 'lumens', not a filter; the filters are 'lumen'."

    def test_a_language_of_a_text_that_does_not_exist(self, register):
        """Without the check, the text would silently be read in LANGUAGE_CODE."""
        register(text={"name": 1}, text_languages={"nam": "de", "name": "de"})

        (found,) = check_items()

        assert found.id == "imagesim.E016"
        assert found.msg == "LampItems: text_languages names 'nam', not a text; the texts are 'name'."

    @pytest.mark.parametrize(
        ("related", "message"),
        [
            (
                {"zoo.Nothing": "lamp"},
                "LampItems: LampItems.related names 'zoo.Nothing', which is not a model",
            ),
            ({object: "lamp"}, "LampItems: LampItems.related names <class 'object'>, which is not a model"),
            ({Standing: "lampe"}, "LampItems: 'lampe' does not resolve: zoo.Standing has no 'lampe'"),
            (
                {Standing: "shelf"},
                "LampItems: LampItems.related: 'shelf' leads from zoo.Standing to zoo.Shelf, not to zoo.Lamp.",
            ),
            (
                {Standing: "id"},
                "LampItems: LampItems.related: 'id' leads from zoo.Standing to no model, not to zoo.Lamp.",
            ),
        ],
    )
    def test_related_models_that_do_not_lead_to_the_item(self, register, related, message):
        register(related=related)

        (found,) = check_items()

        assert found.id == "imagesim.E017"
        assert found.msg.startswith(message)

    def test_keys_that_do_not_fit_the_tables(self, register, monkeypatch):
        declared = register(Maker, get_images=lambda self, item: [], images="")
        declared.label = "x" * 101
        monkeypatch.setattr(Maker._meta.pk, "max_length", 256)

        assert ids(check_items()) == ["imagesim.E018", "imagesim.E018"]

    @isolate_apps("tests.zoo")
    def test_a_key_that_is_no_text(self, register):
        class Sample(models.Model):  # noqa: DJ008
            key = models.BinaryField(primary_key=True)

            class Meta:
                app_label = "zoo"

        register(Sample, get_images=lambda self, item: [], images="")
        [found] = check_items()
        assert (found.id, found.msg) == (
            "imagesim.E018",
            "SampleItems: Its primary key is binary, but the index identifies items by text.",
        )


def urlconf(*patterns) -> types.ModuleType:
    module = types.ModuleType("some_urls")
    module.urlpatterns = list(patterns)
    return module


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": "picturs__file"},
        {"images": "pictures"},
        {"category": "hues__x"},
        {"group": "tags__label__x"},
        {"filters": {"burns": "burns"}},
        {"filters": {"burns": "nonsense"}, "filter_kinds": {"burns": "text"}},
        {"related": {"zoo.Nothing": "lamp"}},
        {"related": {Standing: "lampe"}},
        {"related": {Standing: "shelf"}},
        {"related": {Standing: "id"}},
        {"depends_on": ("nonsense", "maker__nonsense")},
    ],
)
def test_a_wrong_registration_does_not_keep_the_process_from_starting(register, wrong):
    """Otherwise, nobody would see the check that explains it."""
    declared = register(**wrong)
    signals.connect()
    registry._items.pop(declared.model)
    assert check_items() == [] or ids(check_items()) == ["imagesim.W001"]


def check_in_process(folder, settings):
    """Run ``manage.py check`` with a settings module in ``folder``."""
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--settings", settings],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        '{"INDEX": {"BACKEND": "no.Where"}}',
        pytest.param('{"NO": 1, "SYNC": 2}', marks=pytest.mark.long),
        pytest.param("[]", marks=pytest.mark.long),
    ],
)
def test_a_wrong_setting_does_not_keep_the_process_from_starting(tmp_path, wrong):
    """Not even a setting that is not a dict."""
    (tmp_path / "wrong_settings.py").write_text(f"from tests.settings import *\nIMAGESIM = {wrong}\n")
    done = check_in_process(tmp_path, "wrong_settings")
    assert done.returncode == 1
    assert "(imagesim.E00" in done.stderr
    assert "Traceback" not in done.stderr


def test_middleware_of_an_app_that_is_not_installed(settings, monkeypatch):
    """Its models cannot be imported, which the first request would show."""
    settings.MIDDLEWARE = ["imagesim.middleware.DegradedHeader", "imagesim.experiments.middleware.ChooseVariants"]
    assert "imagesim.E008" not in ids(run_checks(tags=["imagesim"]))
    monkeypatch.setattr(checks.apps, "is_installed", lambda app: app != "imagesim.experiments")
    [error] = [each for each in run_checks(tags=["imagesim"]) if each.id == "imagesim.E008"]
    assert "'imagesim.experiments' is not in INSTALLED_APPS" in error.msg


@pytest.mark.slow
@pytest.mark.parametrize(
    "app", ["insight", *(pytest.param(each, marks=pytest.mark.long) for each in ("merchandising", "experiments"))]
)
def test_models_of_an_app_that_is_not_installed(tmp_path, app):
    """Django would take them for those of ``imagesim``, and ``makemigrations`` would write a migration of it."""
    (tmp_path / "partly_settings.py").write_text(
        "from tests.settings import *\nINSTALLED_APPS = [app for app in INSTALLED_APPS if 'imagesim.' not in app]\n"
    )
    program = f"import django; django.setup(); import imagesim.{app}.models"
    paths = f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "partly_settings", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert f"add 'imagesim.{app}' to INSTALLED_APPS" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("package", [pytest.param("rest_framework", marks=pytest.mark.long), "drf_spectacular"])
def test_an_api_without_its_packages_is_an_error_in_one_sentence(tmp_path, package):
    (tmp_path / "slim_settings.py").write_text(
        f"import sys\nsys.modules[{package!r}] = None\nfrom tests.settings import *\n"
        "INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in ('rest_framework', 'drf_spectacular')]\n"
        "ROOT_URLCONF = 'slim_urls'\n"
    )
    (tmp_path / "slim_urls.py").write_text(
        "from django.urls import include, path\nurlpatterns = [path('api/', include('imagesim.rest.urls'))]\n"
    )
    done = check_in_process(tmp_path, "slim_settings")
    assert done.returncode == 1
    assert f"imagesim.rest.urls needs the package {package!r}." in done.stderr
    assert 'pip install "django-imagesim[rest]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_without_torch_migrations_run_and_only_embedding_fails(monkeypatch, tmp_path):
    from imagesim.embedders.openclip import OpenClipEmbedder
    from imagesim.regions.lite import LiteRegionFinder
    from imagesim.regions.transformers import TransformersRegionFinder

    monkeypatch.setitem(sys.modules, "torch", None)
    embedder = OpenClipEmbedder(model="ViT-B-32", pretrained="openai")
    for backend in (embedder, LiteRegionFinder(cache_dir=tmp_path), TransformersRegionFinder()):
        assert [message.level for message in backend.check()] == [WARNING], backend
    with pytest.raises(EmbedderError, match="torch"):
        embedder.embed_texts(["a shoe"])


class TestRest:
    @pytest.fixture
    def rest(self, settings):
        settings.ROOT_URLCONF = urlconf(path("a/", include([path("visual/", include("imagesim.rest.urls"))])))
        return settings

    def test_valid_declarations(self, rest):
        assert checks.check_rest() == []

    def test_rest_framework_not_in_installed_apps(self, rest, monkeypatch):
        monkeypatch.setattr(checks.apps, "is_installed", lambda name: name != "rest_framework")

        assert ids(checks.check_rest()) == ["imagesim.E004"]

    def test_a_permission_that_cannot_be_imported(self, rest):
        rest.IMAGESIM = {"REST_PERMISSIONS": ["shop.Nobody"]}

        assert ids(checks.check_rest()) == ["imagesim.E005"]

    @pytest.mark.parametrize(
        ("setting", "path"),
        [
            ("REST_PERMISSIONS", "rest_framework.permissions"),
            ("REST_PERMISSIONS", "rest_framework.authentication.SessionAuthentication"),
            ("REST_AUTHENTICATION", "rest_framework.permissions.AllowAny"),
        ],
    )
    def test_what_is_no_permission_or_authentication(self, rest, setting, path):
        rest.IMAGESIM = {setting: [path]}

        (found,) = checks.check_rest()

        assert found.id == "imagesim.E005"
        assert f"{path!r} is not a class with a method" in found.msg

    @pytest.mark.parametrize("path", ["rest_framework.permissions", "rest_framework.permissions.AllowAny"])
    def test_what_is_no_function(self, rest, path):
        rest.IMAGESIM = {"REST_ARGUMENTS": [path]}

        (found,) = checks.check_rest()

        assert found.id == "imagesim.E005"
        assert f"{path!r} is not a function" in found.msg

    def test_a_site_that_requires_a_login(self, rest):
        """Its middleware exempts views of REST framework, so anyone could read the catalogue."""
        rest.MIDDLEWARE = [*rest.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        assert ids(checks.check_rest()) == ["imagesim.W031"]
        rest.IMAGESIM = {"REST_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"]}
        assert checks.check_rest() == []

    @pytest.mark.parametrize("name", ["IsAuthenticated", "IsAdminUser"])
    def test_an_api_that_is_closed_by_default(self, rest, name):
        """Such as that of a shop for dealers without pages: our API would show its catalogue and prices to anyone."""
        rest.REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": [f"rest_framework.permissions.{name}"]}
        (found,) = checks.check_rest()
        assert found.id == "imagesim.W031"
        assert "DEFAULT_PERMISSION_CLASSES" in found.msg
        for permissions in ([], ["rest_framework.permissions.AllowAny"]):  # a deliberate choice
            rest.IMAGESIM = {"REST_PERMISSIONS": permissions}
            assert checks.check_rest() == []

    def test_an_api_that_anyone_may_read(self, rest):
        rest.REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"]}
        assert checks.check_rest() == []

    def test_an_api_outside_of_the_languages_of_the_urls(self, rest):
        """A page in French would get answers in the language of the browser, with links to pages in that language."""
        api = path("a/visual/", include("imagesim.rest.urls"))
        pages = path("shop/", include([]))
        rest.ROOT_URLCONF = urlconf(api, *i18n_patterns(pages))
        assert ids(checks.check_rest()) == ["imagesim.W032"]
        rest.ROOT_URLCONF = urlconf(*i18n_patterns(pages, api, prefix_default_language=False))
        assert checks.check_rest() == []
        rest.ROOT_URLCONF = urlconf(api, *i18n_patterns(path("admin/", admin.site.urls)))
        assert checks.check_rest() == [], "the shop's own pages have no language in their URLs"
        rest.ROOT_URLCONF = urlconf(api, *i18n_patterns(pages))
        rest.LANGUAGES = [("en", "English")]
        assert checks.check_rest() == []

    def test_not_included_or_not_installed(self, rest, monkeypatch):
        rest.IMAGESIM = {"REST_PERMISSIONS": ["shop.Nobody"]}
        monkeypatch.setattr(checks, "find_spec", lambda name: None)
        assert ids(checks.check_rest()) == ["imagesim.E004"]
        monkeypatch.setattr(checks, "find_spec", find_spec)
        rest.ROOT_URLCONF = urlconf(path("admin/", include([])))
        assert checks.check_rest() == []
        del rest.ROOT_URLCONF
        assert checks.check_rest() == []


class FakeEmbedder:
    fingerprint = "new"
    dims = 4


class TestActiveIndex:
    """The checks that ``check --deploy`` adds."""

    @pytest.fixture(autouse=True)
    def embedder(self, monkeypatch):
        monkeypatch.setattr("imagesim.embedders.get_embedder", lambda: FakeEmbedder)

    def test_the_same_model(self, monkeypatch):
        self.answer(monkeypatch, IndexMeta("new", 4))

        assert deployment.check_index() == []

    @pytest.mark.django_db
    def test_another_model(self, monkeypatch):
        self.answer(monkeypatch, IndexMeta("old", 2))

        (found,) = deployment.check_index()

        assert found.id == "imagesim.W012"
        assert (
            "The active index holds vectors of model 'old' with 2 dimensions; the settings name model 'new' with 4."
            in found.msg
        )

    @pytest.mark.parametrize(
        ("error", "id"),
        [
            (IndexUnavailable("down"), "imagesim.W010"),
            (IndexMissing("none yet"), "imagesim.W010"),
            (DatabaseError("no such table"), "imagesim.W010"),
            (EmbedderError("no weights"), "imagesim.W011"),
        ],
    )
    def test_an_unknown_fingerprint(self, monkeypatch, error, id):
        self.answer(monkeypatch, error)

        assert ids(deployment.check_index()) == [id]

    def answer(self, monkeypatch, answer) -> None:
        def meta() -> IndexMeta:
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr("imagesim.indexes.get_index", lambda: types.SimpleNamespace(meta=meta))


class TestBeforeGoingLive:
    @pytest.mark.parametrize(("mode", "found"), [("thread", ["imagesim.W013"]), ("celery", []), ("manual", [])])
    def test_the_sync_mode_is_reported(self, settings, mode, found):
        settings.IMAGESIM = {"SYNC": mode}

        assert ids(deployment.check_sync()) == found

    @pytest.mark.parametrize(
        ("vendor", "mode", "found"),
        [
            ("sqlite", None, ["imagesim.W026"]),
            ("sqlite", "DEFERRED", ["imagesim.W026"]),
            ("sqlite", "immediate", []),
            ("sqlite", "EXCLUSIVE", []),
            ("postgresql", None, []),
        ],
    )
    def test_transactions_of_sqlite_that_do_not_wait_are_reported(self, monkeypatch, vendor, mode, found):
        monkeypatch.setattr(connection, "vendor", vendor)
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"transaction_mode": mode} if mode else {})
        messages = deployment.check_sqlite()
        assert ids(messages) == found
        if found:
            assert "'transaction_mode': 'IMMEDIATE'" in messages[0].hint

    def test_a_wrong_setting_is_reported_by_another_check(self, settings):
        settings.IMAGESIM = {"SYNC": "sometimes"}

        assert deployment.check_sync() == []

    @pytest.mark.django_db
    def test_a_reconcile_that_nobody_runs_is_reported(self, settings, media_root, monkeypatch):
        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}
        assert deployment.check_maintenance() == []
        product("shoe", picture("red"))
        sync()
        assert deployment.check_maintenance() == []
        Job.objects.update(started_at=timezone.now() - timedelta(days=9))
        (found,) = deployment.check_maintenance()
        assert found.id == "imagesim.W028"
        output = io.StringIO()
        call_command("imagesim_status", stdout=output)
        assert f"reconciled not since {timezone.now() - timedelta(days=9):%Y-%m-%d}: run" in output.getvalue()
        Job.objects.create(kind="reconcile", status="failed", finished_at=timezone.now())
        assert ids(deployment.check_maintenance()) == ["imagesim.W028"]
        reconcile()
        assert deployment.check_maintenance() == []
        Job.objects.filter(kind="reconcile").update(finished_at=timezone.now() - timedelta(days=9))
        assert ids(deployment.check_maintenance()) == ["imagesim.W028"]
        monkeypatch.setattr(Job.objects, "aggregate", Mock(side_effect=DatabaseError("no such table")), raising=False)
        assert deployment.check_maintenance() == []

    @pytest.mark.django_db
    def test_events_that_nobody_purges_are_reported(self, settings):
        settings.IMAGESIM = {"EVENTS_DAYS": 30}
        event = Event.objects.create(request="a", kind="view", source="search", item_key="a:1", position=0)
        for days, found in ((31, []), (39, ["imagesim.W029"])):
            Event.objects.filter(pk=event.pk).update(created_at=timezone.now() - timedelta(days=days))
            assert ids(deployment.check_maintenance()) == found
        purge()
        assert deployment.check_maintenance() == []

    @pytest.mark.django_db
    def test_a_changed_model_on_the_real_index(self, settings, media_root):
        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}
        (missing,) = deployment.check_index()
        assert missing.id == "imagesim.W010"
        assert "is active yet; build it" in missing.msg
        product("shoe", picture("red"))
        sync()
        assert deployment.check_index() == []

        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": {**EMBEDDER, "OPTIONS": {"dims": 32}}}

        (found,) = deployment.check_index()
        assert found.id == "imagesim.W012"
        assert "'test-pixels-64' with 64 dimensions; the settings name model 'test-pixels-32' with 32." in found.msg
        assert "PREVIOUS_EMBEDDERS" in found.hint


LITE = {"BACKEND": "imagesim.embedders.openclip.OpenClipEmbedder", "OPTIONS": {"model": "imagesim-lite"}}
SERVICE = {
    "BACKEND": "imagesim.embedders.http.HttpEmbedder",
    "OPTIONS": {"url": "http://localhost:8100/v1", "model": "m", "dims": 4},
}
ENDPOINT = "imagesim.embedders.http.InferenceEmbedder"
INFERENCE = {"url": "http://localhost:9200", "inference_id": "clip"}
FINDER = {"BACKEND": "imagesim.regions.lite.LiteRegionFinder"}


class TestTheFirstPhoto:
    """``check --deploy``: whether web processes load their models before a visitor waits for them."""

    @pytest.mark.parametrize(
        ("given", "loaded"),
        [
            ({"EMBEDDER": LITE}, ["EMBEDDER"]),
            ({"EMBEDDER": LITE, "REGIONS": FINDER}, ["EMBEDDER", "REGIONS"]),
            ({"EMBEDDER": LITE, "REGIONS": FINDER, "WARM_UP": True}, []),
            ({"EMBEDDER": SERVICE}, []),
            ({"EMBEDDER": SERVICE, "REGIONS": FINDER}, ["REGIONS"]),
            ({"EMBEDDER": {"BACKEND": ENDPOINT, "OPTIONS": {**INFERENCE, "images": LITE}}}, ["EMBEDDER"]),
            ({"EMBEDDER": {"BACKEND": ENDPOINT, "OPTIONS": {**INFERENCE, "dims": 4, "fingerprint": "f"}}}, []),
            ({"EMBEDDER": EMBEDDER}, []),  # which has no model
            ({"EMBEDDER": {"BACKEND": "no.such.Embedder"}}, []),  # which another check reports
            ({"EMBEDDER": 5}, []),
        ],
    )
    def test_models_that_the_first_visitor_waits_for_are_reported(self, settings, given, loaded):
        settings.IMAGESIM = given
        found = deployment.check_warm_up()
        assert ids(found) == ["imagesim.W035"] * bool(loaded)
        assert [name for name in ("EMBEDDER", "REGIONS") if name in str(found)] == loaded
        settings.ROOT_URLCONF = urlconf()  # a shop that only shows similar products
        assert deployment.check_warm_up() == []


class TestTheCommand:
    def test_it_fails_on_an_error(self, settings):
        settings.IMAGESIM = {"NO": 1}

        with pytest.raises(SystemCheckError, match=r"\(imagesim.E001\) IMAGESIM has no setting 'NO'"):
            call_command("check", "--tag", "imagesim")

    def test_deployment_checks_run_only_with_deploy(self, settings, monkeypatch):
        settings.IMAGESIM = {"SYNC": "manual"}
        monkeypatch.setattr(deployment, "check_index", lambda: [Warning("The index was asked.", id="test.W1")])
        monkeypatch.setattr(deployment, "check_maintenance", list)

        assert "test.W1" not in ids(run_checks(tags=["imagesim"]))
        assert "test.W1" in ids(run_checks(tags=["imagesim"], include_deployment_checks=True))

    @pytest.mark.slow
    def test_checks_load_no_model_and_query_no_database(self):
        """In a new process, where nothing is imported yet. Django's own check of JSONField connects to the database
        (6.1)."""
        code = (
            "import sys, django; django.setup()\n"
            "from django.core.management import call_command\n"
            "from django.db import connection\n"
            "connection.ensure_connection = lambda: sys.exit('asked the database')\n"
            "import socket; socket.socket.connect = lambda *a: sys.exit('asked the network')\n"
            "call_command('check', '--tag', 'imagesim')\n"
            "heavy = {'torch', 'open_clip', 'transformers'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else 0)\n"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr

    def test_the_whole_project_passes(self):
        assert run_checks(tags=["imagesim"]) == []
        assert Product in registry


def test_a_translated_field_without_a_language(register, monkeypatch):
    """A German visitor's category must not be searched among English ones, which are in the index."""
    monkeypatch.setattr(Lamp, "title", "", raising=False)  # as django-parler reads it, in the active language
    texts = {"name": 3, "maker__name": 2, "translations__title_de": 3}
    register(filters={"title": "title", "maker": "maker__name"}, filter_kinds={"title": "keyword"}, text=texts)
    register(DeskLamp, text={"title": 3}, category="translations__title_de")
    found = check_items()
    assert {each.id for each in found} == {"imagesim.W033"}
    assert [each.hint for each in found] == [
        "Name 'translations__title_en'.",
        "Name each language to be searched: translations__title_en, translations__title_de.",
    ]


def test_a_default_of_the_texts_is_reported(register):
    register(Lamp, images="pictures__file")
    (message,) = [each for each in check_texts() if each.obj is Lamp]
    assert message.id == "imagesim.I001"
    assert "only in 'name'" in message.msg
    assert message.hint.endswith(".text = {'name': 3}.")  # a lamp has neither brand nor description
    registry.unregister(Lamp)
    register(Lamp, images="pictures__file", text={})
    assert [each for each in check_texts() if each.obj is Lamp] == []


def test_every_id_is_documented_and_belongs_to_one_module():
    root = Path(imagesim.__file__).parent
    ids: dict[str, set[tuple[str, ...]]] = {}
    for file in root.rglob("*.py"):
        parts = file.relative_to(root).parts
        for id in re.findall(r'"(imagesim\.[EWI]\d{3})"', file.read_text()):
            ids.setdefault(id, set()).add(parts if parts[0] == "checks" else parts[:1])
    page = (root.parent / "docs" / "checks.md").read_text()

    assert set(ids) == set(re.findall(r"`(imagesim\.[EWI]\d{3})`", page))
    assert [id for id, rooms in ids.items() if len(rooms) > 1] == []


class TestVisitors:
    def test_a_proxy_and_a_cache_per_process(self, settings):
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        settings.REST_FRAMEWORK = {}
        assert [message.id for message in deployment.check_visitors()] == ["imagesim.W014", "imagesim.W015"]
        settings.REST_FRAMEWORK = {"NUM_PROXIES": 1}
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
        assert deployment.check_visitors() == []

    def test_without_a_proxy_the_address_is_known(self, settings):
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
        assert deployment.check_visitors() == []


class TestConnections:
    """``check --deploy``: how the index and the embedder are connected to."""

    @pytest.mark.parametrize(
        ("index", "embedder", "ids"),
        [
            ({"hosts": ["https://es1:9200"], "api_key": "k", "ca_certs": "ca.crt"}, {}, []),
            ({"hosts": "http://localhost:9200", "api_key": "k"}, {}, []),
            ({"hosts": "http://es1:9200"}, {}, []),
            ({"hosts": "https://es1:9200", "verify_certs": False}, {}, ["imagesim.W016"]),
            ({"hosts": ["https://es1:9200", "http://es2:9200"], "basic_auth": ("a", "b")}, {}, ["imagesim.W017"]),
            ({"hosts": "http://shop:hidden@es1:9200"}, {}, ["imagesim.W017"]),
            ({}, {"url": "https://embedder/v1", "api_key_env": "KEY"}, []),
            ({}, {"url": "http://embedder/v1", "api_key_env": "KEY"}, ["imagesim.W017"]),
            ({}, {"url": "https://embedder/v1"}, ["imagesim.W018"]),
        ],
    )
    def test_unencrypted_connections(self, settings, index, embedder, ids):
        settings.IMAGESIM = {
            "INDEX": {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": index},
            "EMBEDDER": {"BACKEND": "imagesim.embedders.http.HttpEmbedder", "OPTIONS": embedder},
        }
        found = deployment.check_connections()
        assert [message.id for message in found] == ids
        assert "hidden" not in str(found)

    def test_a_photo_cache_per_process(self, settings):
        redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
        settings.CACHES = {
            "default": redis,
            "photos": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        }
        settings.IMAGESIM = {"LOOK_CACHE": "photos"}
        assert ["'photos'" in str(message) for message in deployment.check_visitors()] == [True]


def test_a_model_without_pages(register, monkeypatch):
    """Its cards would have no link, with no explanation."""
    register()
    (message,) = [each for each in check_pages() if each.obj is Lamp]
    assert (message.id, message.msg) == ("imagesim.I002", "Lamp has no get_absolute_url(): its cards have no link.")
    monkeypatch.setattr(Lamp, "get_absolute_url", lambda self: "/", raising=False)
    assert [each for each in check_pages() if each.obj is Lamp] == []
