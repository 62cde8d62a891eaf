"""The terms of a query (images, words and items, each with a weight) and the vector computed from them.

Rocchio's method (1971): the weighted mean of the positive terms, less that of the negative ones.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connections, models, router
from django.utils.translation import gettext as _

from imagesim import images
from imagesim.circuit_breaker import log_repeated
from imagesim.conf import get_settings
from imagesim.database import stored_array
from imagesim.exceptions import (
    BadQuery,
    CircuitOpen,
    EmbedderError,
    ImagesimError,
    ModelMismatch,
    NotIndexed,
    NotRegistered,
)
from imagesim.indexes.projections import project
from imagesim.items import split_key
from imagesim.items.hydrate import load_items
from imagesim.items.registry import key_of, registry
from imagesim.metrics import timed
from imagesim.models import Embedding, ItemImage, ItemState, RegionVectors
from imagesim.retrieval.arguments import MAX_WEIGHT, check_text, safe_repr
from imagesim.retrieval.query_image import QueryImage, take
from imagesim.runtime import RecentlyUsed, runtime
from imagesim.types import Filters, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.embedders import BaseEmbedder
    from imagesim.retrieval.arguments import TermValues
    from imagesim.retrieval.params import SearchRequest
    from imagesim.types import Candidate, Vector

logger = logging.getLogger("imagesim.retrieval")

MAX_TERMS = 10
"""Images, words and items per query."""

UNLIKE_WEIGHT = 0.5
"""The default weight of ``unlike``; the weight of ``like`` is 1."""

CACHED_TEXTS = 1_000
CACHED_IMAGES = 1_000

_VECTORS_OF_ITEM = f"""
    SELECT vector FROM {Embedding._meta.db_table} WHERE fingerprint = %s AND digest IN (
        SELECT image.digest FROM {ItemImage._meta.db_table} image
        JOIN {ItemState._meta.db_table} state ON state.id = image.state_id
        WHERE state.model = %s AND state.object_pk = %s)
"""
"""Every page of similar items runs it; with the ORM it takes several times the processor time."""

_WEIGHED = re.compile(r"(.+)\^(\d{1,9}(?:\.\d{1,9})?)", re.DOTALL)
_KEY = re.compile(r"(\w+\.\w+):\S+")


@dataclass(frozen=True, slots=True)
class ItemKey:
    """The key of an item of the shop."""

    key: str


@dataclass(frozen=True, slots=True)
class StoredRegion:
    """A region of an item's own image: the primary key of its ``ImageRegions``, and its position there."""

    row: int
    place: int


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """One image, text, item or region that the hits should be like, or, with a weight below 0, unlike."""

    value: QueryImage | str | ItemKey | StoredRegion
    weight: float = 1.0


def read_terms(like: TermValues | None, unlike: TermValues | None) -> list[QueryTerm]:
    """Read and check the arguments ``like`` and ``unlike``.

    Each is one term or a list of terms: an image, words, an item or its key (``"shop.product:7"``). A weight is given
    as ``(photo, 0.5)`` or, for words and keys, as ``"leather^0.5"``.

    :raises BadQuery: naming what is wrong.
    :raises BadImage: if a picture cannot be accepted.
    """
    likes, unlikes = _as_list(like), _as_list(unlike)
    check_term_count(len(likes) + len(unlikes))  # before the first picture is read
    terms = [_term("like", value, 1.0) for value in likes]
    return [*terms, *(_term("unlike", value, -UNLIKE_WEIGHT) for value in unlikes)]


def have_pictures(*_items: Any, image: Any = None, like: Any = None, unlike: Any = None, **_others: Any) -> bool:
    """Return whether any of the arguments of a search is, or holds, a picture, which will be decoded."""
    values = [value for each in (image, like, unlike) for value in _as_list(each)]
    return any(not isinstance(_unweighed(value), str | models.Model) for value in values)


def check_terms(terms: Sequence[QueryTerm]) -> None:
    """Check the terms of a query.

    :raises BadQuery: if there is no positive term, or there are too many terms.
    """
    if not any(term.weight > 0 for term in terms):
        raise BadQuery(_("The query is empty; give an image, a text, or both."), field="image")
    check_term_count(len(terms))


