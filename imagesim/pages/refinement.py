"""Refining a page of results: facets with counts, an order, and steps such as "cheaper", as links to the same page."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any

from django.db import models
from django.http import QueryDict
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from imagesim.conf import get_settings
from imagesim.embedders import get_embedder
from imagesim.exceptions import ConfigurationError, format_choices
from imagesim.filter_types import several
from imagesim.images import colours
from imagesim.items.hydrate import fact_of
from imagesim.items.measured_colours import filter_values
from imagesim.items.registry import registry
from imagesim.retrieval.params import parse
from imagesim.types import FilterValue, Hit, Hits

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")

MAX_CHOICES = 20
"""The maximum number of values of one facet."""

ENOUGH = 4
"""The minimum number of results for the step "cheaper", except for results of an item."""

OTHER_COLOUR = "colour^-0.5"


@dataclass(frozen=True, slots=True)
class Choice:
    """A link to the page with a choice added or removed; ``count`` results have it."""

    label: str
    url: str
    is_chosen: bool = False
    count: int | None = None
    value: str = ""
    """The value of the filter, if the choice is a value."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A form field for the minimum or the maximum of a filter: its name, its value, and that of the results as a
    hint."""

    name: str
    value: str
    hint: str


@dataclass(frozen=True, slots=True)
class Group:
    """Choices of one kind, such as all brands."""

    name: str
    label: str
    choices: list[Choice]
    is_palette: bool = False
    """Whether the choices are colours, which are shown as swatches."""
    bounds: Sequence[Bound] = ()
    """The fields for the minimum and the maximum, if the filter is a number."""
    others: Sequence[tuple[str, str]] = ()
    """The other parameters in the URL, for the form of these fields."""

    @property
    def chosen(self) -> Choice | None:
        return next((choice for choice in self.choices if choice.is_chosen), None)


class Refinement:
    """The choices of a visitor in the URL of a page of results, and the further choices.

    ``facets`` and ``sort`` are filters of ``Items`` with their labels (``{"brand": "Brand"}``); those of ``sort`` are
    numbers. ``name_of(facet, value)`` returns what a page shows for a value, by default the value itself, or the
    translated name of a measured colour. A facet of numbers also has fields for the minimum and the maximum. ``query``
    is ``request.GET``, and ``like`` the item whose similar items the page shows, if it does. The facet of
    ``Items.measured_colours`` is shown as a palette.

    Pass :meth:`arguments` to the search and its hits to :meth:`apply`, which counts and orders at most ``MAX_LIMIT`` of
    them, the most relevant. The counts are therefore those of the answer, not of the catalogue.

    :raises ConfigurationError: if there is no such filter.
    """

    def __init__(
        self,
        model: type[models.Model],
        query: QueryDict,
        *,
        facets: Mapping[str, str] = MappingProxyType({}),
        sort: Mapping[str, str] = MappingProxyType({}),
        like: models.Model | None = None,
        page_size: int = 12,
        name_of: Callable[[str, str], str] | None = None,
    ) -> None:
        self._items = registry.for_model(model)
        kinds = self._items.kinds
        numbers = [name for name, kind in kinds.items() if kind == "number"]
        for argument, names, known in (("facets", facets, kinds), ("sort", sort, numbers)):
            for name in names:
                if name not in known:
                    good = format_choices(known)
                    raise ConfigurationError(f"{argument!r} of a refinement names {name!r}; it can name {good}.")
        self._query, self._facets, self._sort, self._like = query, facets, sort, like
        self._page_size, self._name_of = page_size, name_of or self._default_name
        self._values: dict[int, Mapping[str, FilterValue]] = {}
        page = query.get("page", "")
        self.page = int(page) if page.isascii() and page.isdigit() and 0 < len(page) < 5 and int(page) else 1
        orders = {order for name in sort for order in (name, f"-{name}")}
        self.order = query.get("sort", "") if query.get("sort", "") in orders else ""
        self.total, self.more, self.next_url, self.previous_url = 0, False, "", ""
        """The number of results, whether there are further, less relevant ones, and the URLs of the next page and the
        previous one, which is the last page if this one is beyond it."""
        self.groups: list[Group] = []
        self.steps: list[Choice] = []

    def arguments(self, filters: Mapping[str, Any] | None = None, **others: Any) -> dict[str, Any]:
        """Return the arguments for ``search`` or ``similar_to``: ``others``, and ``filters`` with those that were
        chosen.

        :raises BadQuery: if the URL names a value that a filter cannot have.
        """
        chosen = {name: value for name in self._parameters() if (value := self._query.get(name))}
        parsed = parse("search", chosen, (self._items,)).get("filters", {})
        components = {"components": OTHER_COLOUR} if self._is_other_colour() else {}
        return others | components | {"limit": get_settings().MAX_LIMIT, "filters": {**(filters or {}), **parsed}}

    def apply(self, hits: Hits) -> Hits:
        """Return the hits of this page, in the chosen order."""
        values = filter_values(self._items, [hit.item for hit in hits])
        self._values = {id(hit): own for hit, own in zip(hits, values, strict=True)}
        self.total, self.more = len(hits), hits.more
        self.groups = [group for name in self._facets if (group := self._facet(name, hits))]
        if len(hits) > 1 or self.order:
            self.groups.append(self._orders())
        self.steps = [*self._chosen_ranges(), *self._cheaper(hits), *self._other_colour(hits)]
        start, end = self.offset, self.page * self._page_size
        self.next_url = self._url(page=str(self.page + 1)) if len(hits) > end else ""
        previous = min(self.page - 1, math.ceil(len(hits) / self._page_size))
        self.previous_url = "" if self.page == 1 else self._url(page=str(previous) if previous > 1 else "")
        return hits.replace(hits=self._ordered(hits)[start:end], more=len(hits) > end)

    @property
    def palettes(self) -> list[Group]:
        """Return the groups that are shown as swatches."""
        return [group for group in self.groups if group.is_palette]

    @property
    def offset(self) -> int:
        """Return the number of results before this page."""
        return (self.page - 1) * self._page_size

    @property
    def chosen(self) -> list[tuple[str, str]]:
        """Return the choices for the fields of a form: names and values."""
        names = (*self._parameters(), "sort", "components")
        return [(name, value) for name in names if (value := self._query.get(name))]

    def _ordered(self, hits: Hits) -> list[Hit]:
        if not self.order:
            return list(hits)
        known = [hit for hit in hits if self._value(hit) is not None]
        known.sort(key=lambda hit: self._value(hit) or 0.0, reverse=self.order.startswith("-"))
        return [*known, *(hit for hit in hits if self._value(hit) is None)]

    def _value(self, hit: Hit, name: str = "") -> float | None:
        return _lowest(self._values[id(hit)].get(name or self.order.removeprefix("-")))

    def _facet(self, name: str, hits: Hits) -> Group | None:
        is_number = name in self._numbers()
        written = _plain if is_number else str
        counts: Counter[str] = Counter()
        for hit in hits:
            own = [written(each) for each in several(self._values[id(hit)].get(name)) if each not in (None, "")]
            counts.update([*dict.fromkeys(own)])  # in an order that is the same in each process
        chosen = self._query.get(name, "")
        chosen = written(chosen) if chosen else ""
        if len(counts) < 2 and not chosen:
            return None
        values = [value for value, _count in counts.most_common(MAX_CHOICES)]
        if is_number and len(counts) > MAX_CHOICES:
            values = []  # such as prices
        elif values and all(map(_NUMBER.search, values)):
            values.sort(key=_natural)
        choices = [
            Choice(
                self._name_of(name, value),
                self._url(**{name: "" if value == chosen else value}),
                value == chosen,
                counts[value] if chosen in ("", value) else None,
                value,
            )
            for value in [*values, *([chosen] if chosen and chosen not in values else [])]
        ]
        fields = self._fields(name, [*map(float, counts)]) if is_number else ()
        skipped = {"page", "csrfmiddlewaretoken", *(field.name for field in fields)}
        others = [(key, each) for key, own in self._query.lists() for each in own if key not in skipped]
        return Group(name, self._facets[name], choices, name == self._items.measured_colours, fields, others)

    def _fields(self, name: str, numbers: Sequence[float]) -> list[Bound]:
        hints = (min(numbers), max(numbers)) if numbers else ("", "")
        names = (f"{name}__gte", f"{name}__lte")
        return [Bound(each, self._query.get(each, ""), _plain(hint)) for each, hint in zip(names, hints, strict=True)]

    def _numbers(self) -> list[str]:
        """Return the filters of the page that are numbers."""
        kinds = self._items.kinds
        return [name for name in dict.fromkeys((*self._facets, *self._sort)) if kinds[name] == "number"]

    def _parameters(self) -> list[str]:
        """Return the names of the filters that can be chosen, with those of their bounds."""
        ranges = [f"{name}__{bound}" for name in self._numbers() for bound in ("gte", "lte")]
        return [*self._facets, *self._bounds(), *ranges]

    def _chosen_ranges(self) -> list[Choice]:
        """Return the bounds that were typed, as choices that remove them."""
        labels = {"gte": _("%(field)s from %(number)s"), "lte": _("%(field)s up to %(number)s")}
        names = {**self._sort, **self._facets}
        return [
            Choice(
                label % {"field": names[name], "number": number_format(_plain(value))},
                self._url(**{f"{name}__{bound}": ""}),
                is_chosen=True,
            )
            for name in self._numbers()
            for bound, label in labels.items()
            if (value := self._query.get(f"{name}__{bound}"))
        ]

    def _default_name(self, facet: str, value: str) -> str:
        if facet in self._numbers():
            return number_format(value)
        return str(colours.NAMES.get(value, value)) if facet == self._items.measured_colours else value

    def _orders(self) -> Group:
        labels = {"": _("Most relevant first")}
        for name, label in self._sort.items():
            labels[name] = _("%(field)s, lowest first") % {"field": label}
            labels[f"-{name}"] = _("%(field)s, highest first") % {"field": label}
        choices = [Choice(label, self._url(sort=order), order == self.order) for order, label in labels.items()]
        return Group("sort", pgettext("results", "Order"), choices)

    def _cheaper(self, hits: Hits) -> list[Choice]:
        """Return a step to items that cost less than the item, or than about half of the results."""
        found = []
        like: dict[str, FilterValue] = {} if self._like is None else fact_of(self._like, "get_filters", {})
        for (name, field), bound in zip(self._sort.items(), self._bounds(), strict=True):
            chosen = self._query.get(bound, "")
            own = _lowest(like.get(name))
            numbers = [number for hit in hits if (number := self._value(hit, name)) is not None]
            limit = own if own is not None else _middle(numbers)
            if chosen:
                limit = _parsed(chosen)
            elif limit is None or not any(number < limit for number in numbers):
                continue
            if limit is not None:
                shown = number_format(limit, 2 if limit % 1 else 0)
                label = _("%(field)s below %(number)s") % {"field": field, "number": shown}
                found.append(Choice(label, self._url(**{bound: "" if chosen else f"{limit:.12g}"}), bool(chosen)))
        return found

    def _other_colour(self, hits: Hits) -> list[Choice]:
        """Return a step to the same in another colour, if the model has a colour component."""
        chosen = self._is_other_colour()
        if self._like is None or not (hits or chosen) or "colour" not in get_embedder().components:
            return []
        return [Choice(_("In another colour"), self._url(components="" if chosen else OTHER_COLOUR), chosen)]

    def _is_other_colour(self) -> bool:
        return self._like is not None and self._query.get("components") == OTHER_COLOUR

    def _bounds(self) -> list[str]:
        return [f"{name}__lt" for name in self._sort]

    def _url(self, page: str = "", **changes: str) -> str:
        """Return the URL of the page with these changes; an empty value removes a name."""
        query = self._query.copy()
        query.pop("csrfmiddlewaretoken", None)
        for name, value in {**changes, "page": page}.items():
            query.pop(name, None)
            if value:
                query[name] = value
        return f"?{query.urlencode()}"


def _middle(numbers: Sequence[float]) -> float | None:
    """Return the median, rounded as a shop would write it (80 for 82.47, 12 for 12.34) if any number is below that."""
    if len(numbers) < ENOUGH:
        return None
    middle = round(median(numbers), 2)
    if middle <= 0:
        return middle
    unit = 10.0 ** (math.floor(math.log10(middle)) - 1)
    step = unit if middle < 30 * unit else 5 * unit
    rounded = round(round(middle / step) * step, 2)
    return rounded if any(number < rounded for number in numbers) else middle


def _lowest(value: FilterValue) -> float | None:
    """Return a filter's value as a number; the minimum if there are several."""
    numbers = [float(each) for each in several(value) if each is not None]
    return min(numbers, default=None)


def _plain(number: object) -> str:
    """Return a number as the URL has it, without trailing zeros ("16" for 16.00); anything else unchanged, as text."""
    value = _parsed(str(number))
    return str(number) if value is None else f"{value:.12g}"


def _natural(text: str) -> list[tuple[float, str]]:
    """Return a sort key that orders texts by the numbers in them: "M8" before "M10"."""
    parts = _NUMBER.split(text)
    return [(float(part), "") if at % 2 else (0.0, part) for at, part in enumerate(parts)]


def _parsed(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
