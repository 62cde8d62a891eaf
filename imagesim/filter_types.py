"""The types of filters (keyword, number, boolean and date), each with everything that depends on the type.

A value takes three forms. A *scalar* is a Python value, from an item's field or from a query. The *canonical* form is
stored and compared by the indexes: text, float, bool, or milliseconds since 1970 in UTC. Facets and answers convert it
back to a scalar.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from datetime import timezone as tz
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings as django_settings
from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from imagesim.types import LOOKUPS, OPERATORS, FilterKind, FilterValue, Operator, Scalar

Canonical = str | float | bool | int

MAX_KEYWORD_BYTES = 8_000
MAX_NUMBER_LENGTH = 40
"""The maximum length, in characters, of a number in a query string."""

TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

_EPOCH = datetime(1970, 1, 1, tzinfo=tz.utc)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST, _LAST = ((end.replace(tzinfo=tz.utc) - _EPOCH) // _MILLISECOND for end in (datetime.min, datetime.max))


class FilterType(ABC):
    """Everything that depends on a filter's type. Every method raises ValueError for a value of another type."""

    kind: ClassVar[FilterKind]
    model_fields: ClassVar[tuple[type[models.Field[Any, Any]], ...]]
    """The model fields whose values are of this type."""
    operators: ClassVar[tuple[Operator, ...]] = OPERATORS
    """How an index compares values of this type."""
    lookups: ClassVar[tuple[Operator, ...]] = LOOKUPS
    """How a query may compare them."""
    elasticsearch: ClassVar[str]
    """The type of the field in an Elasticsearch mapping."""
    postgresql: ClassVar[str]
    """The type of a canonical value in PostgreSQL."""
    json_schema: ClassVar[Mapping[str, Any]]
    is_text: ClassVar[bool] = False
    """Whether the local index stores it as codes of a dictionary (text) instead of numbers."""
    is_range: ClassVar[bool] = False
    """Whether facets give the minimum and the maximum instead of a count for each value."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """What a query must compare with, for an error message."""

    @property
    def expected_text(self) -> str:
        """The same for a query string."""
        return self.expected

    @abstractmethod
    def parse(self, text: str) -> Scalar:
        """Return the scalar in the text of a query string."""

    @abstractmethod
    def check(self, value: object) -> Scalar:
        """Return a value that a query compares with, if it is of the right Python type."""

    @abstractmethod
    def convert(self, value: Scalar) -> Scalar:
        """Return the value of an item's field as a scalar of this type, converted where nothing is lost."""

    @abstractmethod
    def canonical(self, value: Scalar) -> Canonical:
        """Convert ``value`` to its canonical form; the error message is one sentence."""

    def restore(self, value: Any) -> Any:
        """Return the scalar of a canonical value."""
        return value

    def to_elasticsearch(self, value: Canonical) -> Any:
        """Return a canonical value as an Elasticsearch query holds it."""
        return value

    def to_elasticsearch_values(self, values: Iterable[Canonical]) -> list[Any]:
        return [self.to_elasticsearch(value) for value in values]

    def canonical_values(self, value: FilterValue) -> list[Canonical]:
        """Return all values of one filter of an entry, without duplicates; empty for None."""
        if isinstance(value, Set):  # its order differs from process to process
            raise ValueError(f"{value!r} has no order; give a tuple or a list")
        return list(dict.fromkeys(self.canonical(each) for each in several(value) if each is not None))


class Keyword(FilterType):
    kind = "keyword"
    model_fields = (
        *(models.CharField, models.TextField, models.UUIDField, models.GenericIPAddressField),
        *(models.ForeignKey, models.ManyToManyField),
    )
    lookups = ("eq", "in", "not_in")
    elasticsearch = "keyword"
    postgresql = "text"
    json_schema: ClassVar[Mapping[str, Any]] = {"type": "string"}
    is_text = True

    @property
    def expected(self) -> str:
        return _("text")

    def parse(self, text: str) -> Scalar:
        return text

    def check(self, value: object) -> Scalar:
        if isinstance(value, models.Model):
            value = value.pk
        if isinstance(value, str | UUID | int) and not isinstance(value, bool):
            return str(value)
        raise ValueError(value)

    def convert(self, value: Scalar) -> Scalar:
        return str(value).strip()  # as in a query string, or no link to the facet "Acme " would find anything

    def canonical(self, value: Scalar) -> Canonical:
        return check_text(str(value).strip())


class Number(FilterType):
    kind = "number"
    model_fields = (models.IntegerField, models.FloatField, models.DecimalField)
    elasticsearch = "double"
    postgresql = "double precision"
    json_schema: ClassVar[Mapping[str, Any]] = {"type": "number"}
    is_range = True

    @property
    def expected(self) -> str:
        return _("a number")

    def parse(self, text: str) -> Scalar:
        try:
            number = Decimal(text) if len(text) <= MAX_NUMBER_LENGTH else None
        except InvalidOperation:
            number = None
        return self.check(number)

    def check(self, value: object) -> Scalar:
        value = amount_of(value)
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and is_finite(value):
            return value
        raise ValueError(value)

    def convert(self, value: Scalar) -> Scalar:
        if isinstance(value, bool):
            return int(value)
        try:
            return self.check(Decimal(value) if isinstance(value, str) else value)
        except InvalidOperation:
            raise ValueError(value) from None

    def canonical(self, value: Scalar) -> Canonical:
        value = amount_of(value)
        if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool) and is_finite(value):
            return float(value) + 0.0  # no negative zero
        raise ValueError(f"{value!r} is not a number")

    def restore(self, value: Any) -> float:
        return float(value)


