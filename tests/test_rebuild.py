"""Rebuilds: no change is lost while a new index is built alongside the active one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from io import StringIO
from unittest.mock import Mock

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections
from django.utils import timezone

import imagesim
from demo_shop.shop.models import Product
from imagesim import images
from imagesim.exceptions import (
    AccessRefused,
    AlreadyRunning,
    ConfigurationError,
    EmbedderError,
    IndexUnavailable,
    SearchIndexError,
)
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexing import embedding, jobs, leases, outbox
from imagesim.indexing import rebuild as rebuilding
from imagesim.indexing import reconcile as reconciling
from imagesim.indexing import sync as syncing
from imagesim.indexing.differences import DIFFERENCES
from imagesim.indexing.interruptions import INFRASTRUCTURE_ERRORS
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.indexing.write_targets import live_targets
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.models import Embedding, ItemState, Job, LocalEntry, LocalGeneration
from imagesim.types import WriteResult
from tests.embedders import PixelEmbedder
from tests.shop import (
    EMBEDDER,
    encoded,
    index_setting,
    picture,
    price_in_the_index,
    product,
    registered,
    synced_products,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]
OTHER = {"BACKEND": "tests.embedders.PixelEmbedder", "OPTIONS": {"name": "other", "dims": 32}}


@pytest.fixture(autouse=True)
def _small_pages(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "SYNC_BATCH_SIZE": 2}


@pytest.fixture
def shop():
    return synced_products(6)


def entries():
    return dict(get_index().scan())


def assert_equal():
    report = reconcile(dry_run=True).report
    assert {name: report[name] for name in DIFFERENCES} == dict.fromkeys(DIFFERENCES, 0)


def test_an_item_whose_primary_key_is_empty_is_read_once():
    Session.objects.create(session_key="", expire_date=timezone.now())
    with registered(Session, type("Sessions", (Items,), {"get_images": lambda self, item: []})):
        job = rebuild(seconds=20)
    assert (job.status, job.done) == (Job.Status.DONE, 1)


class Killed(BaseException):
    """Stands in for kill -9: no handler sees it but ``finally``."""


def kill_after(monkeypatch, pages):
    """Let a rebuild die after so many pages, without a chance to clean up."""
    original = rebuilding._fill_page
    done = []

    def fill(*args):
        if len(done) == pages:
            raise Killed
        done.append(args)
        return original(*args)

    monkeypatch.setattr(rebuilding, "_fill_page", fill)
    with pytest.raises(Killed):
        rebuild()
    monkeypatch.undo()
    run = Job.objects.get(slot="rebuild")
    Job.objects.update(owner="elsewhere/1/1", heartbeat_at=timezone.now() - jobs.STALE_AFTER - timedelta(seconds=1))
    return run


def test_swaps_and_drops_the_former(shop):
    before, versions = get_index().active(), entries()
    run = rebuild()
    assert run.status == "done"
    assert run.done == run.total == 6
    assert get_index().active() == run.target != before
    assert get_index().backing_indexes() == [run.target]
    assert entries() == versions
    assert_equal()


def test_embeds_nothing_again(shop, monkeypatch):
    monkeypatch.setattr(PixelEmbedder, "embed_images", None)
    monkeypatch.setattr(embedding, "read_file", None)
    rebuild()
    assert len(entries()) == 6


class LaggingReplica:
    """A database router for a shop whose replica does not have the last rows yet."""

    def db_for_read(self, model, **hints):
        return "no such database" if model in (Job, LocalGeneration) else None

    def db_for_write(self, model, **hints):
        return "default"


def test_what_is_written_to_is_not_read_from_a_replica(shop, settings, monkeypatch):
    monkeypatch.setattr(rebuilding, "_fill_page", lambda *args: 0)
    monkeypatch.setattr(rebuilding, "calibrate_quietly", lambda *args: None)
    job = rebuild(hold=True)
    get_index()._metas.clear()
    settings.DATABASE_ROUTERS = [LaggingReplica()]
    assert [target.backing_index for target in live_targets()] == get_index().backing_indexes()
    assert jobs.standby() == jobs.unfinished(Job.Kind.REBUILD) == job
    assert jobs.unfinished_rebuild() is None
    assert jobs.cancel(job)
    assert job.status == "cancelled"


def test_without_any_index():
    product("shoe", picture("red"))
    rebuild()
    assert len(entries()) == 1
    assert_equal()


def test_changes_during_the_fill_reach_both_indexes(shop, monkeypatch):
    original = rebuilding._fill_page
    pages = []

    def fill(*args):
        failed = original(*args)
        if not pages:
            shop[0].delete()
            shop[1].price = 99
            shop[1].save()
            shop[5].active = False
            shop[5].save()
            product("new", picture("blue"))
            sync()  # a worker, at the same time
            assert len(entries()) == 5  # the active index is kept up to date in the meantime
        pages.append(args)
        return failed

    monkeypatch.setattr(rebuilding, "_fill_page", fill)
    rebuild()
    assert len(pages) > 1
    assert len(entries()) == 5
    assert_equal()


def test_deleted_between_read_and_write(shop, monkeypatch):
    original = rebuilding.write

    def late(prepared, targets):
        if ItemState.objects.filter(object_pk=str(pk)).exclude(outcome="removed").exists():
            shop[0].delete()
            sync()
            # The new index forgets the removal, as Elasticsearch does after a minute.
            targets[0].index._forget_removals(targets[0].backing_index)
        return original(prepared, targets)

    pk = shop[0].pk
    monkeypatch.setattr(rebuilding, "write", late)
    monkeypatch.setattr(LocalIndex, "_forget_removals", _forget_removals, raising=False)
    rebuild()
    assert len(entries()) == 5
    assert_equal()


def _forget_removals(self, backing_index):
    from imagesim.models import LocalEntry

    LocalEntry.objects.filter(generation__name=backing_index, removed_at__isnull=False).delete()


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_a_killed_rebuild_is_resumed(shop, monkeypatch, pages):
    dead = kill_after(monkeypatch, pages)
    assert dead.done == min(pages * 2, 6)
    shop[0].delete()
    product("new", picture("blue"))
    sync()
    run = rebuild()
    assert (run.pk, run.target) == (dead.pk, dead.target)
    assert get_index().backing_indexes() == [run.target]
    assert len(entries()) == 6
    assert_equal()


def test_a_picture_that_kills_its_process_does_not_keep_a_rebuild_from_its_end(shop, settings, monkeypatch):
    """Otherwise, each process that continues the rebuild would die of it. A sync counts its attempts, and in the end
    skips it."""
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}
    deadly, read, kills = shop[3].photos.get().file.name, embedding.read_file, []

    def die(picture):
        if picture.name == deadly:
            kills.append(picture.name)
            raise Killed
        return read(picture)

    def work(task):
        """Like a process that dies without cleaning up."""
        with monkeypatch.context() as patch:
            patch.setattr(leases, "release", lambda *args, **options: None)
            patch.setattr(jobs, "suspend", lambda *args, **options: None)
            with suppress(Killed):
                return task()
        ItemState.objects.exclude(lease="").update(leased_until=timezone.now() - timedelta(seconds=1))
        Job.objects.exclude(slot=None).update(heartbeat_at=timezone.now() - timedelta(days=1), owner="elsewhere/1/1")
        return None

    monkeypatch.setattr(embedding, "read_file", die)
    for _time in range(20):
        job = work(rebuild)
        if job is not None:
            break
    assert job.status == Job.Status.DONE
    assert len(kills) < 15
    assert len(entries()) == 5
    assert "The worker stopped" in ItemState.objects.get(object_pk=str(shop[3].pk)).error


@pytest.mark.parametrize("hold", [False, True])
def test_an_index_whose_name_a_killed_process_did_not_note_is_dropped(shop, monkeypatch, hold):
    def kill(*args, **values):
        if "target" in values:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "heartbeat", kill)
        with pytest.raises(KeyboardInterrupt):
            rebuild(hold=hold)
    assert len(get_index().backing_indexes()) == 2
    job = rebuild(hold=hold)
    assert get_index().backing_indexes() == [get_index().active(), job.target][not hold :]


def test_a_sync_whose_index_is_swapped_and_dropped_meanwhile(shop, monkeypatch):
    original = syncing.write

    def write(*args):
        monkeypatch.undo()
        rebuild()
        return original(*args)

    Product.objects.filter(pk=shop[1].pk).update(price=499)
    shop[0].price = 498
    shop[0].save()
    shop[-1].delete()
    monkeypatch.setattr(syncing, "write", write)
    assert not sync().interrupted
    sync()
    assert [price_in_the_index(each) for each in shop[:2]] == [498, 499]
    assert len(dict(get_index().scan())) == len(shop) - 1
    assert not ItemState.objects.filter(pending=True).exists()


def test_a_rebuild_killed_after_the_swap_only_cleans_up(shop, monkeypatch):
    monkeypatch.setattr(rebuilding, "_drop_others", lambda run: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        rebuild()
    monkeypatch.undo()
    Job.objects.update(owner="elsewhere/1/1", heartbeat_at=timezone.now() - timedelta(hours=1))
    assert len(get_index().backing_indexes()) == 2
    run = rebuild()
    assert get_index().backing_indexes() == [run.target]
    assert_equal()


def test_only_one_rebuild_at_a_time(shop):
    assert jobs.start(Job.Kind.REBUILD)
    with pytest.raises(AlreadyRunning, match="imagesim_status"):
        rebuild()
    with pytest.raises(CommandError, match="running already"):
        call_command("imagesim_rebuild")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("call", "owner", "name"),
    [
        (rebuild, LocalIndex, "make_searchable"),  # the graph of a large index
        (rebuild, rebuilding, "_fill_page"),  # large pictures and a slow model
        (reconcile, reconciling, "purge_unused"),  # millions of embeddings
        (sync, outbox, "record"),  # every item, for the first index
    ],
)
def test_a_long_call_is_not_taken_for_a_dead_process(shop, monkeypatch, call, owner, name):
    """The call takes longer than a heartbeat may be old."""
    original = getattr(owner, name)
    beats = []

    def wait(*args, **options):
        first = Job.objects.get(status=Job.Status.RUNNING).heartbeat_at
        until = time.monotonic() + 20
        while (
            not (beat := Job.objects.get(status=Job.Status.RUNNING).heartbeat_at > first) and time.monotonic() < until
        ):
            time.sleep(0.02)
        beats.append(beat)
        return original(*args, **options)

    if call is sync:
        get_index().drop(get_index().active())
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(owner, name, wait)
    call()
    assert beats
    assert all(beats)
    assert "imagesim-heartbeat" not in [thread.name for thread in threading.enumerate()]


def test_a_rebuild_that_lost_its_job_stops(shop, monkeypatch):
    original = rebuilding._fill_page

    def fill(*args):
        Job.objects.update(owner="another")
        return original(*args)

    monkeypatch.setattr(rebuilding, "_fill_page", fill)
    with pytest.raises(jobs.JobLost):
        rebuild()
    assert len(entries()) == 6


@pytest.mark.slow
def test_a_dead_process_is_detected_at_once(shop):
    script = "import os, django; django.setup()\nfrom imagesim.indexing import processes; print(processes.current())"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    owner = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    run = jobs.start(Job.Kind.REBUILD)
    assert not jobs.abandoned(run)
    run.owner = owner.stdout.strip()
    assert jobs.abandoned(run)


def test_a_rebuild_can_be_limited_in_time(shop):
    run = rebuild(seconds=1e-9)
    assert (run.status, run.done) == ("running", 2)
    assert jobs.unfinished_rebuild()
    while run.status == "running":
        run = rebuild(seconds=1e-9)
    assert run.done == 6
    assert_equal()


def test_another_model(shop, settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}
    before = get_index().meta().fingerprint
    shop[0].price = 99
    shop[0].save()
    assert sync().indexed == 1  # by the model that made the index, not the one in the settings
    assert get_index().meta().fingerprint == before
    rebuild()
    assert get_index().meta().fingerprint == "test-other-32"
    assert get_index().meta().dims == 32
    assert Embedding.objects.count() == 12
    assert_equal()


def test_embeddings_of_former_models_are_deleted_when_old(shop, settings):
    """Even in a shop that never reconciles, where they would otherwise stay for ever."""
    digests = set(Embedding.objects.values_list("digest", flat=True))
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}
    rebuild()
    assert Embedding.objects.count() == 2 * len(digests), "they are young"
    Embedding.objects.update(created_at=timezone.now() - timedelta(days=2))
    rebuild()
    assert set(Embedding.objects.values_list("digest", "fingerprint")) == {(d, "test-other-32") for d in digests}
    assert_equal()


def test_a_model_that_cannot_be_asked_when_the_rebuild_is_done_keeps_its_embeddings(shop, monkeypatch, caplog):
    """The new index is active by then: an error would leave the job unfinished."""
    count = Embedding.objects.count()
    Embedding.objects.update(created_at=timezone.now() - timedelta(days=2))
    monkeypatch.setattr(reconciling, "get_embedder", Mock(side_effect=EmbedderError("no answer")))
    assert rebuild().status == "done"
    assert reconcile().status == "done"
    assert Embedding.objects.count() == count
    assert caplog.text.count("Embeddings are not purged") == 2


def test_a_previous_model_missing_from_the_settings(shop, settings, monkeypatch):
    """Changes that need no vector from it are synced as before; the rest waits for the rebuild, which needs nothing
    from it."""
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER}
    shop[0].price = 99
    shop[0].save()
    assert sync().indexed == 1
    product("new", picture("blue"))
    report = sync()
    assert report.indexed == 0
    assert "PREVIOUS_EMBEDDERS" in report.interrupted
    rebuild()
    assert len(entries()) == 7
    assert_equal()


def test_a_change_during_a_rebuild_is_embedded_by_both_models(shop, settings, monkeypatch):
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}
    kill_after(monkeypatch, 1)
    product("new", picture("blue"))
    report = sync()
    assert (report.indexed, report.embedded) == (1, 2)
    rebuild()
    assert len(entries()) == 7
    assert_equal()


def test_settings_changed_before_resuming(shop, settings, monkeypatch):
    dead = kill_after(monkeypatch, 1)
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER}
    run = rebuild()
    assert run.target != dead.target
    assert get_index().backing_indexes() == [run.target]
    assert get_index().meta().dims == 32


def test_the_target_deleted_before_resuming(shop, monkeypatch):
    dead = kill_after(monkeypatch, 1)
    get_index().drop(dead.target)
    shop[0].save()
    sync()
    assert rebuild().target != dead.target
    assert_equal()


def test_a_failure_leaves_the_active_index(shop, monkeypatch, settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER}
    before = get_index().active()

    def fail(self, images):
        raise RuntimeError("no weights")

    monkeypatch.setattr(PixelEmbedder, "embed_images", fail)
    with pytest.raises(Exception, match="no weights"):
        rebuild()
    run = Job.objects.filter(kind="rebuild").first()
    assert run.status == "failed"
    assert "no weights" in run.error
    assert get_index().backing_indexes() == [before] == [get_index().active()]
    assert len(entries()) == 6
    monkeypatch.undo()
    rebuild()
    assert_equal()


@pytest.mark.parametrize("error", INFRASTRUCTURE_ERRORS)
def test_an_error_that_is_not_the_rebuilds_leaves_it_to_be_continued(shop, monkeypatch, error):
    """Such as Celery's time limit while the graph of a large index is built."""

    def fail(self, backing_index):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(LocalIndex, "make_searchable", fail)
        with pytest.raises(error):
            rebuild()
    left = jobs.unfinished_rebuild()
    assert left.done == 6
    assert rebuild().target == left.target == get_index().active()


