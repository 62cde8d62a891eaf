"""The migrations can be reversed while the tables hold rows, to uninstall the app or to go back to a former version,
and processes of the former version can still write after them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timezone
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations import AddField
from django.db.migrations.loader import MigrationLoader

import imagesim
from demo_shop.shop.models import Product
from imagesim.indexing.sync import sync
from imagesim.models import ItemState, LocalEntry
from tests.shop import EMBEDDER, picture, product

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

APPS = ("imagesim_insight", "imagesim_experiments", "imagesim_merchandising", "imagesim")  # as in docs/operations.md
VALUES: dict[type[models.Field[Any, Any]], Any] = {
    models.CharField: "x",
    models.TextField: "x",
    models.BinaryField: b"x",
    models.DateTimeField: datetime(2026, 1, 1, tzinfo=timezone.utc),
    models.DateField: date(2026, 1, 1),
    models.FloatField: 1,
    models.IntegerField: 1,
    models.DecimalField: 1,
}


@pytest.fixture(autouse=True)
def catalogue(settings: Any) -> Iterator[Product]:
    """A synced product, one without pictures, and a row in each table that is otherwise empty; afterwards, all
    tables."""
    settings.IMAGESIM = settings.IMAGESIM | {"EMBEDDER": EMBEDDER}
    shown = product("shown", picture("red"))
    product("similar", picture("red", mark=1))
    product("bare")
    sync()
    for model in own_models():
        if not model.objects.exists():
            add_row(model)
    assert ItemState.objects.filter(outcome="skipped").exists()
    yield shown
    call_command("migrate", verbosity=0)


def own_models() -> list[Any]:
    return [model for label in APPS for model in apps.get_app_config(label).get_models() if not model._meta.proxy]


def add_row(model: Any) -> models.Model:
    values: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        if field.is_relation:
            values[field.name] = field.related_model.objects.first() or add_row(field.related_model)
        elif not (field.has_default() or field.null or isinstance(field, models.AutoField)):
            values[field.name] = next(VALUES[kind] for kind in type(field).__mro__ if kind in VALUES)
    made: models.Model = model.objects.create(**values)
    return made


def own_tables() -> set[str]:
    return {table for table in connection.introspection.table_names() if table.startswith("imagesim_")}


@pytest.mark.long
def test_all_tables_are_removed_with_their_rows() -> None:
    assert own_tables() == {model._meta.db_table for model in own_models()}
    for label in APPS:
        call_command("migrate", label, "zero", verbosity=0)
    assert own_tables() == set()
    assert Product.objects.count() == 3


def test_the_tables_of_the_core_are_removed_first() -> None:
    call_command("migrate", "imagesim", "zero", verbosity=0)
    left = {model._meta.db_table for model in own_models() if model._meta.app_label != "imagesim"}
    assert own_tables() < left  # the work list refers to the items, so its tables go as well


def test_going_back_and_forward_again_loses_no_embedding(catalogue: Product) -> None:
    call_command("migrate", "imagesim", "0001", verbosity=0)
    call_command("migrate", verbosity=0)
    assert not LocalEntry.objects.exists()  # they cannot be converted
    report = sync()
    assert (report.indexed, report.embedded) == (2, 0)
    assert [hit.item.name for hit in imagesim.similar_to(catalogue)] == ["similar"]


def test_the_former_version_writes_rows_without_the_new_columns() -> None:
    """While a new version is deployed, processes of the former one still run, and give no value to a new column."""
    needed = []
    for (label, name), migration in MigrationLoader(None).disk_migrations.items():
        if label not in APPS or (label, name) == ("imagesim", "0003_local_entry_checksum"):  # before any release
            continue
        added = (each for each in migration.operations if isinstance(each, AddField))
        needed += [
            f"{label}.{name}: {each.model_name}.{each.name}"
            for each in added
            if not each.field.null and each.field.db_default is models.NOT_PROVIDED
        ]
    assert needed == []
