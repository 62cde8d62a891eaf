"""A change is one row, written in the transaction of the item, with a version that only increases."""

from __future__ import annotations

import threading
import time
import uuid
from unittest.mock import patch

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim import checks
from imagesim.exceptions import ConfigurationError, NotRegistered
from imagesim.indexing import dispatch, outbox
from imagesim.models import ItemState, Scope
from tests.shop import picture, product

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


def record(*pks, scope=Scope.ALL):
    return outbox.record("shop.product", pks, scope=scope, using="default")


def state(pk=1):
    return ItemState.objects.get(model="shop.product", object_pk=str(pk))


@pytest.mark.django_db(transaction=True)
def test_a_save_before_migrate_explains_what_to_run():
    table = ItemState._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO set_aside")
    try:
        with pytest.raises(DatabaseError, match=r"\nThe .*run `manage\.py migrate imagesim` first\..* uninstall"):
            product("shoe", picture("red"))
        with pytest.raises(CommandError, match=r"^[^\n]+[^.\n]\. The .*run `manage\.py migrate imagesim` first\.$"):
            call_command("imagesim_sync")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE set_aside RENAME TO {table}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("delete", [lambda shoes: shoes.get().delete(), lambda shoes: shoes.delete()])
def test_an_item_is_saved_while_another_process_deletes_it(monkeypatch, delete):
    """If a delete locked the item's state, for its photo, before its row, one of the two processes would deadlock."""
    shoe = product("shoe", picture("red"))
    errors, is_saved, saver = [], threading.Event(), threading.current_thread()

    def late_record(*args, **options):
        if threading.current_thread() is saver and not is_saved.is_set():
            is_saved.set()
            time.sleep(0.5)  # the other process has come as far as it can
        return recorded(*args, **options)

    def run():
        is_saved.wait(10)
        try:
            delete(Product.objects.filter(pk=shoe.pk))
        except DatabaseError as error:
            errors.append(error)
        finally:
            connections.close_all()

    recorded = outbox.record
    monkeypatch.setattr(outbox, "record", late_record)
    thread = threading.Thread(target=run)
    thread.start()
    with transaction.atomic():
        shoe.save()
    thread.join(20)
    assert not errors
    assert not Product.objects.exists()
    assert state(shoe.pk).pending


def test_one_item_can_be_touched():
    shoe = product("shoe", picture("red"))
    ItemState.objects.all().delete()
    assert imagesim.touch(shoe, scope=Scope.METADATA) == 1
    assert state(shoe.pk).scope == Scope.METADATA
    assert async_to_sync(imagesim.atouch)(Product.objects.all()) == 1
    assert state(shoe.pk).scope == Scope.ALL


def test_the_version_only_rises():
    versions = []
    for _ in range(5):
        record(1)
        versions.append(state().version)
    assert versions == sorted(set(versions))


def test_the_version_rises_when_the_clock_goes_back():
    record(1)
    before = state().version
    with patch.object(outbox, "now_version", return_value=5):
        record(1)
    assert state().version == before + 1


def test_the_version_rises_after_a_row_was_purged():
    record(1)
    before = state().version
    ItemState.objects.all().delete()
    record(1)
    assert state().version >= before


def test_the_wider_scope_wins_while_a_change_waits():
    record(1, scope=Scope.ALL)
    record(1, scope=Scope.METADATA)
    assert state().scope == Scope.ALL


def test_the_new_scope_counts_once_nothing_waits():
    record(1, scope=Scope.ALL)
    ItemState.objects.update(pending=False)
    record(1, scope=Scope.METADATA)
    assert (state().scope, state().pending) == (Scope.METADATA, True)


def test_a_change_resets_lease_delay_and_error():
    record(1)
    ItemState.objects.update(lease="x", attempts=7, error="bad", pending=False, not_before=None, outcome="failed")
    record(1)
    assert (state().lease, state().attempts, state().error, state().pending) == ("", 0, "", True)
    assert state().not_before is not None
    assert state().outcome == "failed"  # until it is synced


def test_many_changes_at_once():
    count = outbox.CHUNK * 2 + 1
    assert record(*range(count)) == count
    record(*range(count))
    assert ItemState.objects.count() == count


def test_repeated_keys_count_once():
    assert record(1, "1", 1) == 1


def test_recording_nothing_takes_no_query():
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert record() == 0
    assert len(queries) == 0


@pytest.mark.django_db(transaction=True)
def test_a_rollback_removes_the_change():
    with transaction.atomic():
        product("shoe", picture("red"))
        transaction.set_rollback(True)
    assert ItemState.objects.count() == 0