SET_READ_ONLY = {
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
    "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    "sqlite": ("PRAGMA query_only = on", "PRAGMA query_only = off"),
}


@contextmanager
def read_only(connection):
    on, off = SET_READ_ONLY[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(on)
        try:
            yield
        finally:
            cursor.execute(off)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("work", "owner", "name"), [(sync, leases, "mark"), (rebuild, jobs, "checkpoint")])
def test_a_database_that_is_read_only_for_a_moment_fails_nothing(shop, monkeypatch, caplog, work, owner, name):
    """Such as in a failover, or while its disk is full: what handles the error may be able to write again."""
    original = getattr(owner, name)

    def while_read_only(*args):
        with read_only(connection):
            return original(*args)

    shop[0].save()
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, while_read_only)
        with pytest.raises(OperationalError):
            work()
    assert "failed" not in caplog.text
    assert not ItemState.objects.exclude(outcome="indexed").exists()
    left = jobs.unfinished_rebuild()
    assert (left is None) == (work is sync)
    assert left is None or rebuild().pk == left.pk
    ItemState.objects.update(not_before=timezone.now())
    sync()
    assert not ItemState.objects.filter(pending=True).exists()


def test_a_read_only_database_of_the_index_fails_no_item(pgvector_alias, settings):
    settings.IMAGESIM = settings.IMAGESIM | {"INDEX": index_setting("pgvector", pgvector_alias)}
    item = product("shoe", picture("red"))
    assert sync().indexed == 1
    item.price = 77
    item.save()
    with read_only(connections[pgvector_alias]):
        assert "read-only" in sync().interrupted
    assert ItemState.objects.get().attempts == 0


