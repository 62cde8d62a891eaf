"""An index on standby: complete, alongside the active one, and written to by every sync until it is swapped in."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connections
from django.urls import reverse
from django.utils import timezone

from demo_shop.shop.models import Product
from imagesim import tasks
from imagesim.exceptions import AlreadyRunning, IndexMissing, ModelMismatch
from imagesim.indexes import get_index
from imagesim.indexing import jobs
from imagesim.indexing import rebuild as rebuilding
from imagesim.indexing import reconcile as reconciling
from imagesim.indexing.differences import DIFFERENCES
from imagesim.indexing.rebuild import rebuild, swap
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.models import Embedding, ItemState, Job, LocalEntry, StoredCalibration
from imagesim.monitoring.health import get_health
from imagesim.types import Filters, Query
from tests.shop import EMBEDDER, INDEXES, drop_index, encoded, index_for, picture, product, synced_products

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]
OTHER = {"BACKEND": "tests.embedders.GreyEmbedder", "OPTIONS": {"dims": 32}}
COLOURS = ("red", "green", "blue", "orange", "navy", "black", "tomato", "grey")
PAGE = reverse("admin:imagesim_visualindex_changelist")


class Killed(BaseException):
    """Stands in for kill -9: no handler sees it but ``finally``."""


@pytest.fixture(autouse=True)
def _small_pages(settings: Any) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "SYNC_BATCH_SIZE": 2}


@pytest.fixture
def shop() -> list[Product]:
    return synced_products(6)


@pytest.fixture
def change_model(settings: Any) -> None:
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}


@pytest.fixture
def held(shop: list[Product], change_model: None) -> Job:
    job = rebuild(hold=True)
    assert job.status == "standby"
    return job


def died() -> None:
    Job.objects.update(owner="elsewhere/1/1", heartbeat_at=timezone.now() - timedelta(hours=1))


def fails(monkeypatch: Any, where: Any, name: str, error: type[BaseException], call: Callable[[], Any]) -> None:
    """Call with a function that raises this error, which must be passed on."""

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise error("broken")

    with monkeypatch.context() as patched:
        patched.setattr(where, name, broken)
        with pytest.raises(error):
            call()


def assert_equal(*names: str) -> None:
    """Each of the indexes holds what the database says: the same entries, values and vectors."""
    index = get_index()
    shown = {f"shop.product:{each.pk}": each for each in Product.objects.filter(active=True) if each.photos.exists()}
    for name in names:
        index.refresh(name)
        meta = index.meta(name)
        assert dict(index.scan(backing_index=name)).keys() == shown.keys()
        assert index.count(backing_index=name) == len(shown)
        found = index.facets(Filters(), ["brand"], backing_index=name)["brand"]
        assert dict(found.values) == Counter(each.brand for each in shown.values())
        for key, each in shown.items():
            digests = ItemState.objects.get(object_pk=str(each.pk)).images.values_list("digest", flat=True)
            stored = Embedding.objects.get(fingerprint=meta.fingerprint, digest=digests[0])
            vector = np.frombuffer(bytes(stored.vector), dtype="<f4")
            query = Query(vector, Filters(keys=(key,)), fingerprint=meta.fingerprint)
            [candidate] = index.search([query], backing_index=name)[0].candidates
            assert (candidate.image_digest, round(candidate.score, 3)) == (digests[0], 1.0)
    report = reconcile(dry_run=True).report
    assert {name: report[name] for name in DIFFERENCES} == dict.fromkeys(DIFFERENCES, 0)


def assert_both_equal(job: Job) -> None:
    active = get_index().active()
    assert active not in (None, job.target)
    assert_equal(active, job.target)


class Changes:
    """Random changes to a shop."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made = 0

    def __call__(self, count: int = 1) -> None:
        for _ in range(count):
            self.random.choice([self.add, self.remove, self.rename, self.hide, self.replace, self.work])()

    def add(self) -> None:
        self.made += 1
        product(f"new{self.made}", picture(self.random.choice(COLOURS), mark=self.made), brand=self._brand())

    def remove(self) -> None:
        if (chosen := self._any()) is not None:
            chosen.delete()

    def rename(self) -> None:
        if (chosen := self._any()) is not None:
            chosen.brand = self._brand()
            chosen.save()

    def hide(self) -> None:
        if (chosen := self._any()) is not None:
            chosen.active = not chosen.active
            chosen.save()

    def replace(self) -> None:
        if (chosen := self._any()) is not None:
            self.made += 1
            data = encoded(picture(self.random.choice(COLOURS), mark=self.made))
            chosen.photos.all().delete()
            chosen.photos.create(position=0, file=ContentFile(data, f"other-{self.made}.png"))

    def work(self) -> None:
        """A worker that handles some of the changes, or a write without a signal that a reconcile finds."""
        if self.random.random() < 0.3:
            Product.objects.filter(pk__in=[each.pk for each in [self._any()] if each]).update(brand=self._brand())
            reconcile()
        else:
            sync(limit=self.random.randint(1, 5))

    def _any(self) -> Product | None:
        return self.random.choice(list(Product.objects.order_by("pk")) or [None])

    def _brand(self) -> str:
        return self.random.choice("abc")


