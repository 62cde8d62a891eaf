"""Checks that all indexes share: of entries, each of which can fail alone, and of queries, which raise BadQuery.

For indexes that compare versions themselves, :func:`newest` chooses the operations of one call that are stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imagesim.exceptions import BadQuery, ConfigurationError, ModelMismatch, SearchIndexError, format_choices
from imagesim.filter_types import COMPARE, FILTER_TYPES, Canonical, check_text
from imagesim.types import SIMILARITIES, Condition, Entry, FilterKind, Filters, IndexMeta, Query, Removal, WriteResult

if TYPE_CHECKING:
    from imagesim.types import Vector


MAX_KEY_LENGTH = 400
MAX_IMAGES = 1_000
MAX_TEXT = 10_000
"""The number of characters of a text that are indexed; the rest is not searched."""
MAX_TEXTS = 50
"""The number of texts of a field that are indexed, so that one item cannot have more words than a whole shop."""
MAX_TEXT_MATCHES = 500
"""The number of entries that the pages of a text query can reach."""
MAX_FACET_VALUES = 100
MAX_VALUES = 10_000
"""The maximum number of values in one filter of a query."""
MAX_NONE_OF = 100
"""The maximum number of negated filters in a query."""
ROUNDING = 1e-6
"""The error of scores, which are float32: that of an image that is equal to the query may be a little below 1."""
MAX_PAGE_END = 5_000
"""The maximum of offset + limit, which bounds the cost of a query."""
TOMBSTONE_AGE = timedelta(hours=1)
"""How long after a removal an index refuses a late write of an older version. After that, only the writer protects
against it, by reading the item from the database."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked entry. ``vectors`` has the shape (images, dims) and rows of unit length."""

    entry: Entry
    group: str
    categories: list[str]
    filters: dict[str, list[Canonical]]
    vectors: Vector
    texts: dict[str, list[str]]


def check_choice(option: str, value: object, choices: Collection[object]) -> None:
    """Raise ConfigurationError if the value of an option of an index is not one of ``choices``."""
    if value not in choices:
        raise ConfigurationError(f"INDEX's {option} {value!r} is unknown; it can be {format_choices(choices)}.")


def check_range(minimum: int, maximum: float = math.inf, **options: float | None) -> None:
    """Check numeric options of an index, given by name; None is not checked.

    :raises ConfigurationError: naming the first option that is smaller than ``minimum`` or larger than ``maximum``.
    """
    for name, value in options.items():
        if value is not None and value < minimum:
            raise ConfigurationError(f"INDEX's {name} must be at least {minimum}, not {value!r}.")
        if value is not None and value > maximum:
            raise ConfigurationError(f"INDEX's {name} must be at most {maximum}, not {value!r}.")


def check_timeout(request_timeout: float) -> None:
    """Raise ConfigurationError if the timeout of a search, in seconds, is not positive."""
    if request_timeout <= 0:
        raise ConfigurationError(f"INDEX's request_timeout must be more than 0 seconds, not {request_timeout!r}.")


def stored_meta(backing_index: str, stored: Mapping[str, Any] | str) -> IndexMeta:
    """Return the meta that an index has stored with a backing index; a text is JSON.

    :raises SearchIndexError: if it is not valid.
    """
    try:
        return IndexMeta.from_stored(json.loads(stored) if isinstance(stored, str) else stored)
    except ValueError:
        message = f"The index {backing_index!r} has no valid meta; build a new one with imagesim_rebuild."
        raise SearchIndexError(message) from None


def check_key(key: str, version: int) -> None:
    """Raise ValueError, with one sentence, if an index cannot hold the key or the version."""
    if not key:
        raise ValueError("an entry needs a key")
    check_text(key)
    if len(key) > MAX_KEY_LENGTH or len(key.encode()) > 512:  # the longest _id of Elasticsearch
        raise ValueError(f"the key {key[:40]!r}… is longer than {MAX_KEY_LENGTH} characters or 512 bytes")
    if not 0 < version < 2**63:
        raise ValueError(f"the version {version} is not between 1 and 2**63 - 1")