def test_a_rebuild_that_lost_its_job_drops_no_later_index(shop, monkeypatch):
    original = LocalIndex.promote
    later = []

    def promote(self, backing_index):
        original(self, backing_index)
        if not later:  # another process finishes the job, and there is another rebuild
            later.append("")
            Job.objects.update(owner="elsewhere/1/1", slot=None, status=Job.Status.DONE)
            later[0] = rebuild().target

    monkeypatch.setattr(LocalIndex, "promote", promote)
    with pytest.raises(jobs.JobLost):
        rebuild()
    assert get_index().backing_indexes() == later == [get_index().active()]


def test_a_rebuild_that_lost_its_job_drops_nothing_when_it_fails(shop, monkeypatch):
    def fail(*args):
        Job.objects.update(owner="elsewhere/1/1")
        raise RuntimeError("odd")

    monkeypatch.setattr(rebuilding, "_fill_page", fail)
    with pytest.raises(jobs.JobLost):
        rebuild()
    assert jobs.unfinished(Job.Kind.REBUILD).target in get_index().backing_indexes()


def test_the_index_is_unavailable_for_a_while(shop, monkeypatch):
    original = LocalIndex.write
    outages = []

    def write(self, operations, *, backing_index=None):
        if len(outages) < 3:
            outages.append(1)
            raise IndexUnavailable("gone")
        return original(self, operations, backing_index=backing_index)

    monkeypatch.setattr(LocalIndex, "write", write)
    monkeypatch.setattr(leases, "delay", lambda attempts: 0.01)
    rebuild()
    assert len(outages) == 3
    assert_equal()