class TestWrites:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("kind", "seed"),
        [
            ("local", 0),
            *(pytest.param("local", seed, marks=pytest.mark.long) for seed in range(1, 8)),
            *((kind, 99) for kind in list(INDEXES)[1:]),
        ],
    )
    def test_no_change_misses_either_index(self, request, settings, monkeypatch, kind, seed):
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": index_for(request, kind)}
        request.addfinalizer(drop_index)
        for number in range(6):
            product(f"p{number}", picture("red", mark=number))
        sync()
        former = get_index().active()
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}
        changes, fill = Changes(seed), rebuilding._fill_page

        def fill_and_change(*args: Any) -> int:
            changes()
            failed = fill(*args)
            changes()
            return failed

        monkeypatch.setattr(rebuilding, "_fill_page", fill_and_change)
        job = rebuild(hold=True)
        monkeypatch.undo()
        assert (job.status, get_index().active()) == ("standby", former)
        for _ in range(3):
            changes(8)
            sync()
            assert_both_equal(job)
        Product.objects.update(brand="z")  # without a signal
        reconcile()
        assert_both_equal(job)
        changes(4)
        assert swap().status == "done"
        assert get_index().backing_indexes() == [get_index().active()] == [job.target]
        sync()
        assert_equal(job.target)

    def test_what_is_missing_in_one_of_them_is_repaired(self, held):
        index, active = get_index(), get_index().active()
        LocalEntry.objects.filter(generation__name=held.target, key__endswith=":1").delete()
        first = LocalEntry.objects.filter(generation__name=held.target).first()
        first.delete()
        assert reconcile(dry_run=True).report["missing"] >= 1
        reconcile()
        assert len(dict(index.scan(backing_index=held.target))) == len(dict(index.scan(backing_index=active))) == 6
        assert_both_equal(held)

    def test_the_embeddings_of_both_models_are_kept(self, held, monkeypatch):
        monkeypatch.setattr(reconciling, "UNUSED_AGE", timedelta(0))
        reconcile()
        kept = Counter(Embedding.objects.values_list("fingerprint", flat=True))
        assert kept == {"test-pixels-64": 6, "test-grey-32": 6}
        swap()
        reconcile()
        assert set(Embedding.objects.values_list("fingerprint", flat=True)) == {"test-grey-32"}

    @pytest.mark.parametrize("left_out", ["EMBEDDER", "PREVIOUS_EMBEDDERS"])
    def test_a_change_waits_while_the_settings_lack_one_of_the_models(self, held, settings, left_out):
        complete = settings.IMAGESIM
        lacking = {"EMBEDDER": {"EMBEDDER": EMBEDDER}, "PREVIOUS_EMBEDDERS": {"EMBEDDER": OTHER}}[left_out]
        settings.IMAGESIM = {"SYNC": "manual", "SYNC_BATCH_SIZE": 2, **lacking}
        product("new", picture("blue"))
        report = sync()
        assert (report.done, "PREVIOUS_EMBEDDERS" in report.interrupted) == (0, True)
        settings.IMAGESIM = complete
        ItemState.objects.update(not_before=timezone.now())
        sync()
        assert_both_equal(held)


