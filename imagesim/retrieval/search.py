"""The read side: a question -> hits. What alike items there are, and what pictures or words find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import models
from django.utils.translation import gettext as _

from imagesim import events
from imagesim.exceptions import BadQuery, ModelMismatch, format_choices
from imagesim.models import Embedding
from imagesim.monitoring.timing import timed
from imagesim.projections import get_projection
from imagesim.registry import registry
from imagesim.retrieval import params
from imagesim.retrieval.categories import wider
from imagesim.retrieval.guarded_index import GuardedIndex, reading_index
from imagesim.retrieval.hydrate import load
from imagesim.retrieval.query_image import take
from imagesim.retrieval.query_vector import ItemKey, QueryTerm, check_terms, query_vector, read_terms
from imagesim.retrieval.rerank import Ask, with_fallback, with_mmr
from imagesim.types import Candidate, Candidates, Facet, Filters, Hit, Hits, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.retrieval.query_image import Picture
    from imagesim.retrieval.query_vector import Terms
    from imagesim.types import Vector


R = TypeVar("R")

MAX_ROUNDS = 4
"""Requests for one page, the first included, while items that are gone are stepped over."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What was asked, checked; only the vector is missing."""

    query: Query
    terms: Sequence[QueryTerm]
    components: Mapping[str, float]
    diversity: float
    stages: tuple[str, ...]
    facets: tuple[str, ...]
    source: str
    query_key: str = ""


@timed("search.similar")
def similar_to(
    item: models.Model,
    *,
    limit: int = 12,
    offset: int = 0,
    category: str | Iterable[str] | None = None,
    same_category: bool = False,
    in_stock: bool | None = None,
    filters: dict[str, Any] | None = None,
    min_score: float | None = None,
    collapse: bool = True,
    exact: bool | None = None,
    like: Terms | None = None,
    unlike: Terms | None = None,
    components: Mapping[str, float] | None = None,
    diversity: float = 0.0,
    fallback: bool | Sequence[str] = False,
    facets: bool | Sequence[str] = False,
) -> Hits:
    """The items that look most like ``item``, best first; never itself nor a variant of it.

    The item is compared by the middle of its images' embeddings, as they stand in the database: no model is
    loaded. ``category`` and ``filters`` (``{"brand": "x", "price__lte": 50, "colour__in": [...]}``) hold during the
    search. ``same_category`` keeps to the item's own categories. ``collapse`` gives one hit a group.

    ``like`` and ``unlike`` add pictures, words or items that the hits should be like or not be like, each with a
    weight if need be (``like="red^0.5"``, ``unlike=[(other, 0.3)]``); ``parts`` weighs the parts of a vector, where the
    model keeps them apart (``{"colour": 0}``: the same in any colour). ``diversity``, 0 to 1, trades likeness for
    variety.
    ``fallback`` looks further, among the categories under the same parent and then everywhere, where the categories
    asked for have too few. ``facets`` counts what passes the filters.

    :raises NotRegistered: if the item's model is not registered.
    :raises NotIndexed: if no image of the item has an embedding (yet).
    :raises BadQuery: naming the bad argument and the good ones.
    :raises SearchIndexError: if the index is down, missing or of another model. A page should then show nothing;
        the template tag does so by itself.
    """
    items = registry.for_item(item)
    params.check_switch("same_category", same_category)
    if same_category:
        if category is not None:
            raise BadQuery(_("Give either 'category' or 'same_category', not both."), field="same_category")
        category = items.get_categories(item)
    key = items.key_of(item)
    wanted = params.build(
        labels=(items.label,),
        category=category,
        in_stock=in_stock,
        filters=filters,
        exclude_keys=(key,),
        exclude_groups=(items.group_key_of(item),),
    )
    question = _Question(
        replace(page_of(limit, offset, min_score, collapse, exact), filters=wanted),
        [QueryTerm(ItemKey(key)), *read_terms(like, unlike)],
        params.check_components(components),
        params.check_diversity(diversity),
        params.check_fallback(fallback),
        params.check_facets(facets, wanted.models),
        source="similar",
        query_key=key,
    )
    return _answer(question)