def failing_embedder(monkeypatch, fails) -> None:
    """Let the embedder fail while ``fails(number of images that it has embedded)``."""
    original, done = PixelEmbedder.embed_images, [0]

    def embed(self, images):
        if fails(done[0]):
            raise EmbedderError("the service cannot be reached")
        done[0] += len(images)
        return original(self, images)

    monkeypatch.setattr(PixelEmbedder, "embed_images", embed)
    monkeypatch.setattr(leases, "delay", lambda attempts: 0.01)


@pytest.fixture
def other_model(shop, settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}


def test_the_embedder_is_unavailable_for_a_while(other_model, monkeypatch, caplog):
    """The index that was filled so far must not be dropped."""
    outages = iter([True] * 6)  # each page also asks whether the model works at all
    failing_embedder(monkeypatch, lambda done: done == 2 and next(outages, False))
    assert rebuild().status == Job.Status.DONE
    assert "The rebuild waits: the service cannot be reached" in caplog.messages
    assert_equal()
    assert Job.objects.filter(kind="rebuild").count() == 2, "with that of the first sync"


@pytest.mark.parametrize("worked", [0, 2])
def test_the_embedder_stays_unavailable(other_model, monkeypatch, worked):
    """Other changes must not wait for it."""
    monkeypatch.setattr(rebuilding, "OUTAGE_SECONDS", 0.5 if worked else 600)
    before = get_index().active()
    failing_embedder(monkeypatch, lambda done: done == worked)
    with pytest.raises(CommandError, match="the service cannot be reached"):
        call_command("imagesim_rebuild")
    assert get_index().backing_indexes() == [before]
    monkeypatch.undo()
    stored = Embedding.objects.filter(fingerprint__contains="other")
    assert stored.count() == worked
    rebuild()
    assert stored.count() == 6
    assert_equal()


