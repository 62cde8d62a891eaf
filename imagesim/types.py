"""Plain values that all packages use; they import neither Django, torch nor Elasticsearch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, get_args, overload

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import typing_extensions

    Item = typing_extensions.TypeVar("Item", default=Any)
    Vector = npt.NDArray[np.float32]
else:
    Item = TypeVar("Item")  # before Python 3.13, without a default

Scalar = str | bool | int | float | Decimal | date | datetime
FilterValue = Scalar | tuple[Scalar, ...] | None
FilterKind = Literal["keyword", "number", "boolean", "date"]
Operator = Literal["eq", "in", "not_in", "gt", "gte", "lt", "lte"]
Similarity = Literal["cosine", "dot_product", "l2", "l1"]

LOOKUPS: tuple[Operator, ...] = get_args(Operator)
OPERATORS = tuple(operator for operator in LOOKUPS if operator != "not_in")
"""The comparisons of an index; ``LOOKUPS`` are those of a query. ``not_in`` becomes a filter in ``Filters.none_of``."""
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)


@dataclass(frozen=True, slots=True)
class EntryImage:
    """One image of an entry: its digest, its name in the shop's storage, its embedding (dims,)."""

    digest: str
    name: str
    vector: Vector = field(repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index holds of one item. ``version`` only rises; the index refuses an older version."""

    key: str
    model: str
    pk: str
    version: int
    images: tuple[EntryImage, ...]
    categories: tuple[str, ...] = ()
    in_stock: bool = True
    group: str = ""
    """Shared by the variants of one product. Empty means that the item has no variants."""
    filters: Mapping[str, FilterValue] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The texts that words are searched in, by the name of the field."""


@dataclass(frozen=True, slots=True)
class Removal:
    """The removal of an item from the index."""

    key: str
    version: int


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of writing one entry or removal. ``newer`` is a success: the index already holds that version or a
    later one. A temporary failure (``retryable``) is retried; a permanent error is stored with the item."""

    key: str
    status: Literal["done", "newer", "failed"]
    error: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison on a filter value, such as ``price <= 50``; ``in`` takes a tuple."""

    field: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Filters:
    """The conditions that an entry must satisfy. Empty tuples and None mean no condition."""

    models: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    in_stock: bool | None = None
    conditions: tuple[Condition, ...] = ()
    exclude_keys: tuple[str, ...] = ()
    exclude_groups: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Only these entries."""
    none_of: tuple[Filters, ...] = ()
    """Entries that match any of these are excluded; they cannot contain a ``none_of`` themselves."""


@dataclass(frozen=True, slots=True)
class Query:
    """One nearest-neighbour query.

    ``vector`` has shape (dims,) and unit length. ``exact`` forces exact (True) or approximate (False) search where the
    index offers both; None lets the index choose. ``fingerprint`` names the model that made the vector: an index of
    another raises :class:`~imagesim.exceptions.ModelMismatch` instead of a wrong answer; empty disables this.

    ``similarity`` orders the answer; None means the index's own. For unit vectors, "cosine", "dot_product" and "l2"
    give the same order (the squared Euclidean distance is 2 - 2 cos); "l1", the sum of the absolute differences, gives
    another. The score is the cosine of the image that matched, whatever the order, and ``min_score`` leaves out images
    below it.
    """

    vector: Vector = field(repr=False)  # error trackers keep the reprs of local variables
    filters: Filters = Filters()
    limit: int = 12
    offset: int = 0
    min_score: float | None = None
    collapse: bool = True
    exact: bool | None = None
    fingerprint: str = ""
    similarity: Similarity | None = None
    text: str = ""
    """Words to find in the texts of entries instead of the vector; candidates then have a text match, and no score."""
    typing: bool = False
    """Whether the last word of ``text`` is still being typed."""
    fields: tuple[str, ...] = ()
    """The filters, or ``in_stock``, whose values the candidates include (``Candidate.values``)."""
    heads: tuple[int, ...] = ()
    """The numbers of those analysed words of ``text`` of which an entry must contain at least one."""
    spelled: frozenset[str] = frozenset()
    """The analysed words of ``text`` that are known to be spelled correctly: "watch" is not a misspelled "match"."""
    colours: tuple[int, ...] = ()
    """The numbers of the analysed words of ``text`` that name a colour."""
    foreign: frozenset[tuple[str, str]] = frozenset()
    """Analysed words of ``text``, each with a language that it does not belong to: its stem there is another word's."""
    in_compounds: frozenset[str] = frozenset()
    """Analysed words of ``text`` that name no category: a compound of one ("Feinzucker") counts as that word too."""


_NO_VALUES: Mapping[str, tuple[Any, ...]] = {}  # not a mapping proxy, which a cache could not pickle


class Candidate(NamedTuple):
    """A match in the index: the entry's key, its cosine similarity and the image that matched.

    A tuple, because a search creates and changes up to a hundred, and a frozen dataclass takes three times as long.
    """

    key: str
    score: float
    group: str
    image_digest: str
    image_name: str
    stage: str = ""
    """Which fallback found it; an index leaves it empty."""
    categories: tuple[str, ...] = ()
    text: float = 0.0
    """How well the entry's words match those of the query, 0..1."""
    head: float = 0.0
    """The same for only the heads of the query, which count nearly in full if the entry's name ends with one."""
    relevance: float = 1.0
    """The calibrated probability, 0..1, that it is relevant; an index leaves it at 1."""
    values: Mapping[str, tuple[Any, ...]] = _NO_VALUES
    """The canonical values (see :mod:`imagesim.filter_types`) of each of ``Query.fields``, where it has any."""
    rules: tuple[str, ...] = ()
    """The names of the rules that moved it; an index leaves it empty."""

    def identity(self, by_group: bool) -> str:
        """Return what is unique to a candidate within an answer: its group, if groups are collapsed, or its key."""
        return self.group if by_group else self.key

    def moved_by(self, *rules: str) -> Candidate:
        """Return a copy that names the rules that moved it."""
        return self._replace(rules=(*self.rules, *rules))


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of one field among the entries that satisfy the filters.

    ``count`` entries have a value at all. A keyword, boolean or category has ``values``, each with its entry count, the
    commonest first, and ``more`` if others follow; a number or date has ``minimum`` and ``maximum``."""

    kind: FilterKind
    count: int = 0
    values: tuple[tuple[str | bool, int], ...] = ()
    more: bool = False
    minimum: float | datetime | None = None
    maximum: float | datetime | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The answer to one query, best first.

    ``more``: further matches follow this page. ``took_ms``: the engine's own time, shared by queries answered together.
    ``relevant``: all that were relevant enough, on any page, and ``facets`` the counts of their values, by field; an
    index leaves both empty."""

    candidates: tuple[Candidate, ...]
    more: bool = False
    took_ms: float = 0.0
    exact: bool = True
    cut: int = 0
    """How many of the requested candidates were not relevant enough; an index leaves it at 0."""
    closest: tuple[Candidate, ...] = ()
    """The best of those that were cut, if nothing is left."""
    relevant: tuple[Candidate, ...] = ()
    facets: Mapping[str, Facet] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.candidates)