def test_touch_is_one_query_for_any_queryset():
    for number in range(5):
        product(f"p{number}")
    with CaptureQueriesContext(connection) as queries:
        assert imagesim.touch(Product.objects.filter(price__gt=0)) == 5
    # MySQL does not say how many rows an INSERT … SELECT with an upsert changed, so the keys are read first.
    assert len(queries) == (2 if connection.vendor == "mysql" else 1)


def test_touch_of_a_joined_queryset_counts_an_item_once():
    shoe = product("shoe", picture("red"), picture("blue"))
    assert imagesim.touch(Product.objects.filter(photos__position__gte=0)) == 1
    assert state(shoe.pk).pending


def test_touch_of_an_empty_queryset():
    assert imagesim.touch(Product.objects.none()) == 0


@pytest.mark.parametrize(
    "narrowed",
    [
        lambda every: every.order_by("name")[:2],
        lambda every: every.order_by().filter(name="p0").union(every.order_by().filter(name="p1")),
        lambda every: every.order_by("name").reverse()[1:3],
        lambda every: every.exclude(name="p0").select_for_update(),  # not with DISTINCT on PostgreSQL
    ],
)
def test_touch_of_sliced_combined_and_locked_querysets(narrowed):
    for number in range(3):
        product(f"p{number}")
    ItemState.objects.all().delete()
    assert imagesim.touch(narrowed(Product.objects.all())) == 2
    assert ItemState.objects.count() == 2


def test_touch_of_instances():
    shelf = Category.objects.create(name="Shoes", slug="shoes")
    Product.objects.bulk_create(Product(name=f"{n}", slug=f"{n}", category=shelf, price=1) for n in range(3))
    assert ItemState.objects.count() == 0
    assert imagesim.touch(list(Product.objects.all())) == 3
    assert ItemState.objects.count() == 3


def test_touch_of_other_objects():
    with pytest.raises(NotRegistered, match=r"shop\.Photo"):
        imagesim.touch(Photo.objects.all())


def test_keys_have_the_same_text_as_in_python():
    """SQLite stores a UUID without dashes; there the keys must not be made by the database."""
    from django.db import models

    native = connection.features.has_native_uuid_field
    upsert = outbox._Upsert("default")
    assert upsert.casts(models.BigAutoField()) or connection.vendor == "mysql"
    assert upsert.casts(models.UUIDField(default=uuid.uuid4)) is native
    assert not upsert.casts(models.DecimalField(max_digits=5, decimal_places=2))


def test_keys_that_python_converts(monkeypatch):
    """Such as a hash of the number in the column."""
    keys = {str(product(f"p{number}").pk) for number in range(3)}
    ItemState.objects.all().delete()
    monkeypatch.setattr(Product._meta.pk, "from_db_value", lambda value, *_: f"hash{value}", raising=False)
    assert imagesim.touch(Product.objects.all()) == 3
    assert set(ItemState.objects.values_list("object_pk", flat=True)) == {f"hash{key}" for key in keys}


def test_an_unsupported_database(monkeypatch):
    monkeypatch.setattr(connection, "vendor", "oracle", raising=False)
    message = r"cannot be recorded in the database 'default' \(oracle\); use 'mysql', 'postgresql' or 'sqlite'\."
    with pytest.raises(ConfigurationError, match=message):
        outbox._Upsert("default")
    assert [found.id for found in checks.check_databases()] == ["imagesim.E007"]
    monkeypatch.undo()
    assert checks.check_databases() == []


def test_a_database_without_autocommit(monkeypatch):
    """Commands and workers would never commit."""
    assert checks.check_databases() == []
    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
    assert [found.id for found in checks.check_databases()] == ["imagesim.E009"]


@pytest.mark.django_db(transaction=True)
def test_changes_are_announced_once_per_transaction(monkeypatch):
    heard = []
    monkeypatch.setattr(dispatch, "wake", lambda: heard.append("woken"))
    with transaction.atomic():
        shoe = product("shoe", picture("red"), picture("blue"))
        shoe.save()
        assert heard == []
    assert heard == ["woken"]
    with transaction.atomic():
        shoe.save()
        transaction.set_rollback(True)
    assert heard == ["woken"]
    shoe.save()
    assert heard == ["woken", "woken"]


@pytest.mark.django_db(transaction=True)
def test_a_failing_dispatcher_does_not_affect_the_save(monkeypatch):
    def fail():
        raise RuntimeError("the broker is down")

    monkeypatch.setattr(dispatch, "wake", fail)
    product("shoe")
    assert ItemState.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_change_is_recorded_in_a_transaction_that_is_ended_by_hand(ends):
    transaction.set_autocommit(False)
    try:
        product("shoe")
        getattr(transaction, ends)()
    finally:
        transaction.set_autocommit(True)
    assert ItemState.objects.count() == (ends == "commit")