def refusing(monkeypatch, taken: int, *, retryable: bool = True) -> str:
    """Let a new index take only the first ``taken`` items, as with a full disk; return the active index."""
    before, write = get_index().active(), LocalIndex.write
    first: list[str] = []

    def refuse(self, operations, *, backing_index=None, **options):
        if backing_index in (None, before):
            return write(self, operations, backing_index=backing_index, **options)
        new = [each.key for each in operations if each.key not in first]
        first.extend(new[: taken - len(first)])
        results = iter(write(self, [each for each in operations if each.key in first], backing_index=backing_index))
        full = "the disk is full"
        return [
            next(results) if each.key in first else WriteResult(each.key, "failed", full, retryable=retryable)
            for each in operations
        ]

    monkeypatch.setattr(LocalIndex, "write", refuse)
    return before


@pytest.mark.parametrize("taken", [0, 2])
def test_an_index_that_takes_few_entries_is_not_swapped_in(shop, monkeypatch, taken):
    """For instance when the disk is full: the shop would find next to nothing, or nothing at all."""
    before = refusing(monkeypatch, taken)
    message = f"took only {taken} of the 6 items of the active one, so it is not used: the disk is full"
    with pytest.raises(SearchIndexError, match=message):
        rebuild()
    monkeypatch.undo()
    assert get_index().backing_indexes() == [before] == [get_index().active()]
    assert Job.objects.filter(kind="rebuild").first().status == "failed"
    assert len(entries()) == 6
    sync()
    assert_equal()


