"""The commands: JSON output, text output, and a progress bar on a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import sys
from datetime import timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.apps import apps
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.db import IntegrityError, InterfaceError, OperationalError
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim.exceptions import IndexUnavailable
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexing import leases, reconcile
from imagesim.insight.models import DailyCount, Finding, Search
from imagesim.items.registry import registry
from imagesim.items.thumbnail_files import FOLDER
from imagesim.management import ImagesimCommand, ProgressBar
from imagesim.management.commands import imagesim_sync
from imagesim.merchandising.models import Rule
from imagesim.models import ItemState, Job
from imagesim.monitoring.status import get_status
from imagesim.pages.thumbnails import _stored
from imagesim.types import Removal
from tests.shop import EMBEDDER, picture, product

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


@pytest.fixture(autouse=True)
def _small_embedder(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}


def call(*arguments):
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def as_json(*arguments):
    return json.loads(call(*arguments, "--format", "json"))


def bulk_created(count):
    shelf = Category.objects.get()
    return Product.objects.bulk_create(
        [Product(name=f"p{number}", slug=f"p{number}", category=shelf, price=1) for number in range(count)]
    )


@pytest.mark.django_db(transaction=True)
class TestClear:
    def test_clear_deletes_everything_and_sync_recreates_it(self, settings):
        shoe = product("shoe", picture("red"))
        boot = product("boot", picture("red", mark=1))
        call("imagesim_sync")
        Rule.objects.create(name="boots first")
        Finding.objects.create(state=ItemState.objects.first(), kind=Finding.Kind.BROKEN)
        DailyCount.objects.create(day="2026-11-01", kind=DailyCount.Kind.WORDS, name="boots")
        _stored(shoe.photos.get().file, 320)
        folder = Path(settings.MEDIA_ROOT) / FOLDER
        assert any(folder.iterdir())

        facts = as_json("imagesim_clear", "--noinput")

        assert (len(facts["indexes"]), facts["thumbnails"]) == (1, 1)
        for label in ("imagesim", "imagesim_insight", "imagesim_merchandising"):
            for model in apps.get_app_config(label).get_models():
                assert not model._base_manager.exists(), model
        assert get_index().backing_indexes() == []
        assert not any(folder.iterdir())
        assert all(photo.file.storage.exists(photo.file.name) for photo in Photo.objects.all())
        assert as_json("imagesim_sync")["indexed"] == 2
        assert [hit.item for hit in imagesim.similar_to(shoe)] == [boot]

    def test_thumbnails_are_found_in_the_storage_of_any_file_field_without_a_registration(self, monkeypatch, tmp_path):
        monkeypatch.setattr(Photo._meta.get_field("file"), "storage", FileSystemStorage(tmp_path))
        _stored(product("shoe", picture("red")).photos.get().file, 320)
        with monkeypatch.context() as patch:
            patch.setattr(registry, "_items", {})
            assert as_json("imagesim_clear", "--noinput")["thumbnails"] == 1
        assert not any((tmp_path / FOLDER).iterdir())

    @pytest.mark.parametrize("error", [NotImplementedError("no folders"), ConnectionError("no answer")])
    def test_a_storage_that_cannot_be_listed_is_named(self, monkeypatch, error):
        storage = FileSystemStorage("elsewhere")
        monkeypatch.setattr(storage, "listdir", Mock(side_effect=error))
        monkeypatch.setattr(Photo._meta.get_field("file"), "storage", storage)
        said = StringIO()
        call_command("imagesim_clear", "--noinput", stdout=StringIO(), stderr=said)
        assert re.search(rf"by hand.*{FOLDER}.*FileSystemStorage.*{error}", said.getvalue())

    def test_the_default_storage_is_named_by_its_class(self, monkeypatch, caplog):
        monkeypatch.setattr(FileSystemStorage, "listdir", Mock(side_effect=NotImplementedError("no folders")))
        said = StringIO()
        call_command("imagesim_clear", "--noinput", stdout=StringIO(), stderr=said)
        assert f"'{FOLDER}' in FileSystemStorage (" in said.getvalue()
        reconcile.purge_thumbnails(dry_run=True)
        assert "not purged in FileSystemStorage: " in caplog.text

    def test_clear_asks_for_confirmation(self, monkeypatch):
        product("shoe", picture("red"))
        monkeypatch.setattr("builtins.input", lambda: "y")
        out, asked = StringIO(), StringIO()
        with pytest.raises(CommandError, match="Nothing was deleted"):
            call_command("imagesim_clear", format="json", stdout=out, stderr=asked)
        assert ItemState.objects.exists()
        assert asked.getvalue().endswith("Type 'yes': ")
        assert out.getvalue() == ""

    def test_without_anyone_to_ask_nothing_is_deleted(self, monkeypatch):
        product("shoe", picture("red"))
        monkeypatch.setattr("sys.stdin", StringIO())
        said = StringIO()
        with pytest.raises(CommandError, match="Nothing was deleted"):
            call_command("imagesim_clear", stdout=StringIO(), stderr=said)
        assert said.getvalue().endswith("Type 'yes': \n")
        assert ItemState.objects.exists()


class TestSync:
    def test_json(self):
        product("shoe", picture("red"))
        facts = as_json("imagesim_sync")
        assert (facts["done"], facts["indexed"], facts["embedded"], facts["interrupted"]) == (1, 1, 1, "")

    def test_text(self):
        product("shoe", picture("red"))
        product("boot", b"broken")
        assert "Synced 2" in (text := call("imagesim_sync"))
        assert "1 failed" in text

    def test_an_item_that_is_changed_meanwhile_counts_once(self, monkeypatch):
        shoe = product("shoe", picture("red"))
        mark, times = leases.mark, iter(range(2))

        def save_once_more(lease, results):
            marked = mark(lease, results)
            if next(times, None) is not None:
                Product.objects.get(pk=shoe.pk).save()
            return marked

        monkeypatch.setattr(leases, "mark", save_once_more)
        text = call("imagesim_sync")
        assert "Synced 1 in" in text
        assert "1 indexed" in text
        assert "embedded. 2 times an item was synced again, because it was changed meanwhile." in text
        Product.objects.get(pk=shoe.pk).save()
        facts = as_json("imagesim_sync")
        assert (facts["done"], facts["indexed"], facts["again"]) == (1, 1, 0)

    def test_says_what_it_does_not_know_of(self):
        shoe = product("shoe", picture("red"))
        call("imagesim_sync")
        Photo.objects.bulk_create([Photo(product=copy, file=shoe.photos.get().file) for copy in bulk_created(2)])
        shoe.delete()
        call("imagesim_sync")  # its state remains for a day
        assert as_json("imagesim_status")["unrecorded"] == 2
        assert "recorded   2 items never were: run `manage.py imagesim_sync --reconcile`" in call("imagesim_status")
        call_command("imagesim_sync", stdout=(terminal := _Terminal()))
        assert "2 items were never recorded: run `manage.py imagesim_sync --reconcile`" in terminal.getvalue()
        assert "never recorded" not in call("imagesim_sync"), "which would count all items, as often as cron runs it"
        call("imagesim_sync", "--reconcile")
        assert as_json("imagesim_status")["unrecorded"] == 0
        call_command("imagesim_sync", stdout=(terminal := _Terminal()))
        assert "never" not in terminal.getvalue() + call("imagesim_status")

    def test_limit(self):
        for number in range(3):
            product(f"p{number}", picture("red", mark=number))
        facts = as_json("imagesim_sync", "--limit", "2")
        assert (facts["done"], facts["more"]) == (2, True)
        assert ItemState.objects.filter(pending=True).count() == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("imagesim_sync --limit 0", "--limit: 0 is too small; it must be 1 or more"),
            ("imagesim_sync --limit x", "--limit: invalid int value: 'x'"),
            ("imagesim_sync --watch --interval=-1", "--interval: -1 is too small; it must be 0.0 or more"),
            ("imagesim_sync --watch --interval nan", "--interval: nan is too small"),
            ("imagesim_evaluate -k 0", "-k: 0 is too small"),
            ("imagesim_evaluate --seed=-1", "--seed: -1 is too small"),
            ("imagesim_tune --sample=-1", "--sample: -1 is too small; it must be 2 or more"),
            ("imagesim_precision --pictures=-1", "--pictures: -1 is too small"),
            ("imagesim_precision --folder /nope", "There is no folder /nope"),
            (
                "imagesim_evaluate --source category --judged pairs.csv",
                "--judged needs --source judged, or no --source",
            ),
            ("imagesim_tune --judged pairs.csv", "--judged needs --source judged"),
            ("imagesim_plan --items 0", "--items: 0 is too small; it must be 1 or more"),
            ("imagesim_plan --items 9 -m 1", "-m: 1 is too small; it must be 2 or more"),
            ("imagesim_plan --items 9 --node-memory 0", "--node-memory: 0 is too small; it must be 0.5 or more"),
            ("imagesim_plan --items 9 --regions nan", "--regions: nan is too small"),
            ("imagesim_plan --items 9 --replicas=-1", "--replicas: -1 is too small"),
            ("imagesim_plan --items 9 --images 0", "--images: 0 is too small; it must be 1 or more"),
            ("imagesim_plan --items 9 --node-memory inf", "--node-memory: inf is too large"),
            ("imagesim_plan --items 9 --node-memory 1e308", "--node-memory: 1e308 is too large"),
            ("imagesim_plan --items 9 --regions 1e308", "--regions: 1e308 is too large"),
            ("imagesim_sync --watch --interval inf", "--interval: inf is too large"),
            ("imagesim_sync --watch --interval 1e10", "--interval: 1e10 is too large; it must be 1000000000 or less"),
            ("imagesim_sync --reconcile --limit 3", "--limit is not possible with --reconcile"),
            ("imagesim_scan --seconds nan", "--seconds: nan is too small"),
            ("imagesim_ubi queries --until 9999-12-31", "--until: 9999-12-31 is out of range"),
            ("imagesim_ubi queries --since 0001-01-01", "--since: 0001-01-01 is out of range"),
            ("imagesim_ubi queries --since 2026-05-31 --until 2026-05-30", "--since must not be after --until"),
            ("imagesim_ubi queries --since today", "--since: 'today' is not a day such as 2026-05-31"),
        ],
    )
    def test_arguments_that_make_no_sense(self, arguments, message):
        with pytest.raises(CommandError, match=message):
            call(*arguments.split())

    def test_an_interrupted_command_shows_no_traceback(self, request, monkeypatch, capsys):
        def interrupt(**arguments):
            raise KeyboardInterrupt

        request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
        monkeypatch.setattr(imagesim_sync, "sync", interrupt)
        with pytest.raises(SystemExit) as ended:
            imagesim_sync.Command().run_from_argv(["manage.py", "imagesim_sync", "--skip-checks"])
        assert ended.value.code == 130
        assert capsys.readouterr().err == "Interrupted.\n"

    def test_it_watches_or_reconciles(self):
        with pytest.raises(CommandError, match="not allowed with argument"):
            call("imagesim_sync", "--watch", "--reconcile")

    def test_a_dry_run_requires_reconcile(self):
        with pytest.raises(CommandError, match="--reconcile"):
            call("imagesim_sync", "--dry-run")

    def test_an_unavailable_index(self, monkeypatch):
        product("shoe", picture("red"))
        monkeypatch.setattr(LocalIndex, "write", _unavailable)
        with pytest.raises(CommandError, match="changes wait: no answer"):
            call("imagesim_sync")
        state = ItemState.objects.get()
        assert (state.pending, state.attempts, state.outcome) == (True, 0, "new")

    def test_reconcile(self):
        product("shoe", picture("red"))
        call("imagesim_sync")
        facts = as_json("imagesim_sync", "--reconcile", "--dry-run")
        assert (facts["checked"], facts["missing"], facts["repaired"]) == (1, 0, 0)
        assert "0 missing" in call("imagesim_sync", "--reconcile")

    def test_watch(self, monkeypatch):
        product("shoe", picture("red"))
        looks = []

        def sleep(seconds):
            looks.append(seconds)
            if len(looks) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(imagesim_sync.time, "sleep", sleep)
        with pytest.raises(KeyboardInterrupt):
            call("imagesim_sync", "--watch", "--interval", "0.5")
        assert looks == [0.5, 0.5]

    def test_watch_waits_for_the_database(self, monkeypatch, caplog):
        product("shoe", picture("red"))
        outages, looks = [OperationalError("gone"), InterfaceError("closed")], []

        def sync(**options):
            if outages:
                raise outages.pop()
            return imagesim.indexing.sync.sync(**options)

        def sleep(seconds):
            looks.append(seconds)
            if len(looks) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(imagesim_sync, "sync", sync)
        monkeypatch.setattr(imagesim_sync.time, "sleep", sleep)
        with pytest.raises(KeyboardInterrupt):
            call("imagesim_sync", "--watch")
        assert "sync interrupted by the database: closed" in caplog.text
        assert ItemState.objects.get().outcome == "indexed"
        outages.append(OperationalError("gone"))
        with pytest.raises(CommandError, match="The database cannot be used: gone"):
            call("imagesim_sync")


class TestStatus:
    def test_before_the_first_sync(self):
        product("shoe", picture("red"))
        facts = as_json("imagesim_status")
        assert facts["items"] == facts["pending"] == 1
        assert facts["indexed"] == facts["failed"] == facts["embeddings"] == 0
        assert "imagesim_sync" in facts["index"]["error"]

    def test_json(self):
        product("shoe", picture("red"))
        product("boot", b"broken")
        product("sold out of sight", picture("blue"), active=False)
        call("imagesim_sync")
        facts = as_json("imagesim_status")
        counts = {name: facts[name] for name in ("items", "indexed", "pending", "failed", "skipped", "embeddings")}
        assert counts == {"items": 2, "indexed": 1, "pending": 0, "failed": 1, "skipped": 1, "embeddings": 1}
        assert facts["index"]["entries"] == 1
        assert facts["index"]["model"] == "test-pixels-64"
        assert facts["index"]["backend"] == "imagesim.indexes.local.LocalIndex"
        assert facts["index"]["name"] == "imagesim"

    def test_an_index_with_other_entries_than_were_written_to_it(self):
        """For instance after a backup of the index or of the database was restored, or if another shop writes to the
        index."""
        shoes = [product(colour, picture(colour)) for colour in ("red", "green", "blue")]
        call("imagesim_sync")
        version = ItemState.objects.latest("version").version + 1
        get_index().write([Removal(f"shop.product:{shoe.pk}", version) for shoe in shoes[:2]])
        assert as_json("imagesim_status")["mismatch"] == 0, "the server counts what was written a moment ago later"
        ItemState.objects.update(synced_at=timezone.now() - timedelta(minutes=2))
        assert as_json("imagesim_status")["mismatch"] == -2
        assert "the index has 2 fewer entries than were written to it: run `manage.py imagesim_sync --rec" in call(
            "imagesim_status"
        )
        call("imagesim_sync", "--reconcile")
        ItemState.objects.update(synced_at=timezone.now() - timedelta(minutes=2))
        assert "mismatch" not in call("imagesim_status")
        ItemState.objects.filter(object_pk=shoes[0].pk).delete()  # like a database from before this product existed
        assert as_json("imagesim_status")["mismatch"] == 1
        ItemState.objects.update(pending=True)
        assert as_json("imagesim_status")["mismatch"] == 0, "it can be what waits"

    def test_text(self):
        product("shoe", picture("red"))
        assert "the oldest for" in call("imagesim_status") or get_status().queue_age < 1
        call("imagesim_sync")
        assert "rebuild" not in call("imagesim_status")  # the first sync makes the index, and nobody has to rebuild it
        call("imagesim_rebuild")
        text = call("imagesim_status")
        assert "rebuild    done, 1 of 1" in text
        assert "1 entries" in text

    def test_a_comparison_says_what_waits(self):
        product("shoe", picture("red"))
        out = StringIO()
        with pytest.raises(SystemExit):
            call_command("imagesim_status", "--check", stdout=out)
        assert "differs (1 pending, " in out.getvalue()

    def test_reports_a_different_model_in_the_settings(self, settings):
        product("shoe", picture("red"))
        call("imagesim_sync")
        assert "run `manage.py imagesim_rebuild`" not in call("imagesim_status", "--check")
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": {**EMBEDDER, "OPTIONS": {"name": "newer"}}}
        assert "the settings name test-newer-64; run `manage.py imagesim_rebuild`" in call("imagesim_status")
        assert "another model: `manage.py imagesim_status` says how to change to it." in call("imagesim_sync")
        with pytest.raises(SystemExit, match="1"):
            call("imagesim_status", "--check")
        call("imagesim_rebuild")
        assert "equal" in call("imagesim_status", "--check")
        assert "another model" not in call("imagesim_sync")

    def test_an_unavailable_index(self, monkeypatch):
        call("imagesim_sync")
        monkeypatch.setattr(LocalIndex, "active", _unavailable)
        assert as_json("imagesim_status")["index"]["error"] == "no answer"
        monkeypatch.undo()
        monkeypatch.setattr(LocalIndex, "refresh", _unavailable)
        with pytest.raises(SystemExit):
            call("imagesim_status", "--check")

    def test_time_left(self):
        run = Job.objects.create(kind="rebuild", status="running", owner="elsewhere/1/1", total=100, done=50)
        assert get_status().rebuild.seconds_left >= 0
        assert "running, 50 of 100" in call("imagesim_status")
        run.delete()

    def test_a_job_whose_process_died_waits(self):
        died = timezone.now() - timedelta(hours=1)
        numbers = {"total": 100, "done": 50, "started_at": died, "heartbeat_at": died}
        Job.objects.create(kind="rebuild", slot="rebuild", status="running", **numbers)
        assert "rebuild    waiting, 50 of 100\n" in call("imagesim_status")  # nobody knows for how long
        assert call("imagesim_jobs") == "rebuild: waiting, 50 of 100\n"


def _unavailable(*args, **kwargs):
    raise IndexUnavailable("no answer")


class TestDatabase:
    """:class:`TestSync` tests that ``--watch`` waits for one."""

    @pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
    @pytest.mark.parametrize("command", ["imagesim_jobs", "imagesim_status", "imagesim_rebuild", "imagesim_roll_up"])
    def test_one_that_cannot_be_used_is_one_sentence(self, monkeypatch, command, kind):
        fails = Mock(side_effect=kind("connection refused\n\tIs the server running?"))
        monkeypatch.setattr(SQLCompiler, "execute_sql", fails)
        with pytest.raises(CommandError, match=r"^The database cannot be used: connection refused\.$"):
            call(command)

    @pytest.mark.parametrize(
        ("table", "app"), [("imagesim_itemstate", "imagesim"), ("imagesim_insight_search", "imagesim_insight")]
    )
    def test_the_app_of_a_missing_table_is_named(self, monkeypatch, table, app):
        fails = Mock(side_effect=OperationalError(f"no such table: {table}"))
        monkeypatch.setattr(SQLCompiler, "execute_sql", fails)
        with pytest.raises(CommandError, match=rf"run `manage\.py migrate {app}` first\.$"):
            call("imagesim_status")

    def test_an_error_of_the_code_has_its_traceback(self, monkeypatch):
        monkeypatch.setattr(imagesim_sync, "sync", Mock(side_effect=IntegrityError("two of a kind")))
        with pytest.raises(IntegrityError):
            call("imagesim_sync")


class TestOutput:
    def test_what_its_encoding_cannot_hold_is_escaped(self, monkeypatch):
        class Command(ImagesimCommand):
            requires_system_checks = []

            def handle(self, *args, **options):
                self.stdout.write("Möbel, 椅子")

        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "cp1252", write_through=True))
        Command().run_from_argv(["manage.py", "names"])
        assert sys.stdout.buffer.getvalue().decode("cp1252") == "Möbel, \\u6905\\u5b50\n"

    def test_a_reader_gets_it_immediately(self, tmp_path):
        with (tmp_path / "log").open("w") as log:
            call_command("imagesim_jobs", stdout=log)
            assert (tmp_path / "log").read_text() == "No job is running or paused.\n"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    @pytest.mark.parametrize("command", [("imagesim_jobs",), ("imagesim_ubi", "queries")])
    def test_a_full_disk_is_one_sentence(self, command):
        Search.objects.create(request="r", text="boots", where="search")
        with open("/dev/full", "w") as full, pytest.raises(CommandError, match="cannot be written: No space left"):
            call_command(*command, stdout=full)

    def test_a_reader_that_has_ended_is_no_error(self, capsys):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "w") as pipe, pytest.raises(SystemExit) as ended:
            call_command("imagesim_status", stdout=pipe)
        assert ended.value.code == 141
        assert capsys.readouterr().err == ""


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class TestProgressBar:
    def drawn(self, total: int, *done: int) -> str:
        terminal = _Terminal()
        with ProgressBar("indexing", terminal) as bar:
            bar.EVERY = 0
            for each in done:
                bar(each, total)
        return terminal.getvalue()

    def test_on_a_terminal(self):
        drawn = self.drawn(2, 1, 2)
        assert "1/2" in drawn
        assert "2/2" in drawn
        assert drawn.endswith("\n")

    def test_on_any_terminal(self):
        """Not every console has other characters than ASCII, or clears a line when it is told to."""
        drawn = self.drawn(100_000, 1, 100_000)
        assert drawn.strip("\r\n").replace("\r", "").isprintable()
        assert drawn.isascii()
        _, first, last = drawn.rstrip("\n").split("\r")
        assert len(last) == len(first), "the end of the longer line is still to be seen"

    def test_silent_without_a_terminal(self):
        file = io.StringIO()
        with ProgressBar("indexing", file) as bar:
            bar(1, 2)
        assert file.getvalue() == ""

    @pytest.mark.parametrize("columns", [20, 50])
    def test_a_narrow_terminal_shows_one_line(self, columns):
        """What is wider begins a new line each time it is drawn."""
        import fcntl
        import termios

        ours, its_end = os.openpty()
        fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with open(its_end, "w") as terminal, open(ours, "rb", buffering=0) as shown:
            bar = ProgressBar("indexing", terminal)
            bar.EVERY, bar.started = 0, bar.started - 100
            bar(64_000, 100_000)
            bar(100_000, 100_000)
            _, *lines = shown.read(1000).decode().split("\r")
        assert all("000/100000" in line and len(line) < columns for line in lines)
        assert ("#" in lines[0]) == (columns == 50)

    def test_a_terminal_that_is_closed_meanwhile(self):
        ours, its_end = os.openpty()
        terminal = io.TextIOWrapper(io.FileIO(its_end, "w"), write_through=True)
        with terminal, ProgressBar("indexing", terminal) as bar:
            bar(1, 1)
            os.close(ours)
            bar(1, 1)

    def test_with_a_total_of_zero(self):
        terminal = _Terminal()
        ProgressBar("indexing", terminal)(0, 0)
        assert "0/0" in terminal.getvalue()
