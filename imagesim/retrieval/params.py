"""``SearchRequest``: the arguments of a query, each declared once.

The declaration serves to check calls in Python and the arguments of template tags, to read query strings and forms of
the REST API and describe them in its schema, to make the key under which an answer is cached, and to reserve the names
that no filter of a shop may have. The types for editors and type checkers are at the end of the module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from django.db import models

from imagesim.exceptions import format_choices
from imagesim.items.registry import registry
from imagesim.retrieval.arguments import (
    ArgumentType,
    Categories,
    Choices,
    Integer,
    ModelLabels,
    OneOf,
    Real,
    Searched,
    Switch,
    Terms,
    Text,
    Weights,
    model_labels,
)
from imagesim.retrieval.filters import build_conditions, filter_names, parse_filter, split_lookup
from imagesim.types import Condition, Filters

if TYPE_CHECKING:
    from imagesim.retrieval.arguments import TermValues
    from imagesim.retrieval.variants import Variant

F = TypeVar("F", bound=Callable[..., Any])

Call = Literal["similar", "search", "look", "suggest"]
"""The calls that accept a request: ``similar_to``, ``search``, ``shop_the_look`` and ``suggest``."""

ALL: tuple[Call, ...] = ("similar", "search", "look")
EVERY: tuple[Call, ...] = (*ALL, "suggest")
PAGED: tuple[Call, ...] = ("similar", "search")

STAGES = ("parent", "wider")
"""Where to search further if the categories have too few items: in those of the same parents, then in all."""

FACET_FIELDS = ("category", "in_stock")
"""Fields that can be counted besides the filters."""

TAG_ARGUMENTS = ("item", "timeout", "heading", "empty", "min_hits", "section_id")
"""Arguments of the template tags besides those of ``similar_to``."""

REST_ARGUMENTS = ("q", "image", "photo", "regions", "point", "whole", "region", "label", "token", "format")
"""Arguments of ``shop_the_look`` and the REST views besides those of a request."""

PAGE_PARAMETERS = ("sort", "page")
"""What a page of results reads from its URL besides the arguments and filters (``imagesim.pages.refinement``)."""


def _argument(kind: ArgumentType, default: Any, calls: Collection[str] = ALL, **defaults: Any) -> dict[str, Any]:
    """Return the metadata of an argument: its type, the calls that have it and its default. ``defaults``: the other
    defaults that some calls have, by their names."""
    return {"type": kind, "calls": tuple(calls), "default": default, "defaults": defaults}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """The checked arguments of a query, the same in Python, REST and template tags. Use :meth:`create`.

    ``like`` and ``unlike`` are unchanged: :func:`~imagesim.retrieval.query_vector.read_terms` reads them.
    """

    model: tuple[str, ...] = field(
        metadata=_argument(
            ModelLabels("The label of a registered model, or several; all of them if it is not given."),
            None,
            ("search", "look", "suggest"),
        )
    )
    text: str | None = field(metadata=_argument(Text("What to look for, in a few words."), None, ("search", "suggest")))
    region: str | None = field(
        metadata=_argument(
            OneOf(("auto",), "`auto`: search with the main thing that is found in `image`; by default with all of it."),
            None,
            ("search",),
        )
    )
    region_id: str | None = field(
        metadata=_argument(
            Text("A thing in one of the item's own images, by its `id` in `regions/`: what is similar to it."),
            None,
            ("similar",),
        )
    )
    limit: int = field(metadata=_argument(Integer(1, "MAX_LIMIT"), 12, EVERY, look=8, suggest=8))
    offset: int = field(metadata=_argument(Integer(0, "MAX_OFFSET"), 0, PAGED))
    category: tuple[str, ...] = field(
        metadata=_argument(Categories("One category or several, any of which a result may be in."), None, EVERY)
    )
    same_category: bool = field(metadata=_argument(Switch("Only the item's own categories."), False, ("similar",)))
    in_stock: bool | None = field(
        metadata=_argument(
            Switch("Only what is in stock (true), or only what is not (false).", optional=True), None, EVERY
        )
    )
    min_score: float | None = field(
        metadata=_argument(Real(-1, 1, "Skip results with a lower cosine similarity.", optional=True), None)
    )
    min_relevance: float | None = field(
        metadata=_argument(
            Real(0, 1, "Skip results that are less likely to belong to the answer (0 to 1).", optional=True), None
        )
    )
    collapse: bool = field(metadata=_argument(Switch("One result per group of variants."), True))
    exact: bool | None = field(
        metadata=_argument(
            Switch("Force exact (or approximate) search where the index offers both.", optional=True), None
        )
    )
    like: Any = field(
        metadata=_argument(
            Terms(
                "What else the results should be like: words, or an item (`shop.product:7`); `^0.5` after it is its "
                "weight beside the rest."
            ),
            None,
            PAGED,
        )
    )
    unlike: Any = field(
        metadata=_argument(Terms("What the results should not be like, written in the same way."), None, PAGED)
    )
    components: Mapping[str, float] = field(
        metadata=_argument(
            Weights("Weights of the components of a vector, for models that have them: `colour^0` is any colour."),
            None,
            PAGED,
        )
    )
    diversity: float = field(metadata=_argument(Real(0, 1, "How much similarity to trade for variety."), 0.0, PAGED))
    fallback: tuple[str, ...] = field(
        metadata=_argument(
            Choices(lambda _searched: STAGES, "Where to search further if the categories have too few results."),
            False,
            PAGED,
        )
    )
    facets: tuple[str, ...] = field(
        metadata=_argument(
            Choices(lambda searched: (*FACET_FIELDS, *filter_names(searched)), "Fields to count."), False
        )
    )
    filters: tuple[Condition, ...] = ()
    searched: Searched = field(default=(), repr=False)
    """The ``Items`` of the models that are searched."""

    @classmethod
    def create(
        cls, call: Call, given: Mapping[str, Any], searched: Searched | None = None, variant: Variant | None = None
    ) -> SearchRequest:
        """Check the keyword arguments of a call.

        ``searched``: the ``Items`` of the models, if the call has no argument ``model``; ``variant``: the visitor's
        variant, whose settings are defaults.

        :raises BadQuery: naming the bad value and the good ones.
        :raises NotRegistered: if ``model`` is not registered.
        :raises TypeError: if the call has no such argument.
        """
        known = declared(call)
        if variant is not None:
            given = variant.apply(given, known)
        for name in given:
            if name not in known and name != "filters":
                good = format_choices([*known, "filters"])
                raise TypeError(f"There is no argument {name!r}; the arguments are {good}.")
        labels = model_labels(given.get("model")) if searched is None else tuple(items.label for items in searched)
        if searched is None:
            searched = [items for items in registry if not labels or items.label in labels]
        checked = {
            name: known[name].metadata["type"].check(name, value, searched)
            for name, value in given.items()
            if name not in ("model", "filters")
        }
        values = _defaults(call) | checked | {"model": labels}
        values["min_relevance"] = values["min_relevance"] or None  # 0 cuts nothing
        conditions = build_conditions(given.get("filters"), searched)
        return cls(**values, filters=conditions, searched=searched)

    @property
    def cache_key(self) -> str:
        """SHA-256 of all values that affect the answer."""
        values = [(each.name, _named(getattr(self, each.name))) for each in fields(self) if each.name != "searched"]
        return hashlib.sha256(repr(values).encode()).hexdigest()

    @property
    def matches_nothing(self) -> bool:
        """Whether a filter compares with an empty list, so no item can match."""
        return any(condition.operator == "in" and condition.value == () for condition in self.filters)

    def index_filters(self, *, exclude_keys: tuple[str, ...] = (), exclude_groups: tuple[str, ...] = ()) -> Filters:
        """Return the filters for the index, without the given keys and groups."""
        wanted = tuple(each for each in self.filters if each.operator != "not_in")
        unwanted = (replace(each, operator="in") for each in self.filters if each.operator == "not_in" and each.value)
        none_of = tuple(Filters(conditions=(each,)) for each in unwanted)
        return Filters(self.model, self.category, self.in_stock, wanted, exclude_keys, exclude_groups, none_of=none_of)


def argument_names(call: Call) -> tuple[str, ...]:
    """Return the names of the arguments of a call, without ``filters``."""
    return tuple(declared(call))


def argument_defaults(call: Call) -> dict[str, Any]:
    """Return the defaults of the arguments of a call, by name, without ``filters``."""
    return {name: _default(each, call) for name, each in declared(call).items()}


def reserved_names() -> frozenset[str]:
    """Return the names that no filter may have, because they mean something else in a query string, a form or a
    template tag."""
    names = (name for call in ALL for name in declared(call))
    return frozenset((*names, "filters", *TAG_ARGUMENTS, *REST_ARGUMENTS, *PAGE_PARAMETERS))


def parse(
    call: Call, given: Mapping[str, Any], searched: Searched | None = None, *, renamed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Convert the values of a query string or a form, each a text or a list of texts, to keyword arguments for a call.

    Every name that is not an argument is a filter (``price__lte``); all filters are returned under ``filters``. Blank
    values are skipped, because a form sends them for an empty field. Values other than texts are returned unchanged;
    None counts as missing, and a dict named ``filters`` as further filters. ``renamed``: the names of arguments where
    they differ in ``given`` (``{"text": "q"}``).

    :raises BadQuery: naming the bad value and the good ones.
    """
    searched = tuple(registry) if searched is None else searched
    names = {(renamed or {}).get(name, name): name for name in declared(call)}
    arguments: dict[str, Any] = {}
    filters: dict[str, Any] = {}
    for name, values in given.items():
        if values is None:
            continue
        if name == "filters" and isinstance(values, Mapping):
            for inner, value in values.items():
                _parse_filter(filters, inner, value, searched)
        elif name in names:
            texts = _texts(values)
            if texts is None:
                arguments[names[name]] = values
            elif texts:
                kind: ArgumentType = declared(call)[names[name]].metadata["type"]
                arguments[names[name]] = kind.parse(name, texts)
        else:
            _parse_filter(filters, name, values, searched, names)
    return arguments | ({"filters": filters} if filters else {})