@timed("search.search")
def search(
    *,
    image: Picture | None = None,
    text: str | None = None,
    model: type[models.Model] | str | Iterable[type[models.Model] | str] | None = None,
    limit: int = 12,
    offset: int = 0,
    category: str | Iterable[str] | None = None,
    in_stock: bool | None = None,
    filters: dict[str, Any] | None = None,
    min_score: float | None = None,
    collapse: bool = True,
    exact: bool | None = None,
    like: Terms | None = None,
    unlike: Terms | None = None,
    components: Mapping[str, float] | None = None,
    diversity: float = 0.0,
    fallback: bool | Sequence[str] = False,
    facets: bool | Sequence[str] = False,
) -> Hits:
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
    labels = labels_of(model)
    wanted = params.build(labels=labels, category=category, in_stock=in_stock, filters=filters)
    words = None if text is None else params.check_text(text)
    terms = [] if image is None else [QueryTerm(take(image))]
    terms += [] if words is None else [QueryTerm(words)]
    question = _Question(
        replace(page_of(limit, offset, min_score, collapse, exact), filters=wanted),
        [*terms, *read_terms(like, unlike)],
        params.check_components(components),
        params.check_diversity(diversity),
        params.check_fallback(fallback),
        params.check_facets(facets, labels),
        source="search",
    )
    return _answer(question)


# Django's own thread for a request, so that its connections and transactions are the ones used.
asimilar_to = sync_to_async(similar_to)
asearch = sync_to_async(search)


def page_of(limit: int, offset: int, min_score: float | None, collapse: bool, exact: bool | None) -> Query:
    """The part of a query that every question has; vector and filters are filled in later."""
    import numpy as np

    limit, offset = params.check_page(limit, offset)
    return Query(
        vector=np.empty(0, dtype=np.float32),
        limit=limit,
        offset=offset,
        min_score=params.check_min_score(min_score),
        collapse=bool(params.check_switch("collapse", collapse)),
        exact=params.check_switch("exact", exact, optional=True),
    )


def labels_of(model: object) -> tuple[str, ...]:
    each: Iterable[Any]
    if model is None:
        return ()
    each = model if isinstance(model, Iterable) and not isinstance(model, str | bytes | type) else [model]
    found = []
    for one in each:
        if isinstance(one, str):
            found.append(registry.for_label(one).label)
        elif isinstance(one, type) and issubclass(one, models.Model):
            found.append(registry.for_model(one).label)
        else:
            raise BadQuery(
                _("'model' must be a model or its label, such as %(good)s.")
                % {"good": format_choices(items.label for items in registry)},
                field="model",
            )
    return tuple(dict.fromkeys(found))


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


def _answer(question: _Question) -> Hits:
    check_terms(question.terms)
    wanted = question.query.filters
    if any(condition.operator == "in" and condition.value == () for condition in wanted.conditions):
        hits = Hits(next_offset=question.query.offset)
    else:
        hits = retry_on_swap(lambda: _ask(question))
    category = wanted.categories[0] if wanted.categories else ""
    hits.token = events.make_token(question.source, query_key=question.query_key, category=category[:200])
    return hits


def _ask(question: _Question) -> Hits:
    index = reading_index()
    meta = index.meta()
    check_filters(meta, question.query.filters)
    vector = project(meta, query_vector(question.terms, meta, question.components))
    ask = _asking(index, question, meta)
    hits = _fill_page(replace(question.query, vector=vector, fingerprint=meta.fingerprint), ask)
    if question.facets:
        counted = index.facets(question.query.filters, question.facets)
        hits.facets = {field: _drop_blank(facet) for field, facet in counted.items()}
    return hits


def _asking(index: GuardedIndex, question: _Question, meta: IndexMeta) -> Ask:
    """The index, with what the question wants beyond the nearest."""

    def nearest(query: Query) -> Candidates:
        return index.search([query])[0]

    ask: Ask = nearest
    if question.diversity:
        ask = with_mmr(ask, question.diversity, lambda candidates: _vectors_of(candidates, meta))
    filters = question.query.filters
    if question.stages and filters.categories:
        shelf = [items for items in registry if not filters.models or items.label in filters.models]
        categories = {"parent": wider(shelf, filters.categories), "wider": ()}
        stages = [(name, categories[name]) for name in question.stages if name == "wider" or categories[name]]
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
    degraded = ""
    if not hits and not query.offset and query.filters.categories:
        degraded = _unknown_category(query.filters)
    return Hits(hits, more=more, took_ms=took_ms, exact=exact, degraded=degraded, next_offset=position)


def _unknown_category(filters: Filters) -> str:
    if reading_index().count(Filters(models=filters.models, categories=filters.categories)):
        return ""
    return _("Nothing is indexed in the category %(category)s.") % {"category": format_choices(filters.categories)}