@pytest.mark.parametrize("end", ["failure", "cancel"])
def test_what_only_a_dropped_index_refused_has_not_failed(shop, monkeypatch, end):
    """Otherwise, all items would be shown as failed until the next reconcile, with the error of an index that no longer
    exists."""
    refusing(monkeypatch, 0, retryable=False)
    if end == "cancel":
        check = Mock(side_effect=lambda target: jobs.cancel(jobs.unfinished(Job.Kind.REBUILD)))
        monkeypatch.setattr(rebuilding, "_check_losses", check)
        assert rebuild().status == Job.Status.CANCELLED
    else:
        with pytest.raises(SearchIndexError, match="so it is not used: the disk is full"):
            rebuild()
    monkeypatch.undo()
    assert ItemState.objects.filter(outcome="failed").count() == 6
    assert sync().indexed == 6
    assert not ItemState.objects.exclude(outcome="indexed", error="").exists()
    assert_equal()


def test_an_index_without_a_few_entries_is_swapped_in_and_has_them_later(shop, monkeypatch):
    before = refusing(monkeypatch, 4)
    rebuild()
    assert get_index().active() != before
    assert len(entries()) == 4
    monkeypatch.undo()
    ItemState.objects.exclude(error="").update(not_before=timezone.now())
    sync()
    assert_equal()


