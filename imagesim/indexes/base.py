"""What every index offers. One contract suite (``imagesim.testing.index_contract``) holds them all to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from django.core.checks import CheckMessage

from imagesim.exceptions import ConfigurationError, format_choices
from imagesim.types import (
    SIMILARITIES,
    Candidates,
    Entry,
    Facet,
    Filters,
    IndexMeta,
    Query,
    Removal,
    Similarity,
    WriteResult,
)


class BaseIndex(ABC):
    """Finds nearest embeddings under filters.

    Behind one *name* (an alias) stands at most one *physical* index in service; others may be
    under construction beside it. Methods that take ``physical=None`` mean the one in service.

    Every method may raise :class:`~imagesim.exceptions.IndexUnavailable` where the engine cannot be
    reached, and those that need an index in service :class:`~imagesim.exceptions.IndexMissing`.
    """

    supports_approximate = False
    """Whether ``Query.exact=False`` makes a difference."""

    def __init__(self, *, name: str = "imagesim", similarity: Similarity = "cosine") -> None:
        if similarity not in SIMILARITIES:
            raise ConfigurationError(
                f"INDEX's similarity {similarity!r} is unknown; it can be {format_choices(SIMILARITIES)}."
            )
        self.name = name
        self.similarity: Similarity = similarity

    # A physical index: from creation to service to the end.

    @abstractmethod
    def create(self, meta: IndexMeta) -> str:
        """Make a new, empty physical index beside the one in service; return its name."""

    @abstractmethod
    def promote(self, backing_index: str) -> None:
        """Put it in service in one atomic step. What served before remains until dropped."""

    @abstractmethod
    def drop(self, backing_index: str) -> None:
        """Delete a physical index; one that does not exist is no error."""

    @abstractmethod
    def backing_indexes(self) -> list[str]:
        """All physical indexes under this name, in service or not, oldest first."""

    @abstractmethod
    def active(self) -> str | None:
        """The physical index behind the name, or None."""

    @abstractmethod
    def meta(self, backing_index: str | None = None) -> IndexMeta:
        """What the index says of itself. Cheap to call often: implementations cache it briefly."""

    # Writing.

    @abstractmethod
    def write(self, operations: Sequence[Entry | Removal], *, backing_index: str | None = None) -> list[WriteResult]:
        """Write entries and removals, in order; one result for each, in the same order.

        An operation whose version is older than what the index holds changes nothing and is
        reported as ``newer``; so is an equal one. One bad operation never stops the others. A filter
        that the index was not made with is left out of its entries: a rebuild brings it in.
        """

    @abstractmethod
    def refresh(self, backing_index: str | None = None) -> None:
        """Make everything written so far visible to searches."""

    # Reading.

    @abstractmethod
    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        """Answer all queries in one go. Filters hold during the search, scores are cosine similarity.

        With ``collapse`` at most one match a group is returned, the best. Ties are ordered by key,
        so that pages are stable. An item's score is that of its best image.

        :raises BadQuery: for a filter or a page that makes no sense.
        :raises ModelMismatch: if a query was embedded by another model than the index in service.
        """

    @abstractmethod
    def count(self, filters: Filters = Filters(), *, backing_index: str | None = None) -> int:
        """How many entries satisfy the filters."""

    @abstractmethod
    def facets(self, filters: Filters, fields: Sequence[str], *, backing_index: str | None = None) -> dict[str, Facet]:
        """What the entries that satisfy the filters have of each field: a filter, ``category`` or ``in_stock``.

        A field is counted without what the filters ask of itself, so that a page can say what another choice would
        give; all of them in one request. Entries are counted, not groups, and an entry with two values counts for both.
        At most the 100 commonest values of a field are given, equally common ones in the order of their values.

        :raises BadQuery: for a field that the index does not have.
        """

    @abstractmethod
    def scan(self, *, backing_index: str | None = None, batch_size: int = 1000) -> Iterator[tuple[str, int]]:
        """Every entry's (key, version), ordered by key, streamed."""

    @abstractmethod
    def ping(self) -> None:
        """Return quickly if the engine answers, else raise IndexUnavailable."""

    def check(self) -> list[CheckMessage]:
        """System checks of this index's set-up; must not touch the network or the database."""
        return []