def check_term_count(count: int) -> None:
    """Check the number of terms of a query.

    :raises BadQuery: if there are more than ``MAX_TERMS``.
    """
    if count > MAX_TERMS:
        raise BadQuery(
            _("The query has %(count)d pictures, words and items; send at most %(most)d.")
            % {"count": count, "most": MAX_TERMS},
            field="like",
        )


def query_vector(
    terms: Sequence[QueryTerm],
    meta: IndexMeta,
    components: Mapping[str, float] | None = None,
) -> Vector:
    """Return the unit vector of the terms for the index with this meta, projected as its vectors are; shape (dims,).

    ``components`` weighs the components of the vectors of images and items, for models that have them. If the terms
    cancel out, the vector is that of the first positive one.

    :raises ModelMismatch: if the settings do not name the embedder that made the index.
    :raises NotIndexed: if an item has no embedding (yet).
    :raises EmbedderError: if the model cannot be loaded or does not embed texts.
    """
    from imagesim.embedders import get_embedder_of

    new = {n: term.value for n, term in enumerate(terms) if isinstance(term.value, QueryImage | str)}
    weighs = _weighs(components)
    # A page of similar items loads no model, unless components are weighed.
    embedder = get_embedder_of(meta.fingerprint) if new or weighs else None
    found: dict[int, Vector] = {}
    for number, term in enumerate(terms):
        if isinstance(term.value, ItemKey):
            found[number] = _item_vector(term.value.key, meta)
        elif isinstance(term.value, StoredRegion):
            found[number] = _region_vector(term.value, meta)
    if embedder is not None and new:
        found |= _embed(embedder, new)
    vectors = [found[number] for number in range(len(terms))]
    if embedder is not None and weighs:
        vectors = _reweighed(embedder, terms, vectors, components)
    return project(_mean([term.weight for term in terms], vectors), meta.projection)


def _weighs(components: Mapping[str, float] | None) -> bool:
    """Return whether the components of vectors are weighed, by the query or by the settings of a model."""
    settings = get_settings()
    backends = (settings.EMBEDDER, *settings.PREVIOUS_EMBEDDERS)
    return bool(components) or any(backend.options.get("weights") for backend in backends)


def _reweighed(
    embedder: BaseEmbedder,
    terms: Sequence[QueryTerm],
    vectors: Sequence[Vector],
    components: Mapping[str, float] | None,
) -> list[Vector]:
    """Return the vectors of the terms with their components weighed, except those of words: they ask for what they
    name."""
    try:  # those of words, too, so that an unknown component is refused for any query
        weighed = [embedder.reweight(vector, components) for vector in vectors]
    except BadQuery as error:
        raise BadQuery(str(error), field="components") from error
    each = zip(terms, vectors, weighed, strict=True)
    return [vector if isinstance(term.value, str) else new for term, vector, new in each]


def _mean(weights: Sequence[float], vectors: Sequence[Vector]) -> Vector:
    """Return the unit vector of the weighted mean of the positive terms, less that of the negative ones; that of the
    first positive one if they cancel out."""
    import numpy as np

    towards = [(weight, vector) for weight, vector in zip(weights, vectors, strict=True) if weight > 0]
    away = [(weight, vector) for weight, vector in zip(weights, vectors, strict=True) if weight < 0]
    total = sum(weight * vector for weight, vector in towards) / sum(weight for weight, _vector in towards)
    if away:
        total = total + sum(weight * vector for weight, vector in away) / len(away)
    length = float(np.linalg.norm(total))
    return np.asarray(total / length if length > 1e-6 else towards[0][1], dtype=np.float32)


