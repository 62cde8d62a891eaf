"""A state machine on the real tables: after any operations in any order, the index equals the shop.

Two workers are taken apart into their steps (claim, read, write, mark), so that anything can happen in between: a save,
a delete, the death of a worker, a claim that expires, an index that is down or forgets its tombstones, a rebuild.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta

import hypothesis.strategies as st
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from demo_shop.shop.models import Category, Photo, Product
from imagesim.exceptions import IndexMissing, IndexUnavailable
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexing import leases
from imagesim.indexing import rebuild as rebuilding
from imagesim.indexing.differences import DIFFERENCES
from imagesim.indexing.documents import prepare, write
from imagesim.indexing.embedding import Vectors
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import _queue_former_owners, sync
from imagesim.indexing.write_targets import live_targets
from imagesim.models import ItemState, Job, LocalEntry, Scope
from tests.examples import examples
from tests.shop import EMBEDDER, encoded, picture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root"), pytest.mark.timeout(900)]

COLOURS = ["red", "green", "blue"]
FILES = ["picture-0.png", "picture-1.png", "picture-2.png", "broken.png", "not-there.png"]
WORKERS = st.sampled_from(["ada", "bob"])
NUMBERS = st.integers(0, 3)


class _Down(LocalIndex):
    is_down = False

    def write(self, operations, *, backing_index=None):
        if _Down.is_down:
            raise IndexUnavailable("down")
        return super().write(operations, backing_index=backing_index)


class Shop(RuleBasedStateMachine):
    """The rules are what may happen; the invariant is checked in ``teardown``, when everything has settled."""

    @initialize()
    def open(self):
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        _Down.is_down = False
        for number, colour in enumerate(COLOURS):
            name = f"picture-{number}.png"
            if not default_storage.exists(name):
                default_storage.save(name, ContentFile(encoded(picture(colour))))
        if not default_storage.exists("broken.png"):
            default_storage.save("broken.png", ContentFile(b"no picture"))
        self.shelves = [Category.objects.create(name=slug, slug=slug) for slug in ("a", "b")]
        self.work = {}
        self.needs_comparison = False
        sync()

    # The shop.

    def product(self, number):
        return Product.objects.filter(slug=f"p{number}").first()

    @rule(number=NUMBERS, pictures=st.lists(st.sampled_from(FILES), max_size=2))
    def create(self, number, pictures):
        if self.product(number) is None:
            made = Product.objects.create(name="x", slug=f"p{number}", category=self.shelves[0], price=1, stock=1)
            for each in pictures:
                Photo.objects.create(product=made, file=each)

    @rule(number=NUMBERS, stock=st.integers(0, 1))
    def flip(self, number, stock):
        if found := self.product(number):
            found.stock = stock
            found.save(update_fields=["stock"])

    @rule(number=NUMBERS, price=st.integers(1, 3), active=st.booleans())
    def edit(self, number, price, active):
        if found := self.product(number):
            found.price, found.active = price, active
            found.save()

    @rule(number=NUMBERS)
    def delete(self, number):
        if found := self.product(number):
            found.delete()

    @rule(number=NUMBERS)
    def delete_and_make_anew_with_the_same_key(self, number):
        if found := self.product(number):
            pk = found.pk
            found.delete()
            made = Product.objects.create(pk=pk, name="y", slug=f"p{number}", category=self.shelves[1], price=2)
            Photo.objects.create(product=made, file="picture-2.png")

    @rule(number=NUMBERS, file=st.sampled_from(FILES))
    def swap_picture(self, number, file):
        if (found := self.product(number)) and (photo := found.photos.first()):
            photo.file = file
            photo.save()

    @rule(number=NUMBERS, to=NUMBERS)
    def move_picture(self, number, to):
        found, other = self.product(number), self.product(to)
        if found and other and (photo := found.photos.first()):
            photo.product = other
            photo.save()

    @rule(which=st.integers(0, 1), word=st.sampled_from(["c", "d", "e"]))
    def rename_category(self, which, word):
        if not Category.objects.filter(slug=word).exists():
            self.shelves[which].slug = word
            self.shelves[which].save()

    @rule(number=NUMBERS)
    def roll_back(self, number):
        if found := self.product(number):
            with transaction.atomic():
                found.price = 77
                found.save()
                transaction.set_rollback(True)

    @rule(price=st.integers(4, 6))
    def update_many_without_signals(self, price):
        Product.objects.update(price=price)
        self.needs_comparison = True

    # The workers, step by step.

    @rule(worker=WORKERS, scope=st.sampled_from(list(Scope)), limit=st.integers(1, 3))
    def lease(self, worker, scope, limit):
        if worker not in self.work:
            lease = leases.lease(scope, limit)
            if lease.states:
                self.work[worker] = {"lease": lease}

    @rule(worker=WORKERS)
    def read(self, worker):
        work = self.work.get(worker)
        if work and "prepared" not in work:
            work["targets"] = live_targets()
            work["prepared"] = prepare(work["lease"].states, work["targets"], Vectors(work["targets"]))

    @rule(worker=WORKERS)
    def write(self, worker):
        work = self.work.get(worker)
        if work and "prepared" in work and "written" not in work:
            try:
                work["outcomes"] = write(work["prepared"], work["targets"])
                work["written"] = True
            except (IndexUnavailable, IndexMissing):  # as in sync(); missing: a rebuild has taken its place
                leases.release(work["lease"])
                del self.work[worker]

    @rule(worker=WORKERS)
    def mark(self, worker):
        work = self.work.get(worker)
        if work and "written" in work:
            _queue_former_owners(work["prepared"])
            leases.mark(work["lease"], [outcome.as_sync_result() for outcome in work["outcomes"]])
            del self.work[worker]

    @rule(worker=WORKERS)
    def kill(self, worker):
        work = self.work.pop(worker, {})
        # It may have written something late, which only the comparison can still notice.
        self.needs_comparison |= "written" in work

    @rule()
    def claims_expire(self):
        ItemState.objects.exclude(lease="").update(leased_until=timezone.now() - timedelta(seconds=1))

    @rule()
    def time_passes(self):
        ItemState.objects.filter(pending=True).update(not_before=timezone.now() - timedelta(seconds=1))

    @rule()
    def sync_all(self):
        sync()

    # The index.

    @rule(down=st.booleans())
    def outage(self, down):
        _Down.is_down = down

    @rule()
    def forget_removals(self):
        LocalEntry.objects.filter(removed_at__isnull=False).delete()

    @precondition(lambda self: not _Down.is_down)
    @rule()
    def rebuild_all(self):
        rebuild()

    @precondition(lambda self: not _Down.is_down)
    @rule()
    def rebuild_in_slices(self):
        rebuild(seconds=1e-9)

    @rule()
    def rebuild_is_given_up(self):
        Job.objects.filter(slot="rebuild").update(slot=None, status="failed")

    @precondition(lambda self: not _Down.is_down)
    @rule(dry_run=st.booleans())
    def compare(self, dry_run):
        reconcile(dry_run=dry_run)

    # At the end.

    def teardown(self):
        if not hasattr(self, "savepoint"):
            return
        try:
            self.calm_down()
        finally:
            transaction.set_rollback(True)
            self.savepoint.__exit__(None, None, None)

    def calm_down(self):
        for worker in list(self.work):  # slow workers wake up now and finish, late
            self.read(worker)
            self.write(worker)
            self.mark(worker)
        _Down.is_down = False
        self.claims_expire()
        self.drain()
        if self.needs_comparison:
            reconcile()
            self.drain()
        report = reconcile(dry_run=True).report
        assert {name: report[name] for name in DIFFERENCES} == dict.fromkeys(DIFFERENCES, 0)
        assert dict.fromkeys(key for key, _ in get_index().scan()) == dict.fromkeys(sorted(self.wanted()))
        for state in ItemState.objects.all():
            assert not state.pending
            broken = state.outcome == "failed"
            assert broken == (state.object_pk in self.unusable()), state.error
        for entry in LocalEntry.objects.filter(generation__active=True, removed_at__isnull=True):
            shown = Product.objects.get(pk=entry.key.split(":")[1])
            _model, _group, in_stock, categories, filters, *_images_and_texts = json.loads(bytes(entry.document))
            assert in_stock == (shown.stock > 0)
            assert categories == [shown.category.slug]
            assert filters["price"] == [float(shown.price)]

    def drain(self):
        for _ in range(12):
            self.time_passes()
            if not sync().done:
                break

    def usable(self, product):
        return [photo for photo in product.photos.all() if photo.file.name.startswith("picture")]

    def wanted(self):
        return [f"shop.product:{p.pk}" for p in Product.objects.filter(active=True) if self.usable(p)]

    def unusable(self):
        shown = Product.objects.filter(active=True)
        return [str(p.pk) for p in shown if p.photos.exists() and not self.usable(p)]


def test_the_index_ends_up_equal(monkeypatch):
    monkeypatch.setattr(rebuilding, "OUTAGE_SECONDS", 0.0)
    options = {
        "SYNC": "manual",
        "EMBEDDER": EMBEDDER,
        "SYNC_BATCH_SIZE": 2,
        "INDEX": {"BACKEND": f"{__name__}._Down", "OPTIONS": {"name": "properties"}},
    }
    with override_settings(IMAGESIM=options):
        run_state_machine_as_test(
            Shop,
            settings=settings(
                max_examples=examples(12),
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=False,
                database=None,
                # Finding the shortest example takes minutes; ask for it when there is a failure to examine.
                phases=[Phase.generate, *([Phase.shrink] if "IMAGESIM_TEST_SHRINK" in os.environ else [])],
            ),
        )
