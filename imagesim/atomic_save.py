"""A mixin for models that are saved outside of a transaction: item and change are committed together."""

from __future__ import annotations

from typing import Any

from django.db import router, transaction


class AtomicSave:
    """Makes ``save()`` commit the row together with what its signals write.

    ``class Product(AtomicSave, models.Model)``.

    Without it, and outside of a transaction, Django commits the row first and then sends ``post_save``. Within a
    transaction it changes nothing and adds no savepoint.
    """

    def save_base(self, *args: Any, using: str | None = None, **kwargs: Any) -> None:
        alias = using or router.db_for_write(type(self), instance=self)  # type: ignore[arg-type]
        with transaction.atomic(using=alias, savepoint=False):
            super().save_base(*args, using=alias, **kwargs)  # type: ignore[misc]
