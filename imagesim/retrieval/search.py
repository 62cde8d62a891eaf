"""``similar_to`` and ``search``: request -> query vector -> retriever -> hits with their items."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from django.db import models
from django.utils.translation import gettext as _

from imagesim import events
from imagesim.exceptions import BadQuery
from imagesim.items import measured_colours
from imagesim.items.registry import registry
from imagesim.metrics import timed
from imagesim.retrieval import variants
from imagesim.retrieval.answer_cache import CachedAnswer, can_keep
from imagesim.retrieval.category_names import CategoryNames
from imagesim.retrieval.concurrency import asynchronous
from imagesim.retrieval.fill_page import fill_page
from imagesim.retrieval.filters import unknown_category, wider_categories
from imagesim.retrieval.params import SearchRequest, takes
from imagesim.retrieval.query_image import QueryImage, take
from imagesim.retrieval.query_vector import (
    ItemKey,
    QueryTerm,
    StoredRegion,
    any_vector,
    check_terms,
    have_pictures,
    query_vector,
    read_terms,
    text_vector,
    to_query,
    vectors_of,
)
from imagesim.retrieval.relevance import CLOSEST, Cutoff, Judge, WithLabel, WithRelevance, calibration_of
from imagesim.retrieval.rerank import NO_CHANGES, Plan, Question, plan_for
from imagesim.retrieval.retriever import GuardedIndex, Retriever, WithFallback, WithMMR, open_index, retry_on_swap
from imagesim.retrieval.variants import Where
from imagesim.types import Filters, Hits, IndexMeta, Query

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from imagesim.calibration import Kind
    from imagesim.items import Items, M
    from imagesim.retrieval.params import SearchArguments, SimilarArguments
    from imagesim.retrieval.query_image import Picture
    from imagesim.retrieval.words.prices import PriceLimits
    from imagesim.retrieval.words.query_text import QueryTexts, Reading
    from imagesim.types import Message, Region, Vector


@takes("similar")
@timed("search.similar")
@retry_on_swap
def similar_to(item: M, *, timeout: int = 0, **arguments: Unpack[SimilarArguments]) -> Hits[M]:
    """Return the items that look most similar to ``item``, best first, without the item itself and its variants.

    The query is the mean of the item's image embeddings in the database: no model is loaded. ``category`` and
    ``filters`` (``{"brand": "x", "price__lte": 50, "colour__in": [...]}``) apply during the search. ``same_category``
    restricts the search to the item's own categories. ``in_stock`` is True, False, or None for both. ``collapse`` gives
    one hit per group.

    ``like`` and ``unlike`` add pictures, words or items that the hits should or should not resemble, each with an
    optional weight (``like="red^0.5"``, ``unlike=[(other, 0.3)]``); ``components`` weighs the components of a vector,
    where the model has them (``{"colour": 0}``: the same in any colour). ``diversity``, 0 to 1, trades similarity for
    variety. With ``region_id``, the id of one of ``item_regions(item)``, the hits are the items that look most like
    that thing in the item's image, in the categories of its label unless others are given.

    ``fallback`` searches the other categories of the same parent and then all, if the categories have too few items.
    ``facets`` counts the items that match the filters.

    ``timeout``: for how many seconds the answer is kept in Django's default cache, without its items, which are read
    each time; an answer that is already kept is used if it is still valid. 0 asks the index.

    :raises NotRegistered: if the item's model is not registered.
    :raises NotIndexed: if no image of the item has an embedding (yet), or the region has none.
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
    """Return the search for what is similar to an item with the categories ``own``, or to a region of its images."""
    wanted = request.index_filters(exclude_keys=(key,), exclude_groups=(items.group_key_of(item),))
    extra = read_terms(request.like, request.unlike)
    if not request.region_id:
        near = frozenset(wider_categories((items,), own)) if own else frozenset()
        return Search(request, [QueryTerm(ItemKey(key)), *extra], wanted, "items", item, frozenset(own), near)
    from imagesim.retrieval.regions import region_of  # other pages need not load it

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
    the object is an ``item`` of any category, unless the hits of the whole picture are more relevant. ``model``
    restricts the search to some of the registered models. The rest is as in :func:`similar_to`.

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

    answers: list[Hits] = []

    def ask(
        shown: QueryImage | None,
        kind: Kind,
        request: SearchRequest = request,
        label: float | None = None,
        categories: tuple[str, ...] = (),
    ) -> Hits:
        terms = others if shown is None else [QueryTerm(shown), *others]
        filters = replace(wanted, categories=categories) if categories else wanted
        answers.append(Search(request, terms, filters, kind, label=label).run())
        return answers[-1]

    if not request.region:
        hits = ask(picture, where)
    elif picture is None:
        raise BadQuery(_("'region' needs a picture; send one in 'image'."), field="region")
    else:
        from imagesim.retrieval.look import search_main_region  # pages without a photo need not load it

        hits = search_main_region(picture, request, ask)
    hits = hits.replace(took_ms=sum(each.took_ms for each in answers))
    return _with_token(hits, "search", where, request, wanted.categories)