def prepare(entry: Entry, meta: IndexMeta) -> Prepared:
    """Check an entry against the index it is written to.

    Filters that the index was not created with are ignored: a new one takes effect with the next rebuild.

    :raises ValueError: with one sentence, if it cannot be indexed.
    """
    import numpy as np

    check_key(entry.key, entry.version)
    if entry.group:
        check_key(entry.group, entry.version)
    if not 1 <= len(entry.images) <= MAX_IMAGES:
        raise ValueError(f"an entry has 1 to {MAX_IMAGES:,} images, not {len(entry.images):,}")
    for image in entry.images:
        check_text(image.name)
        check_text(image.digest)
    rows = []
    for image in entry.images:
        row = np.asarray(image.vector, dtype=np.float32)
        if row.shape != (meta.dims,):
            raise ValueError(f"the vector of {image.name!r} has the shape {row.shape}; the index holds ({meta.dims},)")
        rows.append(row)
    vectors: Vector = np.stack(rows)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths <= 0).any():
        raise ValueError("a vector is zero or not finite")
    filters: dict[str, list[Canonical]] = {}
    for name, kind in meta.filters.items():
        try:
            values = FILTER_TYPES[kind].canonical_values(entry.filters.get(name))
        except ValueError as error:
            raise ValueError(f"filter {name!r}: {error}") from None
        if values:
            filters[name] = values
    return Prepared(
        entry=entry,
        group=entry.group or entry.key,
        categories=list(dict.fromkeys(check_text(str(c)) for c in entry.categories)),
        filters=filters,
        vectors=vectors / lengths,
        texts={
            name: [value[:MAX_TEXT].encode(errors="replace").decode() for value in values if value][:MAX_TEXTS]
            for name, values in entry.texts.items()
            if name in meta.texts and any(values)
        },
    )


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """A checked condition with its canonical values: one value, or any number for the operator ``in``."""

    field: str
    kind: FilterKind
    operator: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class CompiledFilters:
    """Checked filters: ``filters`` without its conditions and negated filters, and these compiled.

    Conditions with a list and with a tuple of the same values compile to equal filters.
    """

    filters: Filters
    conditions: tuple[CompiledFilter, ...] = ()
    none_of: tuple[CompiledFilters, ...] = ()

    @cached_property
    def groups(self) -> tuple[tuple[CompiledFilter, ...], ...]:
        """The conditions in groups, each of which one value of an entry has to satisfy: an entry with the prices 10 and
        100 is not between 20 and 30. The bounds of a filter are a group, of which only the narrowest remain: at most
        one lower and one upper bound. Every other condition is alone."""
        groups: dict[object, list[CompiledFilter]] = {}
        for number, each in enumerate(self.conditions):
            groups.setdefault(each.field if each.operator in COMPARE else number, []).append(each)
        return tuple(tuple(_narrowest(group)) for group in groups.values())

    def without(self, fields: Collection[str]) -> CompiledFilters:
        """Return a copy without the conditions on these fields: filters, ``category`` or ``in_stock``. Negated filters
        remain."""
        rest = replace(
            self.filters,
            categories=() if "category" in fields else self.filters.categories,
            in_stock=None if "in_stock" in fields else self.filters.in_stock,
        )
        return CompiledFilters(rest, tuple(each for each in self.conditions if each.field not in fields), self.none_of)


def _narrowest(bounds: list[CompiledFilter]) -> Iterator[CompiledFilter]:
    if len(bounds) == 1:
        yield from bounds
        return
    lower = [test for test in bounds if test.operator in ("gt", "gte")]
    upper = [test for test in bounds if test.operator in ("lt", "lte")]
    if lower:
        yield max(lower, key=lambda test: (test.values[0], test.operator == "gt"))
    if upper:
        yield min(upper, key=lambda test: (test.values[0], test.operator == "lte"))