def text_vector(
    terms: Sequence[QueryTerm], meta: IndexMeta, components: Mapping[str, float] | None = None
) -> tuple[Vector, ImagesimError | None]:
    """Return the vector (dims,) of words that are also searched in texts, and the error if the model cannot be used at
    the moment, else None. The vector is zero if the model cannot be used or embeds no texts: only texts are searched
    then."""
    import numpy as np

    from imagesim.embedders import get_embedder_of

    failure = None
    try:
        if components or get_embedder_of(meta.fingerprint).supports_texts:
            return query_vector(terms, meta, components), None
    except (CircuitOpen, EmbedderError, ModelMismatch) as error:
        log_repeated(logger, logging.WARNING, error.code, "Words are searched for in texts alone: %s", error)
        failure = error
    return np.zeros(meta.dims, dtype=np.float32), failure


def any_vector(meta: IndexMeta) -> Vector:
    """Return a unit vector (dims,) that is like nothing, for a search of everything in no particular order."""
    import numpy as np

    return np.full(meta.dims, meta.dims**-0.5, dtype=np.float32)


def vectors_of(candidates: Sequence[Candidate], meta: IndexMeta) -> dict[str, Vector]:
    """Return the projected vectors (dims,) of the images of the candidates, by digest."""
    return image_vectors({candidate.image_digest for candidate in candidates}, meta)


def image_vectors(digests: Collection[str], meta: IndexMeta) -> dict[str, Vector]:
    """Return the projected vectors (dims,) of images by digest, for those that have one. A process keeps recent ones,
    because they never change; the others are read in one database query."""
    name = ("image vectors", meta.fingerprint, meta.projection)
    recent: RecentlyUsed[str, Vector] = runtime.get(name, partial(RecentlyUsed, CACHED_IMAGES))
    return recent.complete(digests, lambda new: stored_vectors(new, meta))


def stored_vectors(digests: Collection[str], meta: IndexMeta) -> dict[str, Vector]:
    """Return the projected vectors (dims,) of images by digest, all read from the database."""
    import numpy as np

    stored = Embedding.objects.filter(digest__in=digests, fingerprint=meta.fingerprint)
    found = {digest: stored_array(vector) for digest, vector in stored.values_list("digest", "vector")}
    if not found:
        return {}
    rows = project(np.stack(list(found.values())), meta.projection)
    return {digest: row.copy() for digest, row in zip(found, rows, strict=True)}  # a view would keep all rows


def to_query(
    request: SearchRequest, filters: Filters, vector: Vector, meta: IndexMeta, fields: tuple[str, ...]
) -> Query:
    """Return the query of a request with a projected vector; its candidates have the values of ``fields``."""
    return Query(
        vector=vector,
        filters=filters,
        limit=request.limit,
        offset=request.offset,
        min_score=request.min_score,
        collapse=request.collapse,
        exact=request.exact,
        fingerprint=meta.fingerprint,
        fields=fields,
    )


def text_vectors(embedder: BaseEmbedder, texts: Sequence[str]) -> list[Vector]:
    """Return the vectors (dims,) of texts, before projection. A process keeps recent ones."""
    name = ("text vectors", embedder.fingerprint)
    recent: RecentlyUsed[str, Vector] = runtime.get(name, partial(RecentlyUsed, CACHED_TEXTS))
    known = recent.complete(texts, lambda new: dict(zip(new, embedder.embed_texts(new), strict=True)))
    return [known[text] for text in texts]


@timed("embed.query")
def _embed(embedder: BaseEmbedder, given: Mapping[int, QueryImage | str]) -> dict[int, Vector]:
    """Return the vectors of pictures and texts."""
    texts = {number: value for number, value in given.items() if isinstance(value, str)}
    if texts and not embedder.supports_texts:
        raise BadQuery(_("The model in use does not embed texts; search with a picture."), field="text")
    vectors: dict[int, Vector] = {}
    for number, value in given.items():
        if not isinstance(value, str):  # one by one: a decoded image can take a few hundred megabytes
            [vectors[number]] = embedder.embed_images([value.decode(embedder.min_decode_side)])
    if texts:
        vectors |= zip(texts, text_vectors(embedder, list(texts.values())), strict=True)
    return vectors


