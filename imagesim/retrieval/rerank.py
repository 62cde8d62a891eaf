"""Reranking: the interface for other apps, such as ``imagesim.merchandising``, to change an answer.

A reranker is asked for a :class:`Plan` before each search, and may return None. A plan leaves entries out during the
search, so that pages are full; it pins entries, which are read in the same request; and it rearranges the first
:data:`WINDOW` candidates after they have been judged and before the page is cut. A plan depends only on the
:class:`Question`, never on the page, so that pages neither repeat entries nor leave any out. Without a reranker,
answers are not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from imagesim.indexes.validation import MAX_NONE_OF
from imagesim.items.registry import key_of
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

    ``text``: the words of the query, without price limits; ``typed``: the same with these limits, as typed.
    ``categories``: those of the item, or those that the request names.
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

    ``text`` replaces the words of the query; entries that are called any of the ``alternatives`` are found as well.
    ``none_of`` leaves out entries that match any of these filters, pinned or not. ``arrange`` gets the judged
    candidates of the window, with the values of ``fields``, and the pinned ones by position; it returns the former in
    another order. ``any_category``: pinned entries need not be in the categories of the query.
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
        """The number of candidates that every page needs; 0 if the plan rearranges nothing."""
        return WINDOW if self.arrange or self.pins else 0

    def filters(self, filters: Filters) -> Filters:
        """Return the filters of a query with those of ``none_of``, up to the number that an index takes."""
        return replace(filters, none_of=(filters.none_of + self.none_of)[:MAX_NONE_OF]) if self.none_of else filters

    def lookups(self, queries: Sequence[Query]) -> list[Query]:
        """Return the queries that read the pinned entries, one for each of ``queries``; an empty list without pins."""
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
        """Return the pinned and the judged candidates in their new order, without judged ones below the floor."""
        placed = self._placed(pinned, by_group)
        taken = {each.identity(by_group) for each in placed.values()}
        left = [each if each.identity(by_group) not in taken else None for each in judged]
        head = [each for each in left[:WINDOW] if each is not None and each.relevance >= floor]
        rest = [each for each in left[WINDOW:] if each is not None and each.relevance >= floor]
        found = self.arrange(head, placed) if self.arrange else head
        return _inserted(found, placed) + rest

    def in_place(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return hits, from which some may have been removed, with the pinned ones back at their positions."""
        if not self.pins:
            return list(hits)
        by_key = {key_of(hit.item): hit for hit in hits}
        placed: dict[int, Hit] = {}
        for pin in self.pins:
            if pin.position not in placed and pin.key in by_key:
                placed[pin.position] = by_key.pop(pin.key)
        return _inserted(by_key.values(), placed)

    def _placed(self, pinned: Sequence[Candidate], by_group: bool) -> dict[int, Candidate]:
        """Return the pinned candidates by position, one per position and per group."""
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
    """Return the others with those of ``placed`` inserted at their positions."""
    found = list(others)
    for position in sorted(placed):
        found.insert(position, placed[position])
    return found


NO_CHANGES = Plan()


class Reranker(Protocol):
    """Returns the plan for a query, or None.

    ``version``: a text that changes when the plans change, for cached answers. ``label_categories``: by the label of a
    region, the categories in which it is searched, in place of those that ``Items`` declares; with an empty tuple, the
    nearest items decide. ``variants``: the keys of the variants for which a plan can differ.
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
