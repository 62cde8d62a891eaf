"""Items and the app's tables on different databases, or together on one that is not the default."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = """
import os
from tests.settings import *

FOLDER = os.environ["SHOP"]
DATABASES = {
    name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER}/{name}.sqlite3"} for name in ("default", "other")
}
DATABASES["unrelated"] = {"ENGINE": "a_driver.that_is_not_installed_here"}
DATABASE_ROUTERS = ["two_databases.Router"]
MEDIA_ROOT = FOLDER
IMAGESIM = {"SYNC": "manual", "EMBEDDER": {"BACKEND": "imagesim.testing.embedders.PixelEmbedder"}}


class Router:
    def db_for_write(self, model, **hints):
        return "other" if model._meta.app_label in os.environ["ON_OTHER"].split() else None

    db_for_read = db_for_write
"""
STRICT = """
    def allow_migrate(self, db, app_label, **hints):
        return (db == "other") == (app_label in os.environ["ON_OTHER"].split())
"""
ASK = """
import django; django.setup()
from django.core.management import call_command
from django.db import router, transaction
from imagesim.indexing import dispatch
from imagesim.indexing.sync import sync
from imagesim.models import ItemState
from imagesim.monitoring.status import get_status
from demo_shop.shop.models import Photo, Product
import imagesim
from tests.shop import picture, product

for database in ("default", "other"):
    call_command("migrate", database=database, verbosity=0)
shop = router.db_for_write(Product)
told = []
dispatch.wake = lambda: told.append(True)
with transaction.atomic(using=shop):
    shoe, boot = (product(name, picture("red", mark=number)) for number, name in enumerate(["shoe", "boot"]))
    assert ItemState.objects.filter(pending=True).count() == 2
    if shop != (own := router.db_for_write(ItemState)):
        assert sync().done == 2, "nothing is committed yet"
assert told == [True], told
assert ItemState.objects.filter(pending=True).count() == 2, "recorded again with the commit"
assert sync().indexed == 2
assert [hit.item for hit in imagesim.similar_to(shoe)] == [boot]

Product.objects.filter(pk=boot.pk).update(stock=0)
assert imagesim.touch(boot) == imagesim.touch(Product.objects.filter(pk=boot.pk)) == 1
assert sync().indexed == 1
assert not imagesim.similar_to(shoe, in_stock=True)

boot.photos.get().delete()
boot.delete()
assert sync().removed == 1
assert not imagesim.similar_to(shoe)
status = get_status()
assert (status.items, status.indexed, status.pending, status.index.entries) == (1, 1, 0, 1), status
call_command("imagesim_status", "--check", verbosity=0)
call_command("imagesim_rebuild", verbosity=0)
call_command("imagesim_sync", "--reconcile", verbosity=0)
"""


@pytest.mark.parametrize(
    ("on_other", "router"),
    [
        pytest.param("shop", SETTINGS + STRICT, id="shop, each its own"),
        pytest.param("imagesim", SETTINGS, id="imagesim, tables everywhere", marks=pytest.mark.long),
        pytest.param("shop", SETTINGS, id="shop, tables everywhere", marks=pytest.mark.long),
        pytest.param("imagesim", SETTINGS + STRICT, id="imagesim, each its own", marks=pytest.mark.long),
        pytest.param("shop imagesim", SETTINGS, id="both, tables everywhere", marks=pytest.mark.long),
        pytest.param("shop imagesim", SETTINGS + STRICT, id="both, each its own", marks=pytest.mark.long),
    ],
)
def test_items_and_tables_on_two_databases(tmp_path: Path, on_other: str, router: str) -> None:
    run(ASK, tmp_path, on_other, router)


FIGURES = """
import django; django.setup()
from datetime import timedelta
from django.core.management import call_command
from django.db import connections
from django.utils import timezone
from imagesim.indexes import projections
from imagesim.experiments import results
from imagesim.experiments.models import DailyResult, Experiment, Exposure, Variant
from imagesim.insight import catalogue, rollup
from imagesim.insight.models import DailyCount, Search

for database in ("default", "other"):
    call_command("migrate", database=database, verbosity=0)
# As on other databases than SQLite, where a lock outside of a transaction is an error.
connections["other"].features.has_select_for_update = True
connections["other"].ops.for_update_sql = lambda **kwargs: ""

Search.objects.create(request="a", where="words", text="red", found=1)
assert rollup.roll_up() == 0
assert DailyCount.objects.using("other").filter(kind="words").count() == 1

experiment = Experiment.objects.create(name="an experiment")
for letter, changes in (("A", {}), ("B", {"diversity": 0.5})):
    Variant.objects.create(experiment=experiment, letter=letter, **changes)
experiment.start()
assert experiment.copied().variants.count() == 2
Experiment.objects.update(started=timezone.now() - timedelta(days=3))
assert results.update_all() >= 2
projections.choose(None)
assert catalogue.scan(60).finished_at
"""


@pytest.mark.long
def test_figures_are_locked_on_the_database_that_they_are_on(tmp_path: Path) -> None:
    apps = "imagesim imagesim_insight imagesim_experiments imagesim_merchandising"
    run(FIGURES, tmp_path, apps, SETTINGS.replace('"SYNC"', '"EVENTS": True, "SYNC"') + STRICT)


WAIT = """
import django; django.setup()
import threading, time
import numpy as np
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone
from demo_shop.shop.models import Category
from imagesim.indexes import projections
from imagesim.experiments.models import Experiment, Variant
from imagesim.insight import catalogue, rollup
from imagesim.insight.models import Search

call_command("migrate", verbosity=0)
Search.objects.create(request="a", where="words", text="red", found=1)
catalogue.begin()
matrix = np.eye(2, dtype=np.float32)
projection = projections.Projection("model", "pca", matrix)
projection.save()
experiment = Experiment.objects.create(name="an experiment")
for letter, changes in (("A", {}), ("B", {"diversity": 0.5})):
    Variant.objects.create(experiment=experiment, letter=letter, **changes)
for call in (
    lambda: rollup.roll_up_day(timezone.now().date()),
    catalogue.begin,
    projection.save,
    lambda: projections.choose(projection.id),
    experiment.start,
):
    writing = threading.Event()

    def write():
        with transaction.atomic():
            Category.objects.create(name="shoes", slug=str(time.monotonic()))
            writing.set()
            time.sleep(0.5)
        connections.close_all()

    writer = threading.Thread(target=write)
    writer.start()
    writing.wait()
    call()
    writer.join()
"""


@pytest.mark.long
def test_on_sqlite_a_write_waits_for_another_process_that_writes(tmp_path: Path) -> None:
    run(WAIT, tmp_path, "", SETTINGS.replace('"SYNC"', '"EVENTS": True, "SYNC"'))


def run(script: str, tmp_path: Path, on_other: str, router: str) -> None:
    (tmp_path / "two_databases.py").write_text(router)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "two_databases",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "SHOP": str(tmp_path),
        "ON_OTHER": on_other,
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