@cache
def declared(call: Call) -> Mapping[str, Any]:
    """Return the dataclass fields of the arguments of a call, by name."""
    return {each.name: each for each in fields(SearchRequest) if call in each.metadata.get("calls", ())}


@cache
def _defaults(call: Call) -> dict[str, Any]:
    """Return the default values of a call's arguments, as a request keeps them."""
    arguments = [each for each in fields(SearchRequest) if "type" in each.metadata]
    return {each.name: each.metadata["type"].check(each.name, _default(each, call), ()) for each in arguments}


def _default(each: Any, call: Call) -> Any:
    """Return the default of an argument, given as its field, in a call."""
    return each.metadata["defaults"].get(call, each.metadata["default"])


def _texts(values: Any) -> list[str] | None:
    """Return the texts that are not blank; None if the values are not texts."""
    texts = [values] if isinstance(values, str) else values
    if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
        return [text.strip() for text in texts if text.strip()]
    return None


def _parse_filter(
    filters: dict[str, Any], name: str, values: Any, searched: Searched, arguments: Collection[str] = ()
) -> None:
    """Add the value of one filter to ``filters``, unless it is blank."""
    texts = _texts(values)
    if texts is None:
        split_lookup(name, searched, arguments)
        if values is not None:
            filters[name] = values
    elif texts:
        filters[name] = parse_filter(name, texts, searched, arguments)


