"""What a question may ask, checked before anything is searched: the same for Python, REST and template tag.

``build`` checks values of their own types and raises one :class:`BadQuery` that names the bad value and the good
ones. ``parse`` turns the strings of a query string, a form or a template into such values first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from uuid import UUID

from django.conf import settings as django_settings
from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.exceptions import BadQuery, format_choices
from imagesim.registry import registry
from imagesim.types import OPERATORS, Condition, FilterKind, Filters, Operator, Scalar

PAGE = ("limit", "offset")
SWITCHES = ("in_stock", "same_category", "collapse", "exact")
TERMS = ("like", "unlike", "components")
RESERVED = (*PAGE, *SWITCHES, *TERMS, "category", "min_score", "diversity", "fallback", "facets", "model", "q")
"""Names that mean something of their own in a query string, so that no filter should have them."""

STAGES = ("parent", "wider")
"""Where else to look where a category gives too few: among its parent's categories, then everywhere."""

ALWAYS_THERE = ("category", "in_stock")
"""What can be counted besides the filters."""

MAX_WEIGHT = 10.0
"""Of a wish, or of a part of a vector."""

MAX_VALUES = 1000
"""Values of one ``in``, or categories, in one question."""

_OPERATORS_OF: Mapping[FilterKind, tuple[Operator, ...]] = {
    "keyword": ("eq", "in"),
    "boolean": ("eq", "in"),
    "number": OPERATORS,
    "date": OPERATORS,
}
_PART = re.compile(r"(\w+)\^(-?\d{1,9}(?:\.\d{1,9})?)")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def build(
    *,
    labels: Collection[str] = (),
    category: object = None,
    in_stock: object = None,
    filters: object = None,
    exclude_keys: tuple[str, ...] = (),
    exclude_groups: tuple[str, ...] = (),
) -> Filters:
    """Check the filters of a question about the registered models with these ``labels`` (empty means all).

    :raises BadQuery: naming the bad value and the good ones.
    """
    if in_stock is not None and not isinstance(in_stock, bool):
        raise _wrong_type("in_stock", in_stock, _("True, False or None"))
    if filters is not None and not isinstance(filters, Mapping):
        raise _wrong_type("filters", filters, _("a dict such as {'price__lte': 50}"))
    return Filters(
        models=tuple(labels),
        categories=_categories(category),
        in_stock=in_stock,
        conditions=tuple(_condition(name, value, labels) for name, value in (filters or {}).items()),
        exclude_keys=exclude_keys,
        exclude_groups=exclude_groups,
    )


def check_page(limit: object, offset: object) -> tuple[int, int]:
    """:raises BadQuery: unless 1 <= limit <= MAX_LIMIT and 0 <= offset <= MAX_OFFSET."""
    conf = get_settings()
    return _whole("limit", limit, 1, conf.MAX_LIMIT), _whole("offset", offset, 0, conf.MAX_OFFSET)


def check_min_score(value: object) -> float | None:
    """:raises BadQuery: unless it is None or a number from -1 to 1."""
    if value is None:
        return None
    if (
        isinstance(value, int | float | Decimal)
        and not isinstance(value, bool)
        and _is_finite(value)
        and abs(float(value)) <= 1
    ):
        return float(value)
    raise _wrong_type("min_score", value, _("a number from -1 to 1"))


def check_switch(name: str, value: object, *, optional: bool = False) -> bool | None:
    """:raises BadQuery: unless it is a bool (or None, where that is allowed)."""
    if isinstance(value, bool) or (optional and value is None):
        return value
    raise _wrong_type(name, value, _("True, False or None") if optional else _("True or False"))


