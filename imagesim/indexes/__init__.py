"""The interface of index backends, which find the nearest embeddings under filters, and the configured backend.

The contract tests in ``imagesim.testing.index_contract`` check every backend against this interface.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.core.checks import CheckMessage
from django.db import connection

from imagesim.conf import Backend, get_instance, get_settings
from imagesim.database import tenant_schema
from imagesim.exceptions import ConfigurationError, IndexMissing
from imagesim.indexes.validation import check_choice
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

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_NAME = "imagesim"


class BaseIndex(ABC):
    """The interface of an index, which finds the nearest embeddings under filters.

    A *name* (an alias) points to at most one *active* backing index; a rebuild fills others alongside it. Methods that
    take ``backing_index=None`` use the active one.

    Every method may raise :class:`~imagesim.exceptions.IndexUnavailable` if the engine cannot be reached, and
    :class:`~imagesim.exceptions.IndexMissing` if there is no active index.
    """

    supports_approximate = False
    """Whether ``Query.exact=False`` makes a difference: whether the index has an approximate search at all."""

    def __init__(self, *, name: str = DEFAULT_NAME, similarity: Similarity = "cosine") -> None:
        check_choice("similarity", similarity, SIMILARITIES)
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
        """Create an empty backing index alongside the active one; return its name."""

    def make_searchable(self, backing_index: str) -> None:  # noqa: B027  # optional
        """Prepare a filled backing index to answer as fast as the active one, for example by building its graph.

        The active index stays the same. :meth:`promote` does this as well.
        """

    @abstractmethod
    def promote(self, backing_index: str) -> None:
        """Make a backing index the active one in one atomic step. The former active one remains until it is dropped."""

    @abstractmethod
    def drop(self, backing_index: str) -> None:
        """Delete a backing index. It is not an error if it does not exist."""

    @abstractmethod
    def backing_indexes(self) -> list[str]:
        """Return the names of all backing indexes of this alias, oldest first."""

    @abstractmethod
    def active(self) -> str | None:
        """Return the name of the active backing index, or None if there is none."""

    @abstractmethod
    def meta(self, backing_index: str | None = None) -> IndexMeta:
        """Return the meta stored with the index. Implementations cache it briefly, so calling this often is cheap."""

    # Writing.

    @abstractmethod
    def write(self, operations: Sequence[Entry | Removal], *, backing_index: str | None = None) -> list[WriteResult]:
        """Write entries and removals in order; return one result per operation, in the same order.

        An operation whose version is not newer than the one that the index holds changes nothing and is reported as
        ``newer``. An invalid operation is reported as ``failed`` and does not stop the others. Filters that the index
        was not created with are ignored until a rebuild.
        """

    @abstractmethod
    def refresh(self, backing_index: str | None = None) -> None:
        """Make everything written so far visible to searches."""

    # Statistics that an approximate index keeps about its entries and its answers. An exact index needs none.

    def update_statistics(self, backing_index: str | None = None) -> None:  # noqa: B027  # optional
        """Count the entries and their values, so that the index can choose the faster kind of search.

        It is called after the index has been filled, has grown or has been reconciled. It does not change what is
        found.
        """

    def statistics(self, backing_index: str | None = None) -> IndexStatistics | None:
        """Return the last statistics and measured recall, or None if this kind of index needs neither."""
        return None

    def measure_recall(
        self,
        probes: Sequence[Probe],
        *,
        backing_index: str | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> RecallReport | None:
        """Measure the recall of approximate answers, and choose the least effort that reaches the configured recall.

        This takes seconds to minutes and a few hundred searches. If the process is killed, nothing changes.
        ``progress`` is called between requests. Return None if there is nothing to measure, or too few probes.
        """
        return None

    # Reading.

    @abstractmethod
    def search(self, queries: Sequence[Query], *, backing_index: str | None = None) -> list[Candidates]:
        """Answer all queries together. Filters are applied during the search; scores are cosine similarities.

        The score of an entry is that of its best image. With ``collapse``, only the best candidate of each group is
        returned. Ties are ordered by key, so that pages are stable.

        :raises BadQuery: for an invalid filter or page.
        :raises ModelMismatch: if a query was embedded by another model than the index.
        :raises QueryTimeout: if the engine answers but this query took too long.
        """

    @abstractmethod
    def count(self, filters: Filters = Filters(), *, backing_index: str | None = None) -> int:
        """Return the number of entries that satisfy the filters."""

    @abstractmethod
    def facets(self, filters: Filters, fields: Sequence[str], *, backing_index: str | None = None) -> dict[str, Facet]:
        """Count the values of each field among the entries that satisfy the filters, all in one request.

        A field is a filter, ``category`` or ``in_stock``. It is counted without the conditions on itself, so that a
        page can show what another choice would give. Entries are counted, not groups, and an entry with two values
        counts for both; the empty text, which means "no value" in Django, counts for none. At most the 100 commonest
        values of a field are returned, equally common ones in the order of their values.

        :raises BadQuery: for a field that the index does not have.
        """

    @abstractmethod
    def scan(self, *, backing_index: str | None = None, batch_size: int = 1000) -> Iterator[tuple[str, int]]:
        """Yield (key, version) of every entry, ordered by key.

        Damaged entries are left out, so that reconciling finds them missing and writes them again.
        """

    @abstractmethod
    def ping(self) -> None:
        """Check that the engine answers, and return quickly.

        :raises IndexUnavailable: if it does not.
        """

    def warm_up(self) -> None:  # noqa: B027  # optional
        """Load the data that the first search of a process needs.

        :raises SearchIndexError: if there is no index.
        """

    def check(self) -> list[CheckMessage]:
        """Return the messages of system checks of the configuration, without using the network or the database."""
        return []


__all__ = ["BaseIndex", "get_index", "retry_missing"]


def retry_missing(function: Callable[P, R]) -> Callable[P, R]:
    """Make a method that reads an index with several statements start again if the index is missing, because it may
    have been swapped and dropped between two of them."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except IndexMissing:
            return function(*args, **kwargs)

    return call


def get_index(backend: Backend | None = None) -> BaseIndex:
    """Return the configured index, or that of ``backend``; one instance per process and set of options.

    Every tenant has its own index: the option ``name`` can be a callable without arguments, or contain ``{schema}``,
    which is replaced by the schema name that django-tenants sets on the database connection. Any other name is
    followed by the schema of the tenant, if each has its own tables.
    """
    backend = backend or get_settings().INDEX
    name = given = backend.options.get("name", DEFAULT_NAME)
    if callable(given):
        name = given()
    elif isinstance(given, str) and "{schema}" in given:
        name = given.replace("{schema}", str(getattr(connection, "schema_name", "public")))
    elif isinstance(given, str) and given and (schema := tenant_schema()):
        name = f"{given}-{schema}"
    if name != given:
        backend = Backend(backend.path, {**backend.options, "name": name})
    return get_instance(backend, BaseIndex)  # type: ignore[type-abstract]