def _named(value: Any) -> Any:
    """Return a value for the cache key. An item is represented by its key, because its text may not be unique."""
    if isinstance(value, models.Model):
        return f"{value._meta.label_lower}:{value.pk}"
    if isinstance(value, Mapping):
        return sorted((name, _named(each)) for name, each in value.items())
    return [_named(each) for each in value] if isinstance(value, list | tuple) else value


# The signatures of the calls, for ``help()``, editors and type checkers.


class _FilterArguments(TypedDict, total=False):
    """The arguments of all calls."""

    limit: int
    category: str | Iterable[str] | None
    in_stock: bool | None
    filters: Mapping[str, Any] | None


class SuggestArguments(_FilterArguments, total=False):
    """The arguments of ``suggest``."""

    model: type[models.Model] | str | Iterable[type[models.Model] | str] | None


class _EveryArgument(_FilterArguments, total=False):
    """The arguments of the calls that search by vectors."""

    min_score: float | None
    min_relevance: float | None
    collapse: bool
    exact: bool | None
    facets: bool | Iterable[str]


class _PagedArguments(_EveryArgument, total=False):
    offset: int
    like: TermValues | None
    unlike: TermValues | None
    components: Mapping[str, float] | None
    diversity: float
    fallback: bool | Iterable[str]


class LookArguments(_EveryArgument, total=False):
    """The arguments of ``shop_the_look``."""

    model: type[models.Model] | str | Iterable[type[models.Model] | str] | None


class SimilarArguments(_PagedArguments, total=False):
    """The arguments of ``similar_to``."""

    same_category: bool
    region_id: str | None


class SearchArguments(_PagedArguments, LookArguments, total=False):
    """The arguments of ``search``."""

    text: str | None
    region: str | None


def takes(call: Call) -> Callable[[F], F]:
    """Give a function the signature of its call in place of its ``**arguments``."""

    def decorate(function: F) -> F:
        parameters = signature(function).parameters
        own = [each for each in parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        keywords = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            for name, default in argument_defaults(call).items()
            if name not in parameters
        ]
        filters = Parameter("filters", Parameter.KEYWORD_ONLY, default=None)
        function.__signature__ = Signature([*own, *keywords, filters])  # type: ignore[attr-defined]
        return function

    return decorate
