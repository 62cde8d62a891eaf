"""``manage.py imagesim_clear``: delete everything that imagesim made, before uninstalling it or starting again."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.core.files.storage import Storage, default_storage
from django.core.management.base import CommandError
from django.core.management.color import no_style
from django.db import connections

from imagesim.indexes import get_index
from imagesim.indexing.outbox import state_alias
from imagesim.management import ImagesimCommand
from imagesim.registry import registry
from imagesim.thumbnails import FOLDER


class Command(ImagesimCommand):
    help = (
        "Delete everything that imagesim stores: its indexes, the rows of its tables (embeddings included) and its "
        "thumbnails. The shop's own data remain. Stop the workers first; imagesim_sync creates everything again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="do not ask")

    def handle(self, *args: Any, format: str, interactive: bool, **options: Any) -> None:
        index = get_index()
        indexes = index.backing_indexes()
        named = [getattr(path.field, "storage", None) for items in registry for path in items.resolved_paths()]
        storages = [default_storage, *(storage for storage in named if isinstance(storage, Storage))]
        if interactive:
            question = f"Delete {len(indexes)} indexes named {index.name!r}, all rows of imagesim and its thumbnails?"
            if input(f"{question} Type 'yes': ") != "yes":
                raise CommandError("Nothing was deleted.")
        for name in indexes:
            index.drop(name)
        connection = connections[state_alias()]
        there = set(connection.introspection.table_names())
        tables = {model._meta.db_table for model in apps.get_app_config("imagesim").get_models()} & there
        # With rows of apps beside this one that refer to these.
        flush = connection.ops.sql_flush(no_style(), sorted(tables), allow_cascade=True)
        connection.ops.execute_sql_flush(flush)
        thumbnails = sum(map(_delete_folder, dict.fromkeys(storages)))
        values = {"indexes": indexes, "tables": sorted(tables), "thumbnails": thumbnails}
        text = f"Deleted {len(indexes)} indexes, {thumbnails} thumbnails and the rows of {len(tables)} tables."
        self.emit(values, format, text)


def _delete_folder(storage: Storage) -> int:
    """Delete the thumbnails in a storage; return how many there were."""
    names: list[str] = []
    with suppress(FileNotFoundError, NotImplementedError):
        names = storage.listdir(FOLDER)[1]
    for name in names:
        storage.delete(f"{FOLDER}/{name}")
    return len(names)
