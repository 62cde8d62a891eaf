"""Record purchases. Only the shop's own code can do so: the REST API does not accept purchases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import models
from django.utils.crypto import salted_hmac

from imagesim import events
from imagesim.database import insert_new, primary
from imagesim.exceptions import BadQuery
from imagesim.insight.models import Purchase
from imagesim.items.registry import key_of

TOKEN_AGE = timedelta(days=30)
"""How long after an answer a purchase is attributed to it."""

MAX_QUANTITY = 1_000_000
MAX_VALUE = Decimal(10**11)


@dataclass(frozen=True)
class Line:
    """An item of an order, its quantity, and the total price.

    ``token``: that of the answer in which the visitor found the item, if the shop kept it with the line of the cart.
    """

    item: models.Model
    quantity: int
    value: Decimal | float | str
    token: str = ""


def purchased(order: Any, lines: Iterable[Line]) -> int:
    """Record the lines of an order; return how many were new: an order that is recorded twice counts once.

    Call it in the transaction that completes the order. ``order`` is the order's id, of which only a keyed hash is
    stored. Lines of the same item are added up. Nothing is stored while events are off.

    :raises NotRegistered: if the model of an item is not registered.
    :raises BadQuery: if a quantity or a value is impossible.
    """
    rows: dict[str, Purchase] = {}
    digest = salted_hmac("imagesim.insight.order", str(order), algorithm="sha256").hexdigest()
    for line in lines:
        key, quantity, value = key_of(line.item), line.quantity, _decimal(line.value)
        if isinstance(quantity, bool) or not isinstance(quantity, int) or not 0 < quantity <= MAX_QUANTITY:
            raise BadQuery(f"The quantity of {key} is {quantity!r}; it must be a whole number from 1.")
        if not value.is_finite() or not 0 <= value < MAX_VALUE:
            raise BadQuery(f"The value of {key} is {line.value!r}; it must be a number from 0.")
        row = rows.setdefault(key, Purchase(order=digest, item_key=key, quantity=0, value=Decimal(0)))
        row.quantity += quantity
        row.value += value.quantize(Decimal("0.01"))
        row.request = row.request or events.request_of(line.token, key, max_age=TOKEN_AGE)
    if not rows or not events.enabled():
        return 0
    known = primary(Purchase).filter(order=digest)
    before = known.count()
    insert_new(rows.values())
    return known.count() - before


def _decimal(value: Any) -> Decimal:
    """Return a value as a decimal, which is not finite if the value is not a number."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return Decimal("NaN")