def _item_vector(key: str, meta: IndexMeta) -> Vector:
    """Return the normalised mean of an item's embeddings, before projection; the first one if they cancel out."""
    import numpy as np

    with connections[router.db_for_read(Embedding)].cursor() as cursor:
        cursor.execute(_VECTORS_OF_ITEM, [meta.fingerprint, *split_key(key)])
        vectors = [stored_array(vector) for (vector,) in cursor.fetchall()]
    if not vectors:
        raise NotIndexed(
            _(
                "%(item)s has no embedding yet; it needs a usable picture, must not be excluded by `get_queryset` or "
                "`should_index`, and then needs `manage.py imagesim_sync`."
            )
            % {"item": key}
        )
    total: Vector = np.sum(vectors, axis=0, dtype=np.float32)
    length = float(np.linalg.norm(total))
    return total / np.float32(length) if length > 1e-6 else vectors[0]


def _region_vector(region: StoredRegion, meta: IndexMeta) -> Vector:
    """Return the embedding of a region, before projection."""
    rows = RegionVectors.objects.filter(image=region.row, fingerprint=meta.fingerprint)
    stored = rows.values_list("vectors", "image__regions").first()
    if stored is None:
        raise NotIndexed(_("This region has no embedding yet; it is made by the next `manage.py imagesim_rebuild`."))
    data, regions = stored
    vector: Vector = stored_array(data).reshape(len(regions), -1)[region.place]
    return vector


def _as_list(given: Any) -> list[Any]:
    """Return the values of ``like`` or ``unlike`` as a list; a single one may be given without it."""
    if given is None:
        return []
    if isinstance(given, tuple) and _is_weighed(given):
        return [given]
    return list(given) if isinstance(given, list | tuple) else [given]


def _is_weighed(pair: tuple[Any, ...]) -> bool:
    """Return whether a tuple is a value with its weight."""
    return len(pair) == 2 and isinstance(pair[1], int | float) and not isinstance(pair[1], bool)


def _unweighed(value: Any) -> Any:
    """Return a value of ``like`` or ``unlike`` without its weight."""
    return value[0] if isinstance(value, tuple) and _is_weighed(value) else value


def _term(field: str, value: Any, default_weight: float) -> QueryTerm:
    """Return the term that one value of the argument ``field`` stands for; a given weight has the sign of the default
    one."""
    weight: float | None = None
    if isinstance(value, tuple) and _is_weighed(value):
        value, weight = value
    elif isinstance(value, str) and (match := _WEIGHED.fullmatch(value)):
        value, weight = match[1], float(match[2])
    if weight is not None and not 0 < weight <= MAX_WEIGHT:
        raise BadQuery(
            _("The weight %(weight)s in %(name)r must be above 0 and at most %(most)g.")
            % {"weight": safe_repr(weight), "name": field, "most": MAX_WEIGHT},
            field=field,
        )
    signed = default_weight if weight is None else math.copysign(weight, default_weight)
    if isinstance(value, models.Model):
        try:
            return QueryTerm(ItemKey(key_of(value)), signed)
        except NotRegistered as error:
            raise BadQuery(str(error), field=field) from error
    if isinstance(value, str):
        if match := _KEY.fullmatch(value.strip()):
            return QueryTerm(_known_key(field, match[0], match[1]), signed)
        return QueryTerm(check_text(value, field=field), signed)
    if isinstance(value, bytes | bytearray | memoryview) or images.is_file(value) or hasattr(value, "convert"):
        return QueryTerm(take(value, field=field), signed)
    raise BadQuery(
        _("%(name)r holds an object of type %(type)s; it can hold pictures, words and items.")
        % {"name": field, "type": type(value).__name__},
        field=field,
    )


def _known_key(field: str, key: str, label: str) -> ItemKey:
    """Return the key of an item.

    :raises BadQuery: if its model is not registered, or the shop does not show the item.
    """
    try:
        items = registry.for_label(label)
    except NotRegistered as error:
        raise BadQuery(str(error), field=field) from error
    key = f"{items.label}:{split_key(key)[1]}"
    if "\0" in key or key not in load_items([key]):
        raise BadQuery(_("There is no item %(key)s.") % {"key": repr(key)[:100]}, field=field)
    return ItemKey(key)