def several(value: Any) -> Sequence[Any]:
    """Return the values of one filter of an item as a sequence; there can be one or several."""
    return value if isinstance(value, tuple | list) else (value,)


def amount_of(value: Any) -> Any:
    """Return the number of an amount of money, such as django-money's; any other value unchanged."""
    return getattr(value, "amount", value)


class Boolean(FilterType):
    kind = "boolean"
    model_fields = (models.BooleanField,)
    operators = lookups = ("eq", "in")
    elasticsearch = "boolean"
    postgresql = "boolean"
    json_schema: ClassVar[Mapping[str, Any]] = {"type": "boolean"}

    @property
    def expected(self) -> str:
        return _("True or False")

    @property
    def expected_text(self) -> str:
        return _("'true' or 'false'")

    def parse(self, text: str) -> bool:
        if text.lower() in TRUE:
            return True
        if text.lower() in FALSE:
            return False
        raise ValueError(text)

    def check(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise ValueError(value)

    def convert(self, value: Scalar) -> Scalar:
        if isinstance(value, int | float | Decimal):
            return bool(value)
        raise ValueError(value)

    def canonical(self, value: Scalar) -> Canonical:
        try:
            return value if isinstance(value, bool) else self.parse(str(value))
        except ValueError:
            raise ValueError(f"{value!r} is neither true nor false") from None

    def restore(self, value: Any) -> bool:
        return bool(value)


class Date(FilterType):
    kind = "date"
    model_fields = (models.DateField,)  # and DateTimeField, its subclass
    elasticsearch = "date"
    postgresql = "bigint"
    json_schema: ClassVar[Mapping[str, Any]] = {"type": "string", "format": "date-time"}
    is_range = True

    @property
    def expected(self) -> str:
        return _("a date or a datetime")

    @property
    def expected_text(self) -> str:
        return _("a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z")

    def parse(self, text: str) -> date:
        parsed = parse_datetime(text) if len(text) > 10 else parse_date(text)
        if parsed is None:
            raise ValueError(text)
        return parsed

    def check(self, value: object) -> date:
        if isinstance(value, datetime):
            return timezone.make_aware(value) if django_settings.USE_TZ and timezone.is_naive(value) else value
        if isinstance(value, date):
            return value
        raise ValueError(value)

    def convert(self, value: Scalar) -> date:
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, date):
            return value
        raise ValueError(value)

    def canonical(self, value: Scalar) -> Canonical:
        try:
            moment = self.convert(value)
        except ValueError:
            message = f"{value!r} is not a date; write it as 2026-01-31 or 2026-01-31T12:00:00Z"
            raise ValueError(message) from None
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        if timezone.is_naive(moment):
            # A bare date is midnight in the shop's time zone, so that it compares with moments as people expect.
            moment = moment.replace(tzinfo=timezone.get_default_timezone())
        return (moment - _EPOCH) // _MILLISECOND

    def restore(self, value: Any) -> datetime:
        # In time zones other than UTC, parts of the calendar's first and last day lie outside the range of datetime.
        return _EPOCH + min(max(int(value), _FIRST), _LAST) * _MILLISECOND

    def to_elasticsearch(self, value: Canonical) -> str:
        # As text: a ``terms`` query does not accept numbers for moments before 1970.
        return self.restore(value).isoformat(timespec="milliseconds")


FILTER_TYPES: Mapping[FilterKind, FilterType] = {each.kind: each for each in (Keyword(), Number(), Boolean(), Date())}

COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
"""How the ordering operators compare two values, or an array with a value."""


def kind_of_field(field: Any) -> FilterKind | None:
    """Return the kind of a filter that ends in this model field; None if the field does not determine it."""
    field = getattr(field, "output_field", field)  # a generated field
    field = getattr(field, "base_field", field)  # an array
    return next((each.kind for each in FILTER_TYPES.values() if isinstance(field, each.model_fields)), None)


def is_finite(value: float | Decimal | str) -> bool:
    try:
        return math.isfinite(float(value))
    except (OverflowError, ValueError):  # an int beyond every float; a signalling NaN; text
        return False


def check_text(text: str) -> str:
    """Return ``text`` if an index can hold it.

    :raises ValueError: in one sentence, if it is not valid Unicode, holds a NUL character, or is too long.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not valid Unicode") from None
    if "\x00" in text:
        raise ValueError(f"{text!r} holds a NUL character")
    if size > MAX_KEYWORD_BYTES:
        raise ValueError(f"a text of {size:,} bytes is longer than the {MAX_KEYWORD_BYTES:,} that an index takes")
    return text