def compile_filters(filters: Filters, kinds: Mapping[str, FilterKind]) -> CompiledFilters:
    """Check all filters and compile the conditions among them.

    :raises BadQuery: naming the unknown or invalid value, and the valid ones.
    """
    lists = (
        ("category", filters.categories),
        ("model", filters.models),
        ("exclude_keys", filters.exclude_keys),
        ("exclude_groups", filters.exclude_groups),
        ("keys", filters.keys),
    )
    for field, texts in lists:
        _check_count(field, texts)
        for text in texts:
            try:
                check_text(str(text))
            except ValueError as error:
                raise BadQuery(f"The filter {field!r} cannot be answered: {error}.", field=field) from None
    if len(filters.none_of) > MAX_NONE_OF or any(each.none_of for each in filters.none_of):
        raise BadQuery(f"'none_of' takes at most {MAX_NONE_OF} filters, without a 'none_of' of their own.")
    return CompiledFilters(
        replace(filters, conditions=(), none_of=()),
        tuple(_compile(condition, kinds) for condition in filters.conditions),
        tuple(compile_filters(each, kinds) for each in filters.none_of),
    )


def _check_count(field: str, values: Collection[Any]) -> None:
    if len(values) > MAX_VALUES:
        raise BadQuery(f"The filter {field!r} takes at most {MAX_VALUES:,} values, not {len(values):,}.")


def _compile(condition: Condition, kinds: Mapping[str, FilterKind]) -> CompiledFilter:
    kind = kinds.get(condition.field)
    if kind is None:
        raise BadQuery(
            f"The index has no filter {condition.field!r}; it has {format_choices(kinds)}. "
            "A filter declared since the index was made is there after imagesim_rebuild."
        )
    operator = condition.operator
    filter_type = FILTER_TYPES[kind]
    if operator not in filter_type.operators:
        good = format_choices(filter_type.operators)
        raise BadQuery(f"The filter {condition.field!r} ({kind}) takes {good}, not {operator!r}.")
    if (operator == "in") != isinstance(condition.value, tuple | list | set | frozenset):
        wanted = "a list of values" if operator == "in" else "one value"
        raise BadQuery(f"The filter {condition.field!r} with {operator!r} takes {wanted}, not {condition.value!r}.")
    values = condition.value if operator == "in" else (condition.value,)
    try:
        given = tuple(filter_type.canonical(value) for value in values)  # type: ignore[union-attr, arg-type]
    except ValueError as error:
        raise BadQuery(f"The filter {condition.field!r} takes a {kind}: {error}.") from None
    _check_count(condition.field, given)
    return CompiledFilter(condition.field, kind, operator, given)


def facet_kinds(fields: Sequence[str], kinds: Mapping[str, FilterKind]) -> dict[str, FilterKind]:
    """Return the kind of each field to count. Every index has ``category`` and ``in_stock``.

    :raises BadQuery: naming a field that the index does not have.
    """
    known: dict[str, FilterKind] = {**kinds, "category": "keyword", "in_stock": "boolean"}
    for name in fields:
        if name not in known:
            raise BadQuery(
                f"The index has no filter {name!r} to count; it has {format_choices(known)}. "
                "A filter declared since the index was made is there after imagesim_rebuild."
            )
    return {name: known[name] for name in fields}


def check_query(query: Query, meta: IndexMeta) -> CompiledFilters:
    """Check a query, and return its compiled filters.

    :raises BadQuery: for an invalid filter, field or page.
    :raises ModelMismatch: if the query was embedded by another model than the index.
    """
    _check_page(query)
    check_fingerprint(query, meta)
    kinds = meta.filters
    if unknown := next((name for name in query.fields if name not in kinds and name != "in_stock"), None):
        raise BadQuery(f"The index has no filter {unknown!r}; it has {format_choices(kinds)}.")
    return compile_filters(query.filters, kinds)