def check_diversity(value: object) -> float:
    """:raises BadQuery: unless it is a number from 0 to 1."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and _is_finite(value):
        number = float(value)
        if 0 <= number <= 1:
            return number
    raise _wrong_type("diversity", value, _("a number from 0 to 1"))


def check_fallback(value: object) -> tuple[str, ...]:
    """The stages to fall back on; all of them for True, none for False or None.

    :raises BadQuery: naming what is no stage, and those there are.
    """
    return _chosen("fallback", value, STAGES)


def check_facets(value: object, labels: Collection[str] = ()) -> tuple[str, ...]:
    """The fields to count; all there are for True, none for False or None.

    :raises BadQuery: naming what is no field, and those there are.
    """
    return _chosen("facets", value, (*ALWAYS_THERE, *filter_names(labels)))


def check_components(value: object) -> dict[str, float]:
    """Weights of the parts of a vector: ``{"colour": 0}``, or as texts ``"colour^0"``.

    :raises BadQuery: if it is neither. Whether the model has such parts it says itself.
    """
    if value is None:
        return {}
    wanted = _("weights such as {'colour': 0}, or 'colour^0'")
    if isinstance(value, Mapping):
        for name, weight in value.items():
            sound = isinstance(weight, int | float) and not isinstance(weight, bool) and _is_finite(weight)
            if not isinstance(name, str) or not sound or abs(weight) > MAX_WEIGHT:
                raise _wrong_type("components", f"{name}: {weight}", wanted)
        return {name: float(weight) for name, weight in value.items()}
    found = {}
    for text in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]:
        match = _PART.fullmatch(text) if isinstance(text, str) else None
        if match is None or abs(float(match[2])) > MAX_WEIGHT:
            raise _wrong_type("components", text, wanted)
        found[match[1]] = float(match[2])
    return found


def _chosen(name: str, value: object, known: Collection[str]) -> tuple[str, ...]:
    if value is None or value is False:
        return ()
    if value is True:
        return tuple(known)
    each = [value] if isinstance(value, str) else value
    if not isinstance(each, list | tuple | set | frozenset):
        raise _wrong_type(name, value, _("True, False or a list of %(known)s") % {"known": format_choices(known)})
    for one in each:
        if one not in known:
            raise BadQuery(
                _("%(name)r has no %(value)s; it can have %(known)s.")
                % {"name": name, "value": _safe_repr(one), "known": format_choices(known)},
                field=name,
            )
    return tuple(one for one in known if one in each)


def check_text(text: object, *, field: str = "text") -> str:
    """The text of a question, spaces tidied.

    :raises BadQuery: if it is not text, says nothing, is too long or holds what no text holds.
    """
    if not isinstance(text, str):
        raise _wrong_type(field, text, _("words"))
    limit = get_settings().MAX_TEXT_LENGTH
    if len(text) > limit:
        raise BadQuery(
            _("The text has %(length)d characters; send at most %(limit)d.") % {"length": len(text), "limit": limit},
            field=field,
        )
    check_characters(field, text)
    tidy = " ".join(text.split())
    if not tidy:
        raise BadQuery(_("The text is empty; say in a few words what to look for."), field=field)
    return tidy


def filter_names(labels: Collection[str] = ()) -> list[str]:
    """The filters that the registered models (or those with these labels) declare."""
    return sorted({name for items in registry if not labels or items.label in labels for name in items.filters})


def operators_of(kind: FilterKind) -> tuple[Operator, ...]:
    """How a filter of this kind can be asked."""
    return _OPERATORS_OF[kind]


def parse(given: Mapping[str, Any], *, allowed: Collection[str], labels: Collection[str] = ()) -> dict[str, Any]:
    """Arguments for ``similar_to`` or ``search`` from strings, or lists of strings, by name.

    ``allowed`` are the arguments this question takes; every other name is a filter (``price__lte``), and all of
    them arrive together under ``filters``. Blank values are left out, as a form sends them for what was not asked.
    Several values are several strings, or for ``in`` one with commas. A value that is no string is taken as it is,
    None as not asked, and a dict named ``filters`` as more of them.

    :raises BadQuery: naming the bad value and the good ones.
    """
    arguments: dict[str, Any] = {}
    filters: dict[str, Any] = {}
    for name in given:
        values = given.getlist(name) if hasattr(given, "getlist") else given[name]
        if values is None:
            continue
        if name == "filters" and isinstance(values, Mapping):
            filters |= parse(values, allowed=(), labels=labels).get("filters", {})
            continue
        strings = [values] if isinstance(values, str) else values
        if isinstance(strings, list | tuple) and all(isinstance(value, str) for value in strings):
            strings = [value.strip() for value in strings if value.strip()]
            if not strings:
                continue
            value = _parse_one(name, strings, allowed, labels)
        else:
            value = values
        if name in allowed:
            arguments[name] = value
        else:
            filters[name] = value
    if filters:
        for name in filters:
            _split(name, labels, allowed)
        arguments["filters"] = filters
    return arguments


def _parse_one(name: str, strings: list[str], allowed: Collection[str], labels: Collection[str]) -> Any:
    if name not in allowed:
        field, operator = _split(name, labels, allowed)
        kind = _kind(field, labels)
        if operator == "in":
            components = [part.strip() for value in strings for part in value.split(",")]
            return [_from_string(name, part, kind) for part in components if part]
        return _from_string(name, _only(name, strings), kind)
    if name == "category" or name in TERMS:
        return strings
    if name in ("fallback", "facets"):
        if len(strings) == 1 and strings[0].lower() in (*_TRUE, *_FALSE):
            return _boolean(name, strings[0])
        return [part.strip() for value in strings for part in value.split(",") if part.strip()]
    if name == "diversity":
        return _number(name, _only(name, strings), float, _("a number from 0 to 1"))
    if name in PAGE:
        return _number(name, _only(name, strings), int, _("a whole number"))
    if name in SWITCHES:
        return _boolean(name, _only(name, strings))
    if name == "min_score":
        return _number(name, _only(name, strings), float, _("a number from -1 to 1"))
    return _only(name, strings)


def _condition(name: object, value: object, labels: Collection[str]) -> Condition:
    if not isinstance(name, str):
        raise _wrong_type("filters", name, _("a filter's name"))
    field, operator = _split(name, labels)
    kind = _kind(field, labels)
    if operator not in _OPERATORS_OF[kind]:
        raise BadQuery(
            _("The filter %(field)r is of kind %(kind)s, so %(name)r cannot compare with it; use %(good)s.")
            % {
                "field": field,
                "kind": kind,
                "name": name,
                "good": format_choices(field if o == "eq" else f"{field}__{o}" for o in _OPERATORS_OF[kind]),
            },
            field=name,
        )
    if operator != "in":
        return Condition(field, operator, _scalar(name, value, kind))
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise _wrong_type(name, value, _("a list of values"))
    values = tuple(dict.fromkeys(_scalar(name, each, kind) for each in value))
    _check_count(name, values)
    return Condition(field, operator, values)


def _split(name: str, labels: Collection[str], allowed: Collection[str] = ()) -> tuple[str, Operator]:
    """``"price__lte"`` -> ``("price", "lte")``; the name alone means ``eq``."""
    known = filter_names(labels)
    if name in known:
        return name, "eq"
    field, divided, operator = name.rpartition("__")
    if field in known:
        if operator in OPERATORS:
            return field, operator
        raise BadQuery(
            _("%(operator)r in %(name)r is no comparison; it can be %(good)s.")
            % {"operator": operator, "name": name, "good": format_choices(OPERATORS)},
            field=name,
        )
    if allowed:
        message = _(
            "There is no parameter or filter %(name)s; the parameters are %(parameters)s, the filters %(filters)s."
        )
    else:
        message = _("There is no filter %(name)s; the known ones are %(filters)s.")
    raise BadQuery(
        message
        % {
            "name": _safe_repr(field if divided else name),
            "parameters": format_choices(allowed),
            "filters": format_choices(known),
        },
        field=name[:100] or "filters",
    )


def _kind(field: str, labels: Collection[str]) -> FilterKind:
    return next(i.kinds[field] for i in registry if field in i.filters and (not labels or i.label in labels))


def _scalar(name: str, value: object, kind: FilterKind) -> Scalar:
    if kind == "keyword":
        if isinstance(value, models.Model):
            value = value.pk
        if isinstance(value, str | UUID | int) and not isinstance(value, bool):
            text = str(value)
            check_characters(name, text)
            if len(text) <= get_settings().MAX_TEXT_LENGTH:
                return text
        raise _wrong_type(name, value, _("text"))
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        raise _wrong_type(name, value, _("True or False"))
    if kind == "date":
        if isinstance(value, datetime):
            return timezone.make_aware(value) if django_settings.USE_TZ and timezone.is_naive(value) else value
        if isinstance(value, date):
            return value
        raise _wrong_type(name, value, _("a date or a datetime"))
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and _is_finite(value):
        return value
    raise _wrong_type(name, value, _("a number"))


def _is_finite(value: float | Decimal) -> bool:
    try:
        return math.isfinite(float(value))
    except (OverflowError, ValueError):  # an int past every float; a signalling NaN
        return False


def _categories(category: object) -> tuple[str, ...]:
    if category is None:
        return ()
    each = [category] if isinstance(category, str | int) else category
    if not isinstance(each, Iterable) or isinstance(each, bytes | Mapping):
        raise _wrong_type("category", category, _("a category or a list of them"))
    values = []
    for value in each:
        if isinstance(value, bool) or not isinstance(value, str | int | UUID):
            raise _wrong_type("category", value, _("a category or a list of them"))
        check_characters("category", str(value))
        values.append(str(value))
    _check_count("category", values)
    return tuple(dict.fromkeys(values))


def _from_string(name: str, value: str, kind: FilterKind) -> Scalar:
    if kind == "boolean":
        return _boolean(name, value)
    if kind == "number":
        return cast("Decimal", _number(name, value, Decimal, _("a number")))
    if kind == "date":
        try:
            parsed = parse_datetime(value) if len(value) > 10 else parse_date(value)
        except ValueError:
            parsed = None
        if parsed is None:
            raise _wrong_type(name, value, _("a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z"))
        return parsed
    return value


def _number(name: str, value: str, kind: type[int] | type[float] | type[Decimal], wanted: str) -> int | float | Decimal:
    try:
        number = kind(value) if len(value) <= 40 else None
    except (ValueError, InvalidOperation):
        number = None
    if number is None or not _is_finite(number):
        raise _wrong_type(name, value, wanted)
    return number


def _boolean(name: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise _wrong_type(name, value, _("'true' or 'false'"))


def _only(name: str, strings: list[str]) -> str:
    if len(strings) > 1:
        raise BadQuery(_("%(name)r is given more than once; send it once.") % {"name": name}, field=name)
    return strings[0]


def _whole(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong_type(name, value, _("a whole number from %(least)d to %(most)d") % {"least": least, "most": most})
    return value


def _check_count(name: str, values: Collection[object]) -> None:
    if len(values) > MAX_VALUES:
        raise BadQuery(
            _("%(name)r has %(count)d values; send at most %(most)d.")
            % {"name": name, "count": len(values), "most": MAX_VALUES},
            field=name,
        )


def check_characters(name: str, text: str) -> None:
    """:raises BadQuery: if there are characters that no database keeps."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadQuery(
            _("%(name)r holds a character that no text holds (NUL or half of a pair); leave it out.") % {"name": name},
            field=name,
        )


def _wrong_type(name: str, value: object, wanted: str) -> BadQuery:
    return BadQuery(
        _("%(name)r is %(value)s; it must be %(wanted)s.")
        % {"name": name, "value": _safe_repr(value), "wanted": wanted},
        field=name[:100],
    )


def _safe_repr(value: object) -> str:
    """``repr``, short enough for a sentence; never the inside of a long or foreign object."""
    if value is None or isinstance(value, str | bool | int | float | Decimal | date):
        try:
            text = repr(value)
        except ValueError:  # an int of thousands of digits
            return _("a number too large")
        return text if len(text) <= 60 else f"{text[:57]}…"
    return _("of type %(type)s") % {"type": type(value).__name__}