def _with_token(
    hits: Hits, source: str, where: Where, request: SearchRequest, categories: Collection[str], query_key: str = ""
) -> Hits:
    """Return the hits with a token for events: only hits that are returned to the caller have one."""
    text, offset, limit = request.text or "", request.offset, request.limit
    token = events.make_token(
        source, hits, query_key=query_key, categories=categories, where=where, text=text, offset=offset, limit=limit
    )
    return hits.replace(token=token)


asimilar_to = asynchronous(similar_to, have_pictures)
asearch = asynchronous(search, have_pictures)


@dataclass(frozen=True, slots=True)
class Search:
    """One search: query vector -> retriever -> hits with their items.

    ``item``: the item to which others are similar; ``region``: the thing in its image, if only that is searched.
    ``own``, ``near`` and ``label``: those of :class:`~imagesim.retrieval.relevance.Judge`. ``typed``: the text as it
    was typed, if the text of ``request`` lacks the price limits that it names. Without ``terms``, which only limits of
    prices can leave, everything within the filters is found.

    Modules for words are imported in methods: pages of similar products take half a megabyte less memory without them.
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
        if self.terms or not self.typed:
            check_terms(self.terms)
        if self.request.matches_nothing:
            return Hits(next_offset=self.request.offset)
        index, meta = open_index(self.filters, self._where)
        if limits := self._price_limits(meta):
            return self._within(limits)
        search = self._planned(meta)
        request, plan, text = search.request, search.plan, search.request.text or ""
        by_text = search._is_words and bool(meta.texts)
        reading, asked = search._read(text, meta, index) if by_text else (None, search)
        if reading and reading.is_all:
            reading, by_text, asked = None, False, asked._of_everything()
            request = asked.request
        failure = None
        if by_text:
            vector, failure = text_vector(asked.terms, meta, request.components)
        elif asked.terms:
            vector = query_vector(asked.terms, meta, request.components)
        else:
            vector = any_vector(meta)
        query = to_query(request, asked.filters, vector, meta, plan.fields)
        retriever = asked._by_text(index, meta, reading.texts) if reading else asked._by_vector(index, meta)
        hits, match = fill_page(query, retriever)
        by_looks = not match and not any(hit.rules for hit in hits)
        if failure is not None and by_looks and not request.offset:
            raise failure  # it is not known what looks like the words
        degraded = _("Only texts were searched: the model cannot be used at the moment.") if failure else ""
        messages = plan.messages
        if reading and hits and not request.offset:
            about_words = self._about_looks(reading) if by_looks else self._about_lacking(reading)
            messages += about_words or self._about_colours(reading, match, query, index, meta)
        if not hits and not request.offset and self.filters.categories:
            degraded = unknown_category(index, self.filters)
        facets = index.facets(asked.filters, request.facets) if request.facets else {}
        took_ms = index.took_ms
        return hits.replace(degraded=degraded, facets=facets, messages=messages, region=self.region, took_ms=took_ms)

    @property
    def _where(self) -> Where:
        return "similar" if self.item is not None else "words" if self.kind == "words" else "photo"

    def _price_limits(self, meta: IndexMeta) -> PriceLimits | None:
        """Return the price limits in the words; None if there are none, or nothing is sought without them."""
        text = self.request.text or ""
        if self.typed or not any(map(str.isdigit, text)):
            return None
        from imagesim.retrieval.words.prices import limits_of

        limits = limits_of(text, self.request.searched, meta)
        if limits is None:
            return None
        limits = limits._replace(is_all=limits.is_all and self._is_words)
        is_sought = any(each.weight > 0 for each in self._with_text(limits.text).terms)
        return limits if limits.is_all or is_sought else None

    @property
    def _is_words(self) -> bool:
        """Whether nothing but a text is given."""
        return self.kind == "words" and len(self.terms) == 1 and bool(self.request.text)

    def _within(self, limits: PriceLimits) -> Hits:
        """Search within the price limits that the words name. If there are no hits, the closest are the hits of the
        search at any price."""
        from imagesim.retrieval.words.prices import nothing_at_this_price

        filters = replace(self.filters, conditions=self.filters.conditions + limits.conditions)
        search = replace(self._with_text(limits.text), filters=filters, typed=self.request.text or "")
        search = search._of_everything() if limits.is_all else search
        hits = search.run()
        if self.request.offset:
            return hits
        message = limits.message()
        if not hits and not limits.is_all:
            few = replace(search.request, limit=min(CLOSEST, search.request.limit), facets=())
            others = replace(search, request=few, filters=self.filters).run()
            hits = hits.replace(closest=list(others or others.closest), took_ms=hits.took_ms + others.took_ms)
            message = nothing_at_this_price() if hits.closest else message
        return hits.replace(messages=(*hits.messages, message))

    def _of_everything(self) -> Search:
        """Return the search for everything within the filters."""
        request = replace(self.request, text=None, min_relevance=None, min_score=None)
        return replace(self, request=request, terms=())

    def _with_text(self, text: str) -> Search:
        """Return the search with another text in place of that of the request, or without a text if it is empty."""
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
        search = self._with_text(plan.text) if text and plan.text else self
        return replace(search, filters=plan.filters(self.filters), plan=plan)

    def _read(self, text: str, meta: IndexMeta, index: GuardedIndex) -> tuple[Reading, Search]:
        """Return what the words mean, and the search for what they want, without what they exclude."""
        from imagesim.retrieval.words.readings import complete, read_words

        reading, filters = read_words(text, self.plan.alternatives, meta), self.filters
        if not reading.is_complete:
            reading, filters = complete(reading, to_query(self.request, filters, any_vector(meta), meta, ()), index)
        if reading.unwanted:
            none_of = measured_colours.filters_for(self.request.searched, reading.unwanted, meta)
            filters = replace(filters, none_of=filters.none_of + none_of)
        if reading.lacking:
            found = read_words(reading.others, self.plan.alternatives, meta)
            reading = found._replace(lacking=reading.lacking)
        if reading.wanted == text:
            return reading, replace(self, filters=filters)
        return reading, replace(self, terms=[QueryTerm(reading.wanted)], filters=filters)

    def _about_lacking(self, reading: Reading) -> tuple[Message, ...]:
        """Return the message about the words of the query that nothing has; none if each is known."""
        from imagesim.retrieval.words.readings import nothing_called

        return (nothing_called(reading.lacking),) if reading.lacking else ()

    def _about_looks(self, reading: Reading) -> tuple[Message, ...]:
        """Return the message that no entry is named by the words."""
        from imagesim.retrieval.words.readings import found_by_looks

        return (found_by_looks(reading.wanted),)

    def _about_colours(
        self, reading: Reading, match: float, query: Query, index: GuardedIndex, meta: IndexMeta
    ) -> tuple[Message, ...]:
        """Return messages about the colours of the query for which nothing is listed."""
        if not (reading.colours and any(items.measured_colours in meta.filters for items in self.request.searched)):
            return ()  # many shops list no colours
        from imagesim.retrieval.words.colours import unlisted_colours

        return unlisted_colours(reading.colours, reading.texts.own, match, query, index)

    def _by_vector(self, index: GuardedIndex, meta: IndexMeta) -> Retriever:
        """Return the retriever for a search by vectors alone."""
        one_picture = len(self.terms) == 1 and isinstance(self.terms[0].value, QueryImage)
        names = CategoryNames(self.request.searched, meta) if one_picture else None
        judge = Judge(calibration_of(meta), self.kind, self.own, self.near, self.label, names)
        retriever, cutoff = self._wrapped(index, meta)
        if self.label is not None and self.filters.categories:
            return WithLabel(retriever, judge, cutoff)
        return WithRelevance(retriever, [judge], cutoff)

    def _by_text(self, index: GuardedIndex, meta: IndexMeta, texts: QueryTexts) -> Retriever:
        """Return the retriever for a search by words."""
        from imagesim.retrieval.words.readings import by_words

        retriever, cutoff = self._wrapped(index, meta)

        def vector_of(text: str) -> Vector:
            return text_vector([QueryTerm(text)], meta, self.request.components)[0]

        images, names = partial(vectors_of, meta=meta), CategoryNames(self.request.searched, meta)
        return by_words(texts, retriever, calibration_of(meta), cutoff, images, vector_of, names)

    def _wrapped(self, index: GuardedIndex, meta: IndexMeta) -> tuple[Retriever, Cutoff]:
        """Return the index, wrapped in MMR and fallback if requested, and the cutoff for its answers."""
        retriever: Retriever = index
        cutoff = Cutoff(self.request.min_relevance or 0.0, self.plan)
        if self.request.diversity:
            retriever = WithMMR(retriever, self.request.diversity, partial(vectors_of, meta=meta))
            cutoff = replace(cutoff, least=WithMMR.window)
        if self.request.fallback and self.filters.categories:
            categories = {"parent": wider_categories(self.request.searched, self.filters.categories), "wider": ()}
            stages = [(name, categories[name]) for name in self.request.fallback if name == "wider" or categories[name]]
            if stages:
                retriever = WithFallback(retriever, stages)
                cutoff = replace(cutoff, last_stage=stages[-1][0])
        return retriever, cutoff