@dataclass(frozen=True, slots=True)
class TextSpec:
    """A text field: its weight relative to the others, its language code, and whether it holds category or colour
    names."""

    weight: float = 1.0
    language: str = "en"
    category: bool = False
    colours: bool = False


@dataclass(frozen=True, slots=True)
class IndexMeta:
    """The metadata stored with an index: the fingerprint of its model and the shape of its vectors.

    No backend and no option is stored: whoever can write to the index must not be able to choose the code or the
    host that queries are sent to. The embedder comes from the settings, found by its fingerprint.
    """

    fingerprint: str
    dims: int
    filters: Mapping[str, FilterKind] = field(default_factory=dict)
    projection: str = ""
    """The id of the fitted projection between embedder and index, or empty; ``dims`` is its output length."""
    texts: Mapping[str, TextSpec] = field(default_factory=dict)
    """The fields of text, by name."""
    analysis: int = 0
    """The version of the storage and analysis of texts."""

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> IndexMeta:
        """Parse stored metadata. Unknown keys, such as those of another version, are ignored.

        :raises ValueError: in one sentence, if it is not the metadata of an index.
        """
        try:
            return cls(
                fingerprint=str(stored["fingerprint"]),
                dims=int(stored["dims"]),
                filters=dict(stored.get("filters") or {}),
                projection=str(stored.get("projection") or ""),
                texts={
                    str(name): TextSpec(
                        float(spec["weight"]),
                        str(spec["language"]),
                        *(bool(spec.get(flag, False)) for flag in ("category", "colours")),
                    )
                    for name, spec in (stored.get("texts") or {}).items()
                },
                analysis=int(stored.get("analysis") or 0),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the stored meta {stored!r} is not that of an index of imagesim") from error


@dataclass(frozen=True, slots=True)
class HitImage:
    """The image of an item that matched: its name in the storage, and its digest."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Hit(Generic[Item]):
    """One result: the item, its cosine similarity (-1..1, the same on every index), the image that matched.

    ``stage`` is empty for a plain answer, or says which fallback found the hit.
    """

    item: Item
    score: float
    image: HitImage
    stage: str = ""
    relevance: float = 1.0
    """The calibrated probability, 0..1, that it is relevant to the query."""
    rules: tuple[str, ...] = ()
    """The names of the shop's rules that moved it (see :mod:`imagesim.retrieval.rerank`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the shop above the hits, with an optional link."""

    text: str
    url: str = ""


class Hits(Sequence[Hit[Item]]):
    """A sequence of hits with facts about the answer, which a slice keeps.

    ``more``: further hits follow this page. ``took_ms``: the engine's time, for all regions of a look. ``exact``: every
    entry that passed the filters was scored. ``degraded``: why there are no hits, or too few, though the query was
    valid, else empty. ``next_offset``: where the next page starts, which is past ``offset + limit`` if deleted items
    were skipped. ``facets``: the counts of each field asked for, over the items that pass the filters; in a look, over
    the relevant ones. ``token``: to be sent back with what the visitor does with the hits; empty while events are off.
    ``cut``: how many of the nearest were not relevant enough (``min_relevance``). ``closest``: if nothing was relevant
    enough, a few that come closest, to be shown separately and labelled so. ``region``: the part of the picture that
    was searched with, if not all of it. ``messages``: the shop's messages about the answer.
    """

    def __init__(
        self,
        hits: Iterable[Hit[Item]] = (),
        *,
        more: bool = False,
        took_ms: float = 0.0,
        exact: bool = True,
        degraded: str = "",
        next_offset: int = 0,
        facets: Mapping[str, Facet] | None = None,
        token: str = "",
        cut: int = 0,
        closest: Iterable[Hit[Item]] = (),
        region: Region | None = None,
        messages: Iterable[Message] = (),
    ) -> None:
        self._hits = tuple(hits)
        self.more = more
        self.took_ms = took_ms
        self.exact = exact
        self.degraded = degraded
        self.next_offset = next_offset
        self.facets: dict[str, Facet] = dict(facets or {})
        self.token = token
        self.cut = cut
        self.closest = tuple(closest)
        self.region = region
        self.messages = tuple(messages)

    def __len__(self) -> int:
        return len(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit[Item]: ...

    @overload
    def __getitem__(self, index: slice) -> Hits[Item]: ...

    def __getitem__(self, index: int | slice) -> Hit[Item] | Hits[Item]:
        return self.replace(hits=self._hits[index]) if isinstance(index, slice) else self._hits[index]

    def __eq__(self, other: object) -> bool:
        """Compare with another sequence: the same hits in the same order."""
        return list(self) == list(other) if isinstance(other, Hits | list | tuple) else NotImplemented

    def __repr__(self) -> str:
        return f"<Hits {list(self._hits)!r}{' and more' if self.more else ''}>"

    def replace(self, **changes: Any) -> Hits[Item]:
        """Return the same answer with these attributes (or ``hits``) changed."""
        kept = {name.removeprefix("_"): value for name, value in vars(self).items()}
        return Hits(**(kept | changes))


@dataclass(frozen=True, slots=True)
class Region:
    """A box in a photo with a label; x, y, width and height in 0..1 of the upright photo.

    ``label`` is for display and for mapping to categories. If two labels score closely it is a neutral one
    (``upper_body``, ``lower_body``, ``full_body``) and ``alternatives`` holds the labels that it stands for, the
    likelier first. The label of a box without one, such as a box drawn by a visitor, is empty.
    """

    x: float
    y: float
    width: float
    height: float
    label: str = ""
    score: float = 1.0
    alternatives: tuple[str, ...] = ()

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom) in a photo of ``size`` (width, height), at least one pixel each way."""
        width, height = size
        left = min(max(0, math.floor(self.x * width)), width - 1)
        top = min(max(0, math.floor(self.y * height)), height - 1)
        right = min(max(left + 1, math.ceil((self.x + self.width) * width)), width)
        bottom = min(max(top + 1, math.ceil((self.y + self.height) * height)), height)
        return left, top, right, bottom
