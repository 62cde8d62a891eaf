"""Primary keys of items as texts: parsing them, and giving each row's key a single form."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.timezone import is_aware

MAX_NUMBER = models.BigIntegerField.MAX_BIGINT


def valid_pks(model: type[models.Model], pks: Iterable[str]) -> list[Any]:
    """Return the primary keys in the model's own type, each once.

    Skips those that no row can have: a number too large for any column, or the key of an entry that was written when
    the model had a primary key of another type. The field's validators are not run, just as saving does not run them.
    """
    valid = []
    for pk in pks:
        try:
            value = canonical_pk(model, pk)
        except ValidationError:
            continue
        if not (isinstance(value, int) and abs(value) > MAX_NUMBER):
            valid.append(value)
    return list(dict.fromkeys(valid))


def canonical_pk(model: type[models.Model], pk: object) -> Any:
    """Return a primary key in the form in which the database returns it, so that its text is unique: ``1.0`` of an
    instance that was just created can be ``1.00`` there.

    :raises ValidationError: if no row can have it.
    """
    field: Any = model._meta.pk
    while field.is_relation:  # the primary key of a multi-table child
        field = field.target_field
    value = field.to_python(pk)
    if isinstance(value, datetime) and is_aware(value):
        return value.astimezone(timezone.utc)
    places = getattr(field, "decimal_places", None)
    if places is None or not isinstance(value, Decimal):
        return value
    try:
        value = value.quantize(Decimal(1).scaleb(-places))
    except InvalidOperation:  # too large
        value = Decimal("NaN")
    if not value.is_finite():
        raise ValidationError(f"{pk!r} is not a key of {model._meta.label}.")
    return value
