"""``manage.py imagesim_clear``: delete everything that imagesim made, before uninstalling it or starting again."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.apps import AppConfig, apps
from django.core.files.storage import Storage, default_storage
from django.core.management.color import no_style
from django.db import connections, router

from imagesim.indexes import get_index
from imagesim.management import ImagesimCommand
from imagesim.registry import registry
from imagesim.thumbnails import FOLDER


class Command(ImagesimCommand):
    help = (
        "Delete everything that imagesim and its apps store: indexes, the rows of their tables (embeddings, rules and "
        "recorded searches included) and thumbnails. The shop's own data remain. Stop the workers first; imagesim_sync "
        "indexes all items again."
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
            rows = f"all rows of {', '.join(config.label for config in _apps())}"
            self.require_yes(f"Delete {len(indexes)} indexes named {index.name!r}, {rows} and the thumbnails?")
        for name in indexes:
            index.drop(name)
        tables = [table for alias, named in _tables().items() for table in _flush(alias, named)]
        thumbnails = sum(map(_delete_folder, dict.fromkeys(storages)))
        values = {"indexes": indexes, "tables": sorted(tables), "thumbnails": thumbnails}
        text = f"Deleted {len(indexes)} indexes, {thumbnails} thumbnails and the rows of {len(tables)} tables."
        self.emit(values, format, text)


def _apps() -> list[AppConfig]:
    """This app and those in it that are installed."""
    return [config for config in apps.get_app_configs() if f"{config.name}.".startswith("imagesim.")]


def _tables() -> dict[str, set[str]]:
    """The tables of the apps by database."""
    found: dict[str, set[str]] = {}
    for config in _apps():
        for model in config.get_models():
            found.setdefault(router.db_for_write(model), set()).add(model._meta.db_table)
    return found


def _flush(alias: str, named: set[str]) -> set[str]:
    """Delete the rows of those tables that exist, and the rows of others that refer to these; return the tables."""
    connection = connections[alias]
    tables = named & set(connection.introspection.table_names())
    if tables:
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables), allow_cascade=True))
    return tables


def _delete_folder(storage: Storage) -> int:
    """Delete the thumbnails in a storage; return how many there were."""
    names: list[str] = []
    with suppress(FileNotFoundError, NotImplementedError):
        names = storage.listdir(FOLDER)[1]
    for name in names:
        storage.delete(f"{FOLDER}/{name}")
    return len(names)
