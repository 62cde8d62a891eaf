"""``manage.py imagesim_clear``: delete everything that imagesim stores, before uninstalling it or starting again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.apps import AppConfig, apps
from django.core.files.storage import Storage
from django.core.management.color import no_style
from django.db import connections, router

from imagesim.indexes import get_index
from imagesim.items import thumbnail_files
from imagesim.management import ImagesimCommand


class Command(ImagesimCommand):
    help = (
        "Delete everything that imagesim and its apps store: indexes, the rows of their tables (embeddings, rules and "
        "recorded searches included) and thumbnails. The shop's own data is kept. Stop the workers first; "
        "imagesim_sync indexes all items again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="do not ask")

    def handle(self, *args: Any, format: str, interactive: bool, **options: Any) -> None:
        index = get_index()
        indexes = index.backing_indexes()
        if interactive:
            rows = f"all rows of {', '.join(config.label for config in _apps())}"
            self.require_yes(f"Delete {len(indexes)} indexes named {index.name!r}, {rows} and the thumbnails?")
        for name in indexes:
            index.drop(name)
        tables = [table for alias, named in _tables().items() for table in _flush(alias, named)]
        deleted = sum(map(self._delete_thumbnails, thumbnail_files.storages()))
        values = {"indexes": indexes, "tables": sorted(tables), "thumbnails": deleted}
        text = f"Deleted {len(indexes)} indexes, {deleted} thumbnails and the rows of {len(tables)} tables."
        self.emit(values, format, text)

    def _delete_thumbnails(self, storage: Storage) -> int:
        """Delete the thumbnails in a storage; return how many there were."""
        try:
            names = thumbnail_files.stored(storage)
        except Exception as error:  # storages raise errors of their own clients, and some list nothing
            folder = thumbnail_files.folder()
            where = f"{folder!r} in {storage.__class__.__name__}"  # the default storage is a wrapper around it
            text = f"Thumbnails have to be deleted by hand, if there are any: {where} ({error!r})"
            self.stderr.write(self.style.WARNING(text))
            return 0
        for name in names:
            thumbnail_files.delete(storage, name)
        return len(names)


def _apps() -> list[AppConfig]:
    """Return this app and the installed apps within it."""
    return [config for config in apps.get_app_configs() if f"{config.name}.".startswith("imagesim.")]


def _tables() -> dict[str, set[str]]:
    """Return the tables of the apps by database."""
    found: dict[str, set[str]] = {}
    for config in _apps():
        for model in config.get_models():
            found.setdefault(router.db_for_write(model), set()).add(model._meta.db_table)
    return found


def _flush(alias: str, named: set[str]) -> set[str]:
    """Delete the rows of those tables that exist, and the rows in other tables that refer to them; return the
    tables."""
    connection = connections[alias]
    tables = named & set(connection.introspection.table_names())
    if tables:
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables), allow_cascade=True))
    return tables