def test_what_the_shop_excludes_before_a_rebuild_is_no_loss(shop, monkeypatch):
    refusing(monkeypatch, 1)
    kept = Product.objects.filter(pk__in=[each.pk for each in shop[:2]])
    monkeypatch.setattr(registry.for_model(Product), "get_queryset", lambda: kept)
    rebuild()
    assert len(entries()) == 1


def test_a_rebuild_whose_index_cannot_be_made_is_not_running(shop, settings, caplog):
    settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": {"BACKEND": "no.Where"}}
    with pytest.raises(ConfigurationError):
        rebuild()
    assert Job.objects.filter(kind="rebuild").first().status == "failed"
    [record] = caplog.records
    assert "the active index is unchanged: 'no.Where' cannot be imported" in record.getMessage()
    assert not record.exc_info, "the message says all"


@pytest.mark.parametrize("error", [IndexUnavailable("gone"), AccessRefused("the key has expired")])
def test_the_index_stays_unavailable(shop, monkeypatch, error):
    monkeypatch.setattr(rebuilding, "OUTAGE_SECONDS", 0.01)
    monkeypatch.setattr(leases, "delay", lambda attempts: 0.01)
    monkeypatch.setattr(LocalIndex, "write", lambda *a, **k: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
        rebuild()
    monkeypatch.undo()
    assert jobs.unfinished_rebuild()
    rebuild()
    assert_equal()


def test_a_broken_picture_during_a_rebuild(shop, settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER}
    with shop[0].photos.get().file.open("wb") as file:
        file.write(b"broken meanwhile")
    run = rebuild()
    assert run.failed == 1
    assert len(entries()) == 5
    assert ItemState.objects.get(object_pk=str(shop[0].pk)).outcome == "failed"


def test_items_that_nobody_recorded_are_indexed_and_have_not_failed(shop):
    """Such as the items of a model that was registered later."""
    ItemState.objects.filter(object_pk__in=[str(each.pk) for each in shop[:3]]).delete()
    run = rebuild()
    assert (run.failed, len(entries())) == (0, 6)
    assert_equal()


def test_items_that_failed_before_and_can_be_indexed_now_have_not_failed(shop):
    """For instance after the shop's code was fixed: the first sync failed on every item."""
    ItemState.objects.update(outcome="failed", error="ZeroDivisionError: division by zero")
    imagesim.touch(Product.objects.all())
    run = rebuild()
    assert (run.failed, len(entries())) == (0, 6)


def test_the_command(shop):
    out = StringIO()
    call_command("imagesim_rebuild", "--format", "json", stdout=out)
    facts = json.loads(out.getvalue())
    assert (facts["status"], facts["total"], facts["done"], facts["failed"]) == ("done", 6, 6, 0)
    out = StringIO()
    call_command("imagesim_rebuild", stdout=out)
    assert "6 items" in out.getvalue()


def test_a_replaced_picture_is_read_during_a_rebuild(shop):
    """Its known digest is no longer valid, and the sync that follows writes the very same version."""
    photo = shop[0].photos.get()
    with photo.file.open("wb") as file:
        file.write(encoded(picture("green")))
    photo.save()
    seen = []

    def watch(done, total):
        seen.append(done)

    rebuild(progress=watch)
    wanted = ItemState.objects.get(object_pk=str(shop[0].pk)).images.get().digest
    entry = LocalEntry.objects.get(generation__active=True, key=f"shop.product:{shop[0].pk}")
    [[digest, _name]] = json.loads(bytes(entry.document))[5]
    assert digest == wanted == images.digest(encoded(picture("green")))
    assert seen[-1] == 6
