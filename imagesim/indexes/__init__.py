"""Backends that find the nearest embeddings with filters: the interface of indexes, and the configured one.

One contract suite (``imagesim.testing.index_contract``) holds them all to it.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.core.checks import CheckMessage
from django.db import connection

from imagesim.conf import Backend, get_instance, get_settings
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

if TYPE_CHECKING:
    from imagesim.indexes.statistics import IndexStatistics, Probe, RecallReport


class BaseIndex(ABC):
    """Finds nearest embeddings under filters.

    A *name* (an alias) points to at most one *active* backing index; a rebuild fills others beside it. Methods that
    take ``backing_index=None`` use the active one.

    Every method may raise :class:`~imagesim.exceptions.IndexUnavailable` if the engine cannot be reached, and
    :class:`~imagesim.exceptions.IndexMissing` if there is no active index.
    """

    supports_approximate = False
    """Whether ``Query.exact=False`` makes a difference."""

    def __init__(self, *, name: str = "imagesim", similarity: Similarity = "cosine") -> None:
        if similarity not in SIMILARITIES:
            raise ConfigurationError(
                f"INDEX's similarity {similarity!r} is unknown; it can be {format_choices(SIMILARITIES)}."
            )
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"INDEX's name must be a text, not {name!r}.")
        self.name = name
        self.similarity: Similarity = similarity

    # Backing indexes.

    def name_at(self, moment: datetime) -> str:
        """Return a unique name for a backing index that is created at this time."""
        return f"{self.name}-{moment:%Y%m%d%H%M%S%f}-{secrets.token_hex(3)}"

    @abstractmethod
    def create(self, meta: IndexMeta) -> str:
        """Create an empty backing index beside the active one; return its name."""

    def make_searchable(self, backing_index: str) -> None:  # noqa: B027  # optional
        """Have a filled backing index answer as fast as the active one, such as by building its graph.

        It stays as it is otherwise; :meth:`promote` does this, too.
        """

    @abstractmethod
    def promote(self, backing_index: str) -> None:
        """Make it the active one in one atomic step. The former one remains until dropped."""

    @abstractmethod
    def drop(self, backing_index: str) -> None:
        """Delete a backing index; one that does not exist is no error."""

    @abstractmethod
    def backing_indexes(self) -> list[str]:
        """All backing indexes of this name, oldest first."""

    @abstractmethod
    def active(self) -> str | None:
        """The name of the active backing index, or None."""

    @abstractmethod
    def meta(self, backing_index: str | None = None) -> IndexMeta:
        """The meta stored with the index. Cheap to call often: implementations cache it briefly."""

    # Writing.

    @abstractmethod
    def write(self, operations: Sequence[Entry | Removal], *, backing_index: str | None = None) -> list[WriteResult]:
        """Write entries and removals, in order; one result per operation, in the same order.

        An operation whose version is older than what the index holds changes nothing and is
        reported as ``newer``; so is an equal one. One bad operation never stops the others. Filters that the index
        was not created with are ignored until a rebuild.
        """

    @abstractmethod
    def refresh(self, backing_index: str | None = None) -> None:
        """Make everything written so far visible to searches."""

    # What an approximate index keeps of its entries and answers. An exact one needs none of it.

    def update_statistics(self, backing_index: str | None = None) -> None:  # noqa: B027  # optional
        """Count values of the entries, so that the index can choose the faster search.

        Called when the index was filled, has grown, or is reconciled; no answer depends on it.
        """

    def statistics(self, backing_index: str | None = None) -> IndexStatistics | None:
        """What was last counted and measured; None where an index needs neither."""
        return None

    def measure_recall(
        self,
        probes: Sequence[Probe],
        *,
        backing_index: str | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> RecallReport | None:
        """Measure the recall of approximate answers, and choose the least effort that reaches the one asked for.

        Takes seconds to minutes, and some hundred searches. Killed, it leaves all as it was. ``progress`` is called
        every few seconds at most. None where there is nothing to measure, or not enough to measure with.
        """
        return None

    # Reading.

    @abstractmethod
    def search(self, queries: Sequence[Query], *, backing_index: str | None = None) -> list[Candidates]:
        """Answer all queries in one go. Filters hold during the search, scores are cosine similarity.

        With ``collapse`` at most one candidate per group is returned, the best. Ties are ordered by key,
        so that pages are stable. An item's score is that of its best image.

        :raises BadQuery: for an invalid filter or page.
        :raises ModelMismatch: if a query was embedded by another model than the index.
        :raises QueryTimeout: if the engine answers but this query took too long.
        """

    @abstractmethod
    def count(self, filters: Filters = Filters(), *, backing_index: str | None = None) -> int:
        """How many entries satisfy the filters."""

    @abstractmethod
    def facets(self, filters: Filters, fields: Sequence[str], *, backing_index: str | None = None) -> dict[str, Facet]:
        """Count the values of each field among the entries that satisfy the filters, all in one request.

        A field is a filter, ``category`` or ``in_stock``. It is counted without the conditions on itself, so that a
        page can show what another choice would give. Entries are counted, not groups, and an entry with two values
        counts for both. At most the 100 commonest values of a field are returned, equally common ones in the order of
        their values.

        :raises BadQuery: for a field that the index does not have.
        """

    @abstractmethod
    def scan(self, *, backing_index: str | None = None, batch_size: int = 1000) -> Iterator[tuple[str, int]]:
        """Stream (key, version) of every entry, ordered by key, except damaged ones, so that these are repaired."""

    @abstractmethod
    def ping(self) -> None:
        """Return quickly if the engine answers.

        :raises IndexUnavailable: if it does not.
        """

    def warm_up(self) -> None:  # noqa: B027  # optional
        """Load the data that the first search of a process needs.

        :raises SearchIndexError: if there is no index.
        """

    def check(self) -> list[CheckMessage]:
        """System checks of this index's configuration; must not touch the network or the database."""
        return []


__all__ = ["BaseIndex", "get_index"]


def get_index(backend: Backend | None = None) -> BaseIndex:
    """The configured index (or the one of ``backend``), one instance per process and name.

    Its option ``name`` can be a callable without arguments, or contain ``{schema}``, the schema of the database
    connection as django-tenants sets it: then every tenant has its own index.
    """
    backend = backend or get_settings().INDEX
    name = backend.options.get("name")
    if callable(name):
        backend = Backend(backend.path, {**backend.options, "name": name()})
    elif isinstance(name, str) and "{" in name:
        name = name.replace("{schema}", str(getattr(connection, "schema_name", "public")))
        backend = Backend(backend.path, {**backend.options, "name": name})
    return get_instance(backend, BaseIndex)  # type: ignore[type-abstract]
