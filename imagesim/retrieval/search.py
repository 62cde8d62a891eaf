"""The read side: a question -> hits. What alike items there are, and what pictures or words find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from asgiref.sync import sync_to_async
from django.db import models
from django.utils.translation import gettext as _

from imagesim import events
from imagesim.exceptions import BadQuery, ModelMismatch, format_choices
from imagesim.models import Embedding
from imagesim.monitoring.timing import timed
from imagesim.projections import get_projection
from imagesim.registry import registry
from imagesim.retrieval.categories import wider
from imagesim.retrieval.concurrency import check_deadline
from imagesim.retrieval.guarded_index import GuardedIndex, reading_index
from imagesim.retrieval.hydrate import load
from imagesim.retrieval.params import SearchRequest, takes
from imagesim.retrieval.query_image import take
from imagesim.retrieval.query_vector import ItemKey, QueryTerm, check_terms, query_vector, read_terms
from imagesim.retrieval.rerank import Ask, with_fallback, with_mmr
from imagesim.types import Candidate, Candidates, Facet, Filters, Hit, Hits, IndexMeta, Query

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from imagesim.retrieval.params import SearchArguments, SimilarArguments
    from imagesim.retrieval.query_image import Picture
    from imagesim.types import Vector


R = TypeVar("R")

MAX_ROUNDS = 4
"""Requests for one page, the first included, while items that are gone are stepped over."""


@takes("similar")
@timed("search.similar")
def similar_to(item: models.Model, **arguments: Unpack[SimilarArguments]) -> Hits:
    """The items that look most like ``item``, best first; never itself nor a variant of it.

    The item is compared by the mean of its images' embeddings, as they stand in the database: no model is loaded.
    ``category`` and ``filters`` (``{"brand": "x", "price__lte": 50, "colour__in": [...]}``) hold during the search.
    ``same_category`` keeps to the item's own categories. ``in_stock`` is True, False, or None for both.
    ``collapse`` gives one hit per group.

    ``like`` and ``unlike`` add pictures, words or items that the hits should be like or not be like, each with a
    weight if need be (``like="red^0.5"``, ``unlike=[(other, 0.3)]``); ``components`` weighs the components of a vector,
    where the model has them (``{"colour": 0}``: the same in any colour). ``diversity``, 0 to 1, trades similarity for
    variety. ``fallback`` searches further, in the other categories of the same parent and then in all, where the
    categories have too few items. ``facets`` counts the items that pass the filters.

    :raises NotRegistered: if the item's model is not registered.
    :raises NotIndexed: if no image of the item has an embedding (yet).
    :raises BadQuery: naming the bad argument and the good ones.
    :raises SearchIndexError: if the index is down, missing or of another model. A page should then show nothing;
        the template tag does so by itself.
    """
    items = registry.for_item(item)
    request = SearchRequest.create("similar", arguments, searched=(items,))
    if request.same_category:
        if request.category:
            raise BadQuery(_("Give either 'category' or 'same_category', not both."), field="same_category")
        request = replace(request, category=tuple(dict.fromkeys(map(str, items.get_categories(item)))))
    key = items.key_of(item)
    wanted = request.index_filters(exclude_keys=(key,), exclude_groups=(items.group_key_of(item),))
    terms = [QueryTerm(ItemKey(key)), *read_terms(request.like, request.unlike)]
    return _answer(request, terms, wanted, source="similar", query_key=key)


@takes("search")
@timed("search.search")
def search(*, image: Picture | None = None, **arguments: Unpack[SearchArguments]) -> Hits:
    """The items that look like ``image``, or as ``text`` says; given both, like the image but as the text says.

    ``image`` is bytes, a file open for reading, or a PIL image; it is decoded, used and dropped. Several pictures, or
    pictures and words with weights, go into ``like``. ``model`` keeps to some of the registered models. The rest is as
    in :func:`similar_to`.

    :raises BadImage: if the image cannot be accepted (ImageTooLarge, UnsupportedFormat: why).
    :raises BadQuery: naming the bad argument and the good ones.
    :raises NotRegistered: if ``model`` is not registered.
    :raises EmbedderError: if the model cannot be loaded or knows no words.
    :raises SearchIndexError: if the index is down, missing or of another model.
    """
    request = SearchRequest.create("search", arguments)
    terms = [] if image is None else [QueryTerm(take(image))]
    terms += [] if request.text is None else [QueryTerm(request.text)]
    wanted = request.index_filters()
    return _answer(request, [*terms, *read_terms(request.like, request.unlike)], wanted, source="search")


# Django's own thread for a request, so that its connections and transactions are the ones used.
asimilar_to = sync_to_async(similar_to)
asearch = sync_to_async(search)


def page_of(request: SearchRequest, filters: Filters) -> Query:
    """The query of a request; its vector is filled in later."""
    import numpy as np

    return Query(
        vector=np.empty(0, dtype=np.float32),
        filters=filters,
        limit=request.limit,
        offset=request.offset,
        min_score=request.min_score,
        collapse=request.collapse,
        exact=request.exact,
    )


def check_filters(meta: IndexMeta, wanted: Filters) -> None:
    for condition in wanted.conditions:
        if condition.field not in meta.filters:
            raise BadQuery(
                _("The index does not know the filter %(name)r yet; run `manage.py imagesim_rebuild`.")
                % {"name": condition.field},
                field=condition.field,
            )


def project(meta: IndexMeta, vectors: Vector) -> Vector:
    projection = get_projection(meta.projection)
    return vectors if projection is None else projection.apply(vectors)


def retry_on_swap(answer: Callable[[], R]) -> R:
    """``answer()``; once more where a rebuild with another model was swapped in meanwhile."""
    try:
        return answer()
    except ModelMismatch:
        return answer()


def _answer(
    request: SearchRequest, terms: Sequence[QueryTerm], filters: Filters, *, source: str, query_key: str = ""
) -> Hits:
    check_terms(terms)
    if request.matches_nothing:
        hits = Hits(next_offset=request.offset)
    else:
        hits = retry_on_swap(lambda: _ask(request, terms, filters))
    category = filters.categories[0] if filters.categories else ""
    hits.token = events.make_token(source, hits, query_key=query_key, category=category[:200])
    return hits


def _ask(request: SearchRequest, terms: Sequence[QueryTerm], filters: Filters) -> Hits:
    index = reading_index()
    meta = index.meta()
    check_filters(meta, filters)
    vector = project(meta, query_vector(terms, meta, request.components))
    ask = _asking(index, request, filters, meta)
    hits = _fill_page(replace(page_of(request, filters), vector=vector, fingerprint=meta.fingerprint), ask)
    if request.facets:
        counted = index.facets(filters, request.facets)
        hits.facets = {field: _drop_blank(facet) for field, facet in counted.items()}
    return hits


def _asking(index: GuardedIndex, request: SearchRequest, filters: Filters, meta: IndexMeta) -> Ask:
    """The index, with what the request asks for beyond the nearest."""

    def nearest(query: Query) -> Candidates:
        return index.search([query])[0]

    ask: Ask = nearest
    if request.diversity:
        ask = with_mmr(ask, request.diversity, lambda candidates: _vectors_of(candidates, meta))
    if request.fallback and filters.categories:
        categories = {"parent": wider(request.searched, filters.categories), "wider": ()}
        stages = [(name, categories[name]) for name in request.fallback if name == "wider" or categories[name]]
        ask = with_fallback(ask, stages)
    return ask


def _vectors_of(candidates: Sequence[Candidate], meta: IndexMeta) -> dict[str, Vector]:
    """The vectors of the images that matched, as the index has them, in one query of the database."""
    import numpy as np

    rows = Embedding.objects.filter(
        digest__in={candidate.image_digest for candidate in candidates}, fingerprint=meta.fingerprint
    ).values_list("digest", "vector")
    found = [(digest, np.frombuffer(bytes(vector), dtype="<f4")) for digest, vector in rows]
    if not found:
        return {}
    return dict(
        zip(
            [digest for digest, _vector in found],
            project(meta, np.stack([vector for _digest, vector in found])),
            strict=True,
        )
    )


def _drop_blank(facet: Facet) -> Facet:
    """Without the empty text, which in Django stands for no value at all."""
    empty = dict(facet.values).get("", 0)
    if not empty:
        return facet
    return replace(facet, count=facet.count - empty, values=tuple(each for each in facet.values if each[0] != ""))


def _fill_page(query: Query, ask: Ask) -> Hits:
    """Ask, load the items, and go on where some are gone."""
    hits: list[Hit] = []
    took_ms, position, more, exact = 0.0, query.offset, True, True
    for _round in range(MAX_ROUNDS):
        candidates = ask(replace(query, limit=query.limit - len(hits), offset=position))
        hits += load(candidates.candidates)
        position += len(candidates)
        took_ms += candidates.took_ms
        more, exact = candidates.more, exact and candidates.exact
        if len(hits) == query.limit or not more:
            break
        check_deadline()
    degraded = ""
    if not hits and not query.offset and query.filters.categories:
        degraded = _unknown_category(query.filters)
    return Hits(hits, more=more, took_ms=took_ms, exact=exact, degraded=degraded, next_offset=position)


def _unknown_category(filters: Filters) -> str:
    if reading_index().count(Filters(models=filters.models, categories=filters.categories)):
        return ""
    return _("Nothing is indexed in the category %(category)s.") % {"category": format_choices(filters.categories)}
