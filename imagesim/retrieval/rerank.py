"""Reranking: the interface for other apps, such as ``imagesim.merchandising``, to change an answer.

A reranker is asked for a :class:`Plan` before each search, and may give none. A plan leaves entries out during the
search, so that pages are full; it pins entries, which are read in the same request; and it rearranges the first
:data:`WINDOW` candidates after they were judged and before the page is cut. All of that depends on the question alone,
never on the page, so that pages neither repeat nor leave out. Without a reranker nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from imagesim.indexes.validation import MAX_NONE_OF
from imagesim.registry import key_of
from imagesim.retrieval import variants
from imagesim.retrieval.extension import Extension
from imagesim.retrieval.variants import Where
from imagesim.types import Candidate, Filters, Hit, Message, Query

if TYPE_CHECKING:
    from django.db import models

    from imagesim.retrieval.params import SearchRequest
    from imagesim.types import IndexMeta

T = TypeVar("T")

WINDOW = 48
"""The number of best candidates that a plan rearranges: four pages. More would slow down each search."""


@dataclass(frozen=True, slots=True)
class Question:
    """The facts that a plan can depend on, which do not include the page.

    ``categories`` are those of the item, or those that the request names. ``typed`` is the text with any limits of a
    price in its words, which ``text`` has not.
    """

    where: Where
    request: SearchRequest
    meta: IndexMeta
    text: str = ""
    typed: str = ""
    item: models.Model | None = None
    categories: tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        """The key of the visitor's variant (:mod:`imagesim.retrieval.variants`); empty if there is none."""
        return variants.key_of(self.where)

    @property
    def key(self) -> str:
        """The key of the item; empty if the query is for none."""
        return "" if self.item is None else key_of(self.item)


@dataclass(frozen=True, slots=True)
class Pin:
    """An entry to show at a position (0 is the first), if it matches the filters of the query."""

    key: str
    position: int
    rule: str = ""


Arrange = Callable[[Sequence[Candidate], Mapping[int, Candidate]], Sequence[Candidate]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes to one query and its answer.

    ``text`` replaces its words; what is called by any of the ``alternatives`` is found as well. ``none_of`` leaves out
    what satisfies any of the filters, pinned or not. ``arrange`` gets the judged candidates of the window and the
    pinned ones by position, and returns the former in another order; their candidates have the values of ``fields``.
    ``any_category``: pins need not be in the categories of the query.
    """

    text: str = ""
    alternatives: tuple[str, ...] = ()
    none_of: tuple[Filters, ...] = ()
    pins: tuple[Pin, ...] = ()
    fields: tuple[str, ...] = ()
    arrange: Arrange | None = None
    messages: tuple[Message, ...] = ()
    any_category: bool = False

    @property
    def window(self) -> int:
        """The number of candidates that are needed for any page."""
        return WINDOW if self.arrange or self.pins else 0

    def filters(self, filters: Filters) -> Filters:
        """Return the filters of a query that exclude the plan's exclusions, as many as an index takes."""
        return replace(filters, none_of=(filters.none_of + self.none_of)[:MAX_NONE_OF]) if self.none_of else filters

    def lookups(self, queries: Sequence[Query]) -> list[Query]:
        """Return the queries that read the pinned entries, one for each of ``queries``; none without pins."""
        return [self._lookup(query) for query in queries] if self.pins else []

    def _lookup(self, query: Query) -> Query:
        keys = tuple(dict.fromkeys(pin.key for pin in self.pins))
        filters = replace(query.filters, keys=keys)
        if self.any_category:
            filters = replace(filters, categories=())
        vector = query.vector
        if not vector.any():  # words that the model cannot embed
            vector = vector.copy()
            vector[0] = 1.0
        return replace(
            query, vector=vector, filters=filters, offset=0, limit=len(keys), min_score=None, collapse=False, text=""
        )

    def apply(
        self, judged: Sequence[Candidate], pinned: Sequence[Candidate], floor: float, *, by_group: bool
    ) -> list[Candidate]:
        """Return all candidates in their new order, without those below the floor; pinned ones are never cut."""
        placed = self._placed(pinned, by_group)
        taken = {each.identity(by_group) for each in placed.values()}
        left = [each if each.identity(by_group) not in taken else None for each in judged]
        head = [each for each in left[:WINDOW] if each is not None and each.relevance >= floor]
        rest = [each for each in left[WINDOW:] if each is not None and each.relevance >= floor]
        found = self.arrange(head, placed) if self.arrange else head
        return _inserted(found, placed) + rest

    def in_place(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return the hits, of which some were taken out, with the pinned ones at their positions again."""
        if not self.pins:
            return list(hits)
        by_key = {key_of(hit.item): hit for hit in hits}
        placed: dict[int, Hit] = {}
        for pin in self.pins:
            if pin.position not in placed and pin.key in by_key:
                placed[pin.position] = by_key.pop(pin.key)
        return _inserted(by_key.values(), placed)

    def _placed(self, pinned: Sequence[Candidate], by_group: bool) -> dict[int, Candidate]:
        known = {each.key: each for each in pinned}
        placed: dict[int, Candidate] = {}
        taken = set[str]()
        for pin in self.pins:
            each = known.get(pin.key)
            if each is None or pin.position in placed or each.identity(by_group) in taken:
                continue
            taken.add(each.identity(by_group))
            placed[pin.position] = each.moved_by(pin.rule)
        return placed


def _inserted(others: Iterable[T], placed: Mapping[int, T]) -> list[T]:
    found = list(others)
    for position in sorted(placed):
        found.insert(position, placed[position])
    return found


NO_CHANGES = Plan()


class Reranker(Protocol):
    """Returns the plan for a query, or None.

    ``version`` changes when the plans change, for cached answers. ``label_categories`` are the categories to search for
    regions with these labels, in place of those that ``Items`` declares; an empty tuple leaves them to the nearest
    items. ``variants`` are the keys of those for which a plan can differ.
    """

    @property
    def version(self) -> str: ...

    @property
    def label_categories(self) -> Mapping[str, tuple[str, ...]]: ...

    @property
    def variants(self) -> Collection[str]: ...

    def plan(self, question: Question, /) -> Plan | None: ...


class _NoReranker:
    version = ""
    label_categories: Mapping[str, tuple[str, ...]] = {}
    variants = ()

    def plan(self, question: Question, /) -> None:
        return None


NO_RERANKER = _NoReranker()

_extension: Extension[Reranker] = Extension(NO_RERANKER)
register, active, replaced_by = _extension.register, _extension.active, _extension.replaced_by


def plan_for(question: Question) -> Plan:
    """Return the plan of the active reranker; :data:`NO_CHANGES` if it gives none."""
    return active().plan(question) or NO_CHANGES