def least_score(query: Query) -> float | None:
    """Return the lowest score with which an image reaches ``min_score``, or None if any does."""
    return None if query.min_score is None else query.min_score - ROUNDING


def _check_page(query: Query) -> None:
    """Raise BadQuery if limit, offset, min_score or similarity is out of range."""
    if query.limit < 0 or query.offset < 0:
        raise BadQuery(f"limit and offset are 0 or more, not {query.limit} and {query.offset}.")
    if query.offset + query.limit > MAX_PAGE_END:
        raise BadQuery(f"offset + limit can be at most {MAX_PAGE_END:,}, not {query.offset + query.limit:,}.")
    if query.min_score is not None and not -1 <= query.min_score <= 1:
        raise BadQuery(f"min_score is a cosine similarity between -1 and 1, not {query.min_score}.")
    if query.similarity is not None and query.similarity not in SIMILARITIES:
        raise BadQuery(f"The similarity {query.similarity!r} is unknown; it can be {format_choices(SIMILARITIES)}.")


def check_fingerprint(query: Query, meta: IndexMeta) -> None:
    """Raise ModelMismatch if the query was embedded by another model, or has another number of dimensions."""
    if query.fingerprint and query.fingerprint != meta.fingerprint:
        raise ModelMismatch(
            f"The query was embedded by the model {query.fingerprint!r}, the active index by {meta.fingerprint!r}; "
            "embed it by the model of the index."
        )
    if not query.text and len(query.vector) != meta.dims:
        raise ModelMismatch(
            f"The query has {len(query.vector)} dimensions, the active index {meta.dims}; "
            "embed it by the model of the index."
        )


def check_projection(before: IndexMeta, after: IndexMeta) -> None:
    """Raise ModelMismatch if the index was swapped for one with another projection of queries."""
    if before.projection != after.projection:
        raise ModelMismatch("The index was swapped for one with another projection meanwhile; ask again.")


def unit_vector(vector: Vector) -> Vector:
    """Return the query's vector (dims,) at unit length, as float32.

    :raises BadQuery: if it is zero or not finite.
    """
    import numpy as np

    given = np.asarray(vector, dtype=np.float32)
    length = math.sqrt(square) if (square := float(np.dot(given, given))) >= 0 else math.nan
    if not 0 < length < math.inf:
        raise BadQuery("The query's vector is zero or not finite, so that nothing can be similar to it.")
    return np.asarray(given / np.float32(length))


Results = dict[int, WriteResult]
"""Results by the position of the operation."""


def prepare_all(
    operations: Sequence[Entry | Removal], meta: IndexMeta
) -> tuple[dict[int, Prepared | Removal], Results]:
    """Return the valid operations by their position, and the results of the others."""
    valid: dict[int, Prepared | Removal] = {}
    results: Results = {}
    for number, operation in enumerate(operations):
        try:
            if isinstance(operation, Entry):
                valid[number] = prepare(operation, meta)
            else:
                check_key(operation.key, operation.version)
                valid[number] = operation
        except ValueError as error:
            results[number] = WriteResult(operation.key, "failed", f"{error}.")
    return valid, results


def newest(
    operations: Sequence[Entry | Removal],
    valid: Mapping[int, Prepared | Removal],
    stored: Mapping[str, int],
    results: Results,
) -> dict[str, Prepared | Removal]:
    """Return the operation to store for each key: the last that is newer than those before it and than the version in
    ``stored``. The results of all operations are added to ``results``."""
    versions = dict(stored)
    chosen: dict[str, Prepared | Removal] = {}
    for number, prepared in valid.items():
        key, version = operations[number].key, operations[number].version
        if version <= versions.get(key, 0):
            results[number] = WriteResult(key, "newer")
            continue
        versions[key] = version
        chosen[key] = prepared
        results[number] = WriteResult(key, "done")
    return chosen
