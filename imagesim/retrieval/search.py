"""``similar_to`` and ``search``: request -> query vector -> retriever -> hits with their items."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from asgiref.sync import sync_to_async
from django.db import models
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from imagesim import events, measured_colours
from imagesim.exceptions import BadQuery, local_choices
from imagesim.metrics import timed
from imagesim.registry import registry
from imagesim.retrieval import variants
from imagesim.retrieval.answer_cache import CachedAnswer, can_keep
from imagesim.retrieval.category_names import CategoryNames
from imagesim.retrieval.feedback import MovedVectors
from imagesim.retrieval.filters import wider
from imagesim.retrieval.pages import fill_page
from imagesim.retrieval.params import SearchRequest
from imagesim.retrieval.query_image import QueryImage, take
from imagesim.retrieval.query_vector import (
    ItemKey,
    QueryTerm,
    StoredRegion,
    check_terms,
    image_vectors,
    query_vector,
    read_terms,
    to_query,
)
from imagesim.retrieval.relevance import CLOSEST, Cutoff, Judge, WithLabel, WithRelevance, calibration_of
from imagesim.retrieval.rerank import NO_CHANGES, Plan, Question, plan_for
from imagesim.retrieval.retriever import GuardedIndex, Retriever, WithFallback, WithMMR, open_index, retry_on_swap
from imagesim.retrieval.signatures import takes
from imagesim.retrieval.variants import Where
from imagesim.runtime import RecentlyUsed, runtime
from imagesim.types import Candidate, Facet, Filters, Hits, IndexMeta, Query

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from imagesim.calibration import Kind
    from imagesim.items import Items
    from imagesim.retrieval.query_image import Picture
    from imagesim.retrieval.query_prices import PriceLimits
    from imagesim.retrieval.query_text import QueryTexts, Reading
    from imagesim.retrieval.signatures import SearchArguments, SimilarArguments
    from imagesim.retrieval.text import WithText
    from imagesim.types import Message, Region, Vector

MAX_READINGS = 500
"""The number of texts of which a process remembers how they were read."""


@takes("similar")
@timed("search.similar")
@retry_on_swap
def similar_to(item: models.Model, *, timeout: int = 0, **arguments: Unpack[SimilarArguments]) -> Hits:
    """Return the items that look most similar to ``item``, best first, without itself and its variants.

    The query is the mean of the item's image embeddings in the database: no model is loaded. ``category`` and
    ``filters`` (``{"brand": "x", "price__lte": 50, "colour__in": [...]}``) apply during the search. ``same_category``
    restricts it to the item's own categories. ``in_stock`` is True, False, or None for both. ``collapse`` gives one hit
    per group.

    ``like`` and ``unlike`` add pictures, words or items that the hits should or should not resemble, each with an
    optional weight (``like="red^0.5"``, ``unlike=[(other, 0.3)]``); ``components`` weighs the components of a vector,
    where the model has them (``{"colour": 0}``: the same in any colour). ``diversity``, 0 to 1, trades similarity for
    variety. With ``region_id``, the id of one of ``item_regions(item)``, the items that look most like that thing in
    the item's image, in the categories of its label unless others are given.

    ``fallback`` searches the other categories of the same parent and then all, if the categories have too few items.
    ``facets`` counts the items that match the filters.

    ``timeout``: for how many seconds the answer is kept in Django's default cache, without its items, which are read
    each time; an answer that is kept already is used if it is still true. 0 asks the index.

    :raises NotRegistered: if the item's model is not registered.
    :raises NotIndexed: if no image of the item, or not the region, has an embedding (yet).
    :raises BadQuery: naming the bad argument and the good ones.
    :raises SearchIndexError: if the index is down, missing or of another model. A page should then show nothing;
        the template tag does so.
    """
    items = registry.for_item(item)
    variant = variants.current("similar")
    request = SearchRequest.create("similar", arguments, (items,), variant)
    own = tuple(dict.fromkeys(map(str, items.get_categories(item))))
    if request.same_category:
        if request.category:
            raise BadQuery(_("Give either 'category' or 'same_category', not both."), field="same_category")
        request = replace(request, category=own)
    key = items.key_of(item)
    cached = CachedAnswer(items, key, own, request, variant) if timeout and can_keep(request) else None
    answer = None if cached is None else cached.read()
    if answer is None:
        search = _similar_search(items, item, key, own, request)
        answer = search.run(), search.filters.categories
        if cached is not None:
            cached.keep(*answer, timeout)
    hits, categories = answer
    return _with_token(hits, "similar", "similar", request, categories, key)


def _similar_search(
    items: Items[Any], item: models.Model, key: str, own: tuple[str, ...], request: SearchRequest
) -> Search:
    wanted = request.index_filters(exclude_keys=(key,), exclude_groups=(items.group_key_of(item),))
    extra = read_terms(request.like, request.unlike)
    if not request.region_id:
        near = frozenset(wider((items,), own)) if own else frozenset()
        return Search(request, [QueryTerm(ItemKey(key)), *extra], wanted, "items", item, frozenset(own), near)
    from imagesim.retrieval.item_regions import region_of  # other pages need not load it

    found = region_of(item, request.region_id)
    label = None if wanted.categories else found.region.score
    wanted = wanted if wanted.categories else replace(wanted, categories=found.categories)
    terms = [QueryTerm(StoredRegion(found.row, found.place)), *extra]
    return Search(request, terms, wanted, "region", item, label=label, region=found.region)


@takes("search")
@timed("search.search")
@retry_on_swap
def search(*, image: Picture | None = None, **arguments: Unpack[SearchArguments]) -> Hits:
    """Return the items that look like ``image``, or match ``text``; with both, like the image, changed as the text
    describes.

    ``image`` is bytes, a file open for reading, or a PIL image; it is decoded, used and dropped. Several pictures, or
    pictures and words with weights, go into ``like``. With ``region="auto"`` the main object in ``image`` is found and
    searched in the categories of its label (``hits.region``); a picture with a plain background is searched as a whole,
    and so is one where nothing in these categories is certainly like the object. If the shop has none for the label,
    the object is an ``item`` of any category, unless the hits of the whole are more relevant.
    ``model`` restricts the search to some of the registered models. The rest is as in :func:`similar_to`.

    :raises BadImage: if the image cannot be accepted (ImageTooLarge, UnsupportedFormat: why).
    :raises BadQuery: naming the bad argument and the good ones.
    :raises NotRegistered: if ``model`` is not registered.
    :raises EmbedderError: if the model cannot be loaded or does not embed texts.
    :raises SearchIndexError: if the index is down, missing or of another model.
    """
    request = SearchRequest.create("search", arguments)
    picture = None if image is None else take(image)
    wanted = request.index_filters()
    others = [] if request.text is None else [QueryTerm(request.text)]
    others += read_terms(request.like, request.unlike)
    only_words = picture is None and all(isinstance(term.value, str) for term in others)
    where: Literal["words", "photo"] = "words" if only_words else "photo"
    if variant := variants.current(where):
        request = SearchRequest.create("search", arguments, variant=variant)

    def ask(
        shown: QueryImage | None,
        kind: Kind,
        request: SearchRequest = request,
        label: float | None = None,
        categories: tuple[str, ...] = (),
    ) -> Hits:
        terms = others if shown is None else [QueryTerm(shown), *others]
        filters = replace(wanted, categories=categories) if categories else wanted
        return Search(request, terms, filters, kind, label=label).run()

    if not request.region:
        hits = ask(picture, where)
    elif picture is None:
        raise BadQuery(_("'region' needs a picture; send one in 'image'."), field="region")
    else:
        from imagesim.retrieval.look import search_main_region  # pages without a photo need not load it

        hits = search_main_region(picture, request, ask)
    return _with_token(hits, "search", where, request, wanted.categories)


def _with_token(
    hits: Hits, source: str, where: Where, request: SearchRequest, categories: Collection[str], query_key: str = ""
) -> Hits:
    """The answer with its token: only what is returned to the caller has one."""
    token = events.make_token(
        source,
        hits,
        query_key=query_key,
        categories=categories,
        where=where,
        text=request.text or "",
        offset=request.offset,
        limit=request.limit,
    )
    return hits.replace(token=token)


# Django's own thread for a request, so that its connections and transactions are the ones used.
asimilar_to = sync_to_async(similar_to)
asearch = sync_to_async(search)


@dataclass(frozen=True, slots=True)
class Search:
    """One search: query vector -> retriever -> hits with their items.

    ``item`` is that to which others are similar, and ``region`` the thing in its image if that alone is meant. ``own``,
    ``near`` and ``label`` are those of :class:`~imagesim.retrieval.relevance.Judge`. ``typed`` is the text with the
    limits of a price that ``request`` has it without. What only searches by words need is imported by these: a page of
    similar products takes half a megabyte less without it.
    """

    request: SearchRequest
    terms: Sequence[QueryTerm]
    filters: Filters
    kind: Kind
    item: models.Model | None = None
    own: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()
    label: float | None = None
    region: Region | None = None
    typed: str = ""
    plan: Plan = NO_CHANGES

    def run(self) -> Hits:
        """Search the index, and load the items of the hits."""
        check_terms(self.terms)
        if self.request.matches_nothing:
            return Hits(next_offset=self.request.offset)
        index, meta = open_index(self.filters, self._where)
        search, limits = self._within_prices(meta)
        hits = search._hits(index, meta)
        if limits is None or self.request.offset:
            return hits
        if not hits:  # what is sought, at any price, is the closest
            few = replace(search.request, limit=min(CLOSEST, search.request.limit), facets=())
            others = replace(search, request=few, filters=self.filters)._hits(index, meta)
            hits = hits.replace(closest=list(others or others.closest))
        return hits.replace(messages=(*hits.messages, limits.message()))

    def _hits(self, index: GuardedIndex, meta: IndexMeta) -> Hits:
        search = self._planned(meta)
        request, plan, text = search.request, search.plan, search.request.text or ""
        by_text = bool(text and meta.texts) and self.kind == "words" and len(self.terms) == 1
        reading = search._read(text, meta) if by_text else None
        asked = search._as_read(reading, meta) if reading else search
        vector = query_vector(asked.terms, meta, request.components, texts_optional=by_text)
        query = to_query(request, asked.filters, vector, meta, plan.fields)
        retriever = asked._by_text(index, meta, reading.texts) if reading else asked._by_vector(index, meta)
        hits, match = fill_page(query, retriever)
        degraded, facets, messages = "", {}, plan.messages
        if reading and hits:
            messages += search._about_colours(reading, match, query, index, meta)
        if not hits and not request.offset and self.filters.categories:
            degraded = _unknown_category(index, self.filters)
        if request.facets:
            found = index.facets(asked.filters, request.facets)
            facets = {name: _without_blank(facet) for name, facet in found.items()}
        return hits.replace(degraded=degraded, facets=facets, messages=messages, region=self.region)

    @property
    def _where(self) -> Where:
        return "similar" if self.item is not None else "words" if self.kind == "words" else "photo"

    def _within_prices(self, meta: IndexMeta) -> tuple[Search, PriceLimits | None]:
        """Return the search with the limits of a price in its words as filters, and these limits."""
        text = self.request.text or ""
        if not any(map(str.isdigit, text)):
            return self, None
        from imagesim.retrieval.query_prices import limits_of

        limits = limits_of(text, self.request.searched, meta)
        if limits is None or not (limits.text or len(self.terms) > 1):
            return self, None
        filters = replace(self.filters, conditions=self.filters.conditions + limits.conditions)
        return replace(self._asking(limits.text), filters=filters, typed=text), limits

    def _asking(self, text: str) -> Search:
        """Return the search with another text in place of that of the request, or with none."""
        terms = [replace(each, value=text) if each.value == self.request.text else each for each in self.terms]
        request = replace(self.request, text=text or None)
        return replace(self, request=request, terms=[each for each in terms if each.value != ""])

    def _planned(self, meta: IndexMeta) -> Search:
        """Return the search as the active reranker plans it."""
        request, text = self.request, self.request.text or ""
        categories = tuple(sorted(self.own)) or request.category
        plan = plan_for(Question(self._where, request, meta, text, self.typed or text, self.item, categories))
        if plan is NO_CHANGES:
            return self
        plan = replace(plan, any_category=request.same_category or bool(request.fallback))
        search = self._asking(plan.text) if text and plan.text else self
        return replace(search, filters=plan.filters(self.filters), plan=plan)

    def _read(self, text: str, meta: IndexMeta) -> Reading:
        """Read the words with those of the catalogue, or remember how they were read."""
        from imagesim.embedders import get_embedder_of
        from imagesim.indexes.analysis import base_language, languages_of
        from imagesim.retrieval.query_text import QueryReader

        has_word, spoken = get_embedder_of(meta.fingerprint).has_word, base_language(get_language() or "")
        reader = QueryReader(calibration_of(meta).roles, languages_of(meta), has_word, spoken)
        # Roles are compared by identity, and kept with the reading, so that no others get its key.
        key = (text, self.plan.alternatives, id(reader.roles), reader.languages, has_word, spoken)
        readings: RecentlyUsed[Hashable, tuple[QueryReader, Reading]] = runtime.get(
            "readings", partial(RecentlyUsed, MAX_READINGS)
        )

        def read(_new: Sequence[Hashable]) -> dict[Hashable, tuple[QueryReader, Reading]]:
            return {key: (reader, reader.read_query(text, self.plan.alternatives))}

        return readings.complete([key], read)[key][1]

    def _as_read(self, reading: Reading, meta: IndexMeta) -> Search:
        """Return the search without the colours that its words exclude."""
        if not reading.unwanted:
            return self
        none_of = measured_colours.filters_for(self.request.searched, reading.unwanted, meta)
        return replace(
            self,
            terms=[QueryTerm(reading.wanted)],
            filters=replace(self.filters, none_of=self.filters.none_of + none_of),
        )

    def _about_colours(
        self, reading: Reading, match: float, query: Query, index: GuardedIndex, meta: IndexMeta
    ) -> tuple[Message, ...]:
        has_colours = any(items.measured_colours in meta.filters for items in self.request.searched)
        if not (reading.colours and has_colours) or self.request.offset:
            return ()  # many shops list no colours
        from imagesim.retrieval.query_colours import unlisted_colours

        return unlisted_colours(reading.colours, reading.texts.text, match, query, index)

    def _by_vector(self, index: GuardedIndex, meta: IndexMeta) -> Retriever:
        one_picture = len(self.terms) == 1 and isinstance(self.terms[0].value, QueryImage)
        names = CategoryNames(self.request.searched, meta) if one_picture else None
        judge = Judge(calibration_of(meta), self.kind, self.own, self.near, self.label, names)
        retriever, cutoff = self._wrapped(index, meta)
        if self.label is not None and self.filters.categories:
            return WithLabel(retriever, judge, cutoff)
        return WithRelevance(retriever, [judge], cutoff)

    def _by_text(self, index: GuardedIndex, meta: IndexMeta, texts: QueryTexts) -> Retriever:
        from imagesim.retrieval.readings import WithReadings, WithSynonyms
        from imagesim.retrieval.text import WithText

        retriever, cutoff = self._wrapped(index, meta)
        # Moving a vector depends on the order of the nearest, which the retrievers around an index change.
        name = ("moved vectors", index.backing_index or index.index.name)
        remembered = runtime.get(name, MovedVectors) if retriever is index else None
        calibration, vectors_of = calibration_of(meta), partial(_vectors_of, meta=meta)

        def with_text(texts: QueryTexts) -> WithText:
            return WithText(retriever, texts, calibration, cutoff, vectors_of, remembered)

        def read(texts: QueryTexts) -> Retriever:
            if readings := texts.text.readings:
                return WithReadings(retriever, readings, calibration, lambda text: with_text(texts.read_as(text)))
            return with_text(texts)

        def vector_of(text: str) -> Vector:
            return query_vector([QueryTerm(text)], meta, self.request.components, texts_optional=True)

        return WithSynonyms(retriever, texts, read, vector_of) if texts.in_other_words else read(texts)

    def _wrapped(self, index: GuardedIndex, meta: IndexMeta) -> tuple[Retriever, Cutoff]:
        """Return the index, wrapped in MMR and fallback if requested, and what is cut of its answers."""
        retriever: Retriever = index
        cutoff = Cutoff(self.request.min_relevance or 0.0, self.plan)
        if self.request.diversity:
            retriever = WithMMR(retriever, self.request.diversity, partial(_vectors_of, meta=meta))
            cutoff = replace(cutoff, least=WithMMR.window)
        if self.request.fallback and self.filters.categories:
            categories = {"parent": wider(self.request.searched, self.filters.categories), "wider": ()}
            stages = [(name, categories[name]) for name in self.request.fallback if name == "wider" or categories[name]]
            if stages:
                retriever = WithFallback(retriever, stages)
                cutoff = replace(cutoff, last_stage=stages[-1][0])
        return retriever, cutoff


def _vectors_of(candidates: Sequence[Candidate], meta: IndexMeta) -> dict[str, Vector]:
    """The projected vectors of the images that matched, by digest."""
    return image_vectors({candidate.image_digest for candidate in candidates}, meta)


def _without_blank(facet: Facet) -> Facet:
    """Drop the empty text, which means "no value" in Django."""
    blank = dict(facet.values).get("", 0)
    if not blank:
        return facet
    return replace(facet, count=facet.count - blank, values=tuple(each for each in facet.values if each[0] != ""))


def _unknown_category(index: GuardedIndex, filters: Filters) -> str:
    if index.count(Filters(models=filters.models, categories=filters.categories)):
        return ""
    return _("Nothing is indexed in the category %(category)s.") % {"category": local_choices(filters.categories)}
