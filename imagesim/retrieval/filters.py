"""The filters of a query: those that the shop declares (``price__lte=50``), and its categories with their parents."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.translation import gettext as _

from imagesim import shared_cache
from imagesim.conf import get_settings
from imagesim.exceptions import BadQuery, local_choices
from imagesim.filter_types import FILTER_TYPES, FilterType
from imagesim.indexes import get_index
from imagesim.items import Items, paths
from imagesim.items.declarations import category_parents
from imagesim.items.registry import registry
from imagesim.retrieval.arguments import (
    JSONSchema,
    Searched,
    bad_value,
    check_characters,
    check_count,
    only,
    safe_repr,
    split_commas,
)
from imagesim.runtime import runtime
from imagesim.types import LOOKUPS, Condition, Filters, Operator, Scalar

if TYPE_CHECKING:
    from imagesim.retrieval.retriever import GuardedIndex

LISTS = ("in", "not_in")
"""The comparisons with a list of values."""


def filter_names(searched: Searched) -> list[str]:
    """Return the names of the filters that these models declare."""
    return sorted({name for items in searched for name in items.filter_names})


def build_conditions(filters: Any, searched: Searched) -> tuple[Condition, ...]:
    """Check the argument ``filters``, a dict such as ``{"price__lte": 50, "colour__in": ["red", "blue"]}``.

    :raises BadQuery: naming the bad value and the good ones.
    """
    if filters is None:
        return ()
    if not isinstance(filters, Mapping):
        raise bad_value("filters", filters, _("a dict such as {'price__lte': 50}"))
    return tuple(_condition(name, value, searched) for name, value in filters.items())


def parse_filter(name: str, texts: list[str], searched: Searched, arguments: Collection[str]) -> Any:
    """Return the value of one filter in a query string; for ``in`` and ``not_in``, a list, given as several texts or as
    one with commas.

    ``arguments``: the other parameters of the query, for the error message if the name is unknown.

    :raises BadQuery: naming the bad value and the good ones.
    """
    field, operator = split_lookup(name, searched, arguments)
    filter_type = _type_of(field, searched)
    if operator in LISTS:
        return [_parse(name, part, filter_type) for part in split_commas(texts)]
    if operator == "eq" and len(texts) > 1:
        raise _one_value(name, field)
    return _parse(name, only(name, texts), filter_type)


def describe_filters() -> Iterator[tuple[str, JSONSchema]]:
    """Yield the name of the parameter and its JSON schema for each comparison of every filter."""
    searched = tuple(registry)
    for name in filter_names(searched):
        filter_type = _type_of(name, searched)
        for operator in filter_type.lookups:
            schema = dict(filter_type.json_schema)
            if operator in LISTS:
                schema = {"type": "array", "items": schema}
            yield _lookup(name, operator), schema


def split_lookup(name: str, searched: Searched, arguments: Collection[str] = ()) -> tuple[str, Operator]:
    """Return the filter and the comparison of a name: ``("price", "lte")`` for ``"price__lte"``. The name alone means
    ``eq``.

    :raises BadQuery: if there is no such filter or comparison.
    """
    known = filter_names(searched)
    if name in known:
        return name, "eq"
    field, divided, operator = name.rpartition("__")
    if field in known:
        if operator in LOOKUPS:
            return field, operator
        raise BadQuery(
            _("%(operator)r in %(name)r is not a comparison; it can be %(good)s.")
            % {"operator": operator, "name": name, "good": local_choices(LOOKUPS)},
            field=name,
        )
    if arguments:
        message = _(
            "There is no parameter or filter %(name)s; the parameters are %(parameters)s, the filters %(filters)s."
        )
    else:
        message = _("There is no filter %(name)s; the known ones are %(filters)s.")
    raise BadQuery(
        message
        % {
            "name": safe_repr(field if divided else name),
            "parameters": local_choices(arguments),
            "filters": local_choices(known),
        },
        field=name[:100] or "filters",
    )


def _condition(name: object, value: object, searched: Searched) -> Condition:
    """Return the checked condition of one filter.

    :raises BadQuery: naming the bad value and the good ones.
    """
    if not isinstance(name, str):
        raise bad_value("filters", name, _("a filter's name"))
    field, operator = split_lookup(name, searched)
    filter_type = _type_of(field, searched)
    if operator not in filter_type.lookups:
        raise BadQuery(
            _("The filter %(field)r is of kind %(kind)s, so %(name)r cannot compare with it; use %(good)s.")
            % {
                "field": field,
                "kind": filter_type.kind,
                "name": name,
                "good": local_choices(_lookup(field, good) for good in filter_type.lookups),
            },
            field=name,
        )
    if operator == "eq" and isinstance(value, list | tuple | set | frozenset):
        raise _one_value(name, field)
    if operator not in LISTS:
        return Condition(field, operator, _check(name, value, field, searched))
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise bad_value(name, value, _("a list of values"))
    values = tuple(dict.fromkeys(_check(name, each, field, searched) for each in value))
    check_count(name, values)
    return Condition(field, operator, values)


def _one_value(name: str, field: str) -> BadQuery:
    """Return the error for several values of a filter that is compared with one."""
    return BadQuery(
        _("%(name)r takes one value; for several use %(lookup)r.") % {"name": name, "lookup": _lookup(field, "in")},
        field=name,
    )


def _check(name: str, value: object, field: str, searched: Searched) -> Scalar:
    """Return a value with which a filter compares, checked and converted to its type."""
    filter_type = _type_of(field, searched)
    if isinstance(value, models.Model) and not any(_holds_keys(items, field, value) for items in searched):
        raise bad_value(name, value, filter_type.expected)  # it would be compared by its key, and equal nothing
    try:
        scalar = filter_type.check(value)
    except ValueError:
        raise bad_value(name, value, filter_type.expected) from None
    if isinstance(scalar, str):
        check_characters(name, scalar)
        if len(scalar) > get_settings().MAX_TEXT_LENGTH:
            raise bad_value(name, value, filter_type.expected)
    return scalar


def _holds_keys(items: Items[Any], field: str, instance: models.Model) -> bool:
    """Return whether the values of a filter can be primary keys of the model of ``instance``."""
    if type(items).get_filters is not Items.get_filters:
        return field in items.filter_names
    if field not in items.filters:
        return False
    end: Any = paths.resolve(items.model, items.filters[field]).field
    if end is None or (end.is_relation and end.related_model is None):
        return True  # a method, a property or a generic relation, which can give keys of any model
    models_of_keys = [end.related_model] if end.is_relation else []
    if getattr(end, "primary_key", False):
        models_of_keys.append(end.model)
    own: Any = type(instance)._meta.concrete_model
    return any(issubclass(own, each._meta.concrete_model) for each in models_of_keys)


def _parse(name: str, text: str, filter_type: FilterType) -> Scalar:
    try:
        return filter_type.parse(text)
    except ValueError:
        raise bad_value(name, text, filter_type.expected_text) from None


def _type_of(field: str, searched: Searched) -> FilterType:
    return FILTER_TYPES[next(items.kinds[field] for items in searched if field in items.filter_names)]


def _lookup(name: str, operator: Operator) -> str:
    """Return the name of the parameter for a comparison: the opposite of :func:`split_lookup`."""
    return name if operator == "eq" else f"{name}__{operator}"


CATEGORY_SECONDS = 300
"""How long the categories and their parents stay in the cache."""
PROCESS_SECONDS = 30.0
"""How long a process uses the parents that it last read from that cache."""


def categories_of(items: Items[Any]) -> list[str]:
    """Return every category of the items of this model; empty if a method computes it."""
    name = _cache_name("categories", items, items.category)
    known: list[str] | None = shared_cache.read(name)
    if known is None:
        known = []
        end = paths.resolve(items.model, items.category) if items.category else None
        if end is not None and end.field is not None:
            rows = items.get_queryset().filter(**end.conditions)
            values = rows.order_by().values_list(end.lookup, flat=True).distinct()
            known = sorted({str(value) for value in values if value not in (None, "")})
        shared_cache.keep(name, known, CATEGORY_SECONDS)
    return known


def unknown_category(index: GuardedIndex, filters: Filters) -> str:
    """Return a message if nothing at all is indexed in the categories of a query, else an empty text."""
    if index.count(Filters(models=filters.models, categories=filters.categories)):
        return ""
    return _("Nothing is indexed in the category %(category)s.") % {"category": local_choices(filters.categories)}


def wider_categories(searched: Searched, categories: Collection[str]) -> tuple[str, ...]:
    """Return the categories with their parents, and the subcategories of both; empty if none of these are known."""
    found: set[str] = set()
    for items in searched:
        parents_of = _parents_of(items)
        parents = {parent for category in categories for parent in parents_of.get(category, ())}
        both = parents.union(categories)
        found |= parents | {category for category, own in parents_of.items() if not both.isdisjoint(own)}
    return tuple(sorted(found | set(categories))) if found else ()


def parents_of(searched: Searched, category: str) -> list[str]:
    """Return the parents of a category, if they are known."""
    return [parent for items in searched for parent in _parents_of(items).get(category, ())]


@dataclass
class _Parents:
    """The parents of the categories as this process last read them, and the ``monotonic()`` time until which it uses
    them."""

    known: dict[str, list[str]] = field(default_factory=dict)
    until: float = 0.0


def _parents_of(items: Items[Any]) -> dict[str, list[str]]:
    """Return the parents of each category of a model. They are read from the shop, and cached."""
    name = _cache_name("parents", items, f"{items.category}.{items.category_parent}")
    kept = runtime.get(name, _Parents)  # every query for similar items needs them: the cache may be on another machine
    if monotonic() >= kept.until:
        known: dict[str, list[str]] | None = shared_cache.read(name)
        if known is None:
            known = category_parents(items)
            shared_cache.keep(name, known, CATEGORY_SECONDS)
        kept.known, kept.until = known, monotonic() + PROCESS_SECONDS
    return kept.known


def _cache_name(what: str, items: Items[Any], path: str) -> str:
    digest = hashlib.sha256(f"{get_index().name} {items.label} {path}".encode()).hexdigest()
    return f"imagesim.{what}.{digest}"