class TestHold:
    def test_it_stands_by_calibrated_and_only_it_may(self, held):
        former = get_index().active()
        assert (held.slot, held.done, held.total, held.hold) == ("rebuild", 6, 6, True)
        assert held.finished_at
        assert StoredCalibration.objects.filter(fingerprint="test-grey-32").exists()
        for start in (rebuild, lambda: rebuild(hold=True), lambda: call_command("imagesim_rebuild")):
            with pytest.raises((AlreadyRunning, CommandError), match=r"on standby: .* --swap` makes .* --discard`"):
                start()
        Job.objects.update(heartbeat_at=timezone.now() - timedelta(days=30))
        assert jobs.unfinished_rebuild() is None  # no process has to take it up
        tasks.sync()
        tasks.rebuild()
        assert (get_index().active(), jobs.standby()) == (former, held)

    @pytest.mark.usefixtures("pgvector_alias")
    def test_the_recall_of_pgvector_is_measured_on_its_graph(self, request, settings, monkeypatch):
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": index_for(request, "pgvector")}
        request.addfinalizer(drop_index)
        product("p", picture("red"))
        sync()
        graphs: list[Any] = []

        def measure(backing_index: str, **given: Any) -> None:
            with connections["pgvector"].cursor() as cursor:
                cursor.execute("SELECT id FROM imagesim_pgvector WHERE name = %s", [backing_index])
                [number] = cursor.fetchone()
                cursor.execute("SELECT to_regclass(%s)::text", [f"imagesim_pgvector_{number}_graph"])
                graphs.extend(cursor.fetchone())

        monkeypatch.setattr(rebuilding, "update_quietly", measure)
        rebuild()
        assert [bool(each) for each in graphs] == [True]

    def test_not_without_an_active_index(self):
        with pytest.raises(IndexMissing, match="imagesim_sync"):
            rebuild(hold=True)
        assert not Job.objects.exists()

    def test_not_without_the_model_of_the_active_one(self, shop, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER}
        with pytest.raises(ModelMismatch, match="PREVIOUS_EMBEDDERS"):
            rebuild(hold=True)
        assert jobs.unfinished("rebuild") is None

    def test_one_that_was_killed_while_it_was_filled_still_stands_by(self, shop, change_model, monkeypatch):
        fails(monkeypatch, rebuilding, "update_quietly", Killed, lambda: rebuild(hold=True))
        died()
        product("late", picture("blue"))
        sync()
        job = rebuild()  # like a worker's, which does not know what was requested
        assert job.status == "standby"
        assert_both_equal(job)

    def test_pausing_and_cancelling_before_it_stands_by(self, shop, change_model, monkeypatch):
        original = rebuilding.calibrate_quietly
        act: Callable[[Job], bool] = jobs.pause

        def calibrate(*args: Any) -> None:
            act(jobs.unfinished("rebuild"))
            original(*args)

        monkeypatch.setattr(rebuilding, "calibrate_quietly", calibrate)
        assert rebuild(hold=True).status == "paused"
        jobs.resume(jobs.unfinished("rebuild"))
        act = jobs.cancel
        assert rebuild().status == "cancelled"
        assert len(get_index().backing_indexes()) == 1

    def test_in_slices_by_tasks(self, shop, change_model, monkeypatch):
        started: list[Any] = []
        monkeypatch.setattr(tasks, "SLICE_SECONDS", 1e-9)
        monkeypatch.setattr(tasks, "start", lambda name, **given: started.append(given))
        tasks.rebuild(hold=True)
        while started:
            tasks.rebuild(**started.pop())
        assert jobs.standby() is not None


class TestSwap:
    def test_nothing_to_swap(self, shop):
        for start in (swap, lambda: call_command("imagesim_rebuild", "--swap")):
            with pytest.raises((AlreadyRunning, CommandError), match="No index is on standby"):
                start()

    @pytest.mark.parametrize("where", ["promote", "_drop_others"])
    def test_one_that_was_killed_is_continued(self, held, monkeypatch, where):
        fails(monkeypatch, type(get_index()) if where == "promote" else rebuilding, where, Killed, swap)
        died()
        assert jobs.standby() is None
        left = jobs.unfinished_rebuild()
        assert left == held
        assert not jobs.pause(left)
        product("late", picture("blue"))
        sync()
        tasks.rebuild(job=left.pk)
        held.refresh_from_db()
        assert (held.status, get_index().backing_indexes()) == ("done", [held.target])
        assert_equal(held.target)

    def test_new_registrations_are_no_reason_to_build_it_again(self, held, monkeypatch):
        monkeypatch.setattr(rebuilding, "new_meta", lambda: None)
        assert (swap().target, get_index().active()) == (held.target, held.target)

    def test_one_that_fails_leaves_it_on_standby(self, held, monkeypatch):
        former = get_index().active()
        fails(monkeypatch, type(get_index()), "promote", RuntimeError, swap)
        assert (jobs.standby(), get_index().active()) == (held, former)
        assert swap().status == "done"

    def test_one_that_is_gone_cannot_be_swapped_in(self, held):
        get_index().drop(held.target)
        assert sync().interrupted == ""
        assert {check.name: check.state for check in get_health()}["index"] == "degraded"
        with pytest.raises(IndexMissing, match="--discard"):
            swap()
        call_command("imagesim_rebuild", "--discard", "--noinput", stdout=StringIO())
        assert rebuild().status == "done"

    def test_that_of_another_shop_stays_as_it_is(self, request, settings):
        """A copy of the shop's database, with an index of its own on the same server, names it as well."""
        theirs, ours = (index_for(request, "elasticsearch") for _ in range(2))
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": theirs}
        products = synced_products(2)
        held, production = rebuild(hold=True), get_index()
        active, entries = production.active(), list(production.scan(backing_index=held.target))
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": ours}
        get_index().promote(own := get_index().create(production.meta()))
        products[0].delete()
        products[1].save()
        assert sync().interrupted == ""
        production.refresh(held.target)
        assert list(production.scan(backing_index=held.target)) == entries
        assert jobs.swap(held)  # as the admin does, which does not ask the index
        with pytest.raises(IndexMissing, match="--discard"):
            rebuild(unfinished=held.pk)
        assert (production.active(), get_index().active(), jobs.standby()) == (active, own, held)

    def test_a_lost_active_index_is_replaced_by_it(self, held):
        get_index().drop(get_index().active())
        product("late", picture("blue"))
        assert "--swap" in sync().interrupted
        assert swap().status == "done"
        assert_equal(held.target)


class TestDiscard:
    def test_it_leaves_the_active_index_and_nothing_else(self, held, monkeypatch):
        former = get_index().active()
        monkeypatch.setattr("builtins.input", lambda: "no")
        with pytest.raises(CommandError, match="Nothing was deleted"):
            call_command("imagesim_rebuild", "--discard")
        assert jobs.standby() == held
        monkeypatch.setattr("builtins.input", lambda: "yes")
        out = StringIO()
        call_command("imagesim_rebuild", "--discard", stdout=out)
        assert out.getvalue() == f"Deleted {held.target}.\n"
        held.refresh_from_db()
        assert (held.status, held.slot, get_index().backing_indexes()) == ("cancelled", None, [former])
        product("late", picture("blue"))
        sync()
        assert_equal(former)
        with pytest.raises(CommandError, match="No index is on standby"):
            call_command("imagesim_rebuild", "--discard", "--noinput")

    @pytest.mark.django_db(transaction=True)
    def test_clearing(self, held):
        call_command("imagesim_clear", "--noinput", stdout=StringIO())
        assert (get_index().backing_indexes(), Job.objects.count()) == ([], 0)
