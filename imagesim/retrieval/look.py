"""Shop the look: find the regions of a photo, and similar items for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from imagesim import events, images
from imagesim.exceptions import BadQuery
from imagesim.indexes.projections import project
from imagesim.indexes.validation import facet_kinds
from imagesim.items.hydrate import fact_of, load
from imagesim.items.registry import key_of
from imagesim.metrics import timed
from imagesim.regions import comparable, get_region_finder
from imagesim.regions.labels import ITEM, name_of
from imagesim.regions.lite import shows_one_thing
from imagesim.retrieval import variants
from imagesim.retrieval.arguments import Searched
from imagesim.retrieval.category_names import CategoryNames
from imagesim.retrieval.concurrency import asynchronous, check_deadline
from imagesim.retrieval.facets import WithFacets
from imagesim.retrieval.params import FACET_FIELDS, SearchRequest, takes
from imagesim.retrieval.query_image import QueryImage, read_picture
from imagesim.retrieval.query_vector import to_query
from imagesim.retrieval.regions import (
    corners,
    is_sold,
    label_categories,
    read_point,
    read_regions,
    region_at,
    sells_garments,
)
from imagesim.retrieval.relevance import Cutoff, Judge, WithRelevance, calibration_of
from imagesim.retrieval.rerank import Plan, Question, plan_for
from imagesim.retrieval.retriever import GuardedIndex, open_index, retry_on_swap, unseen
from imagesim.types import FilterKind, Filters, Hit, Hits, IndexMeta, Message, Query, Region

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Unpack

    from imagesim.retrieval.params import LookArguments
    from imagesim.retrieval.query_image import Picture
    from imagesim.retrieval.regions import Box, Corners
    from imagesim.types import Vector


SPARES = (4, 64)
"""The numbers of candidates beyond the limit, which replace items that are no longer shown: in the first request, and
in the second if those of the first do not suffice."""

EVIDENCE = 5
"""The number of hits whose relevance decides whether a region or the whole photo is better."""

CERTAIN = 0.8
"""The minimum relevance of the best hit in the categories of the main region's label. The finder is surest of that
region, so a high minimum hides few; with .5, a clothes shop showed some for 14 of 80 photos of groceries."""

VOTERS = 10
MAJORITY = 0.5
"""If no category is known for a label, the first ``VOTERS`` hits vote: a category needs more than this share of their
scores."""


@dataclass(frozen=True, slots=True)
class LookRegion:
    """A region of the photo with its hits, and the categories that were searched; empty if all were."""

    region: Region
    hits: Hits
    categories: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its label in the visitor's language."""
        return name_of(self.region.label) if self.region.label else ""


@dataclass(frozen=True, slots=True)
class Look:
    """The result for a photo. ``size`` is (width, height) in pixels of the upright photo as it was sent."""

    size: tuple[int, int]
    regions: tuple[LookRegion, ...] = ()
    hits: Hits = field(default_factory=Hits)
    """For the photo as a whole."""
    token: str = ""
    """Identifies the answer in events; empty while events are off."""
    messages: tuple[Message, ...] = ()
    """Messages of the shop about the answer."""


@takes("look")
@timed("search.look")
@retry_on_swap
def shop_the_look(
    photo: Picture,
    *,
    regions: Iterable[Box] | None = None,
    point: Sequence[float] | None = None,
    whole: bool = True,
    **arguments: Unpack[LookArguments],
) -> Look:
    """Find the regions of a photo, and the most similar items for each.

    ``regions`` are boxes (``Region`` or x, y, width, height in 0..1 of the upright photo) that replace those of the
    configured region finder; an empty list searches for the whole photo only. ``point`` (x, y) selects the region found
    there, or a square around the point if there is none. ``whole=False`` skips the search for the whole photo. With a
    ``category``, all hits are from it. Otherwise the hits of a region come from the categories of its label, or from
    the category of most of the nearest items; if there are fewer than ``limit``, hits from other categories follow,
    with the stage ``"wider"``. If the shop has no category for the label, all hits have that stage. All regions are
    embedded in one batch and searched in one request.

    :raises BadImage: if the photo cannot be accepted.
    :raises BadQuery: naming the bad argument and the good ones.
    :raises NotRegistered: if ``model`` is not registered.
    :raises EmbedderError: if the embedder or the region finder cannot be loaded.
    :raises SearchIndexError: if the index is down, missing or of another model.
    """
    request = SearchRequest.create("look", arguments, variant=variants.current("look"))
    boxes = None if regions is None else read_regions(regions)
    tapped = None if point is None else read_point(point)
    if boxes is not None and tapped is not None:
        raise BadQuery(_("Give either 'regions' or 'point', not both."), field="point")
    picture = read_picture(photo)
    image = picture.decode()
    filters = request.index_filters()
    index, meta = open_index(filters, "look")
    plan = plan_for(Question("look", request, meta, categories=request.category))
    filters = plan.filters(filters)
    if boxes is None:
        boxes = comparable(get_region_finder().find(image), image.size)
        if tapped is not None:
            boxes = [region_at(boxes, tapped, image.size)]
    searched: list[Region | None] = [*([None] if whole else []), *boxes]
    vectors = _embed(image, [None if box is None else corners(box, image.size) for box in searched], meta)
    queries = [to_query(request, filters, vector, meta, plan.fields) for vector in vectors]
    judge = Judge(calibration_of(meta), "region", names=CategoryNames(request.searched, meta))
    cutoff = Cutoff(request.min_relevance or 0.0, plan)
    counted = [each for each in request.facets if each in (*FACET_FIELDS, *meta.filters)]  # a new filter has no values
    kinds = facet_kinds(counted, meta.filters)
    answers = _search(index, cutoff, judge, queries, searched, request.searched, kinds)
    hits = answers.pop(0).hits if whole else Hits()
    found = tuple(_look_region(box, each, request.searched) for box, each in zip(boxes, answers, strict=True))
    if regions is None and tapped is None:
        found = tuple(each for each, of in zip(found, answers, strict=True) if not _is_unlike_all(each, of))
    others = [hit for region in found for hit in region.hits]
    token = events.make_token("look", hits, categories=filters.categories, limit=request.limit, others=others)
    return Look(picture.size, found, hits, token, plan.messages)


ashop_the_look = asynchronous(shop_the_look, lambda *args, **kwargs: True)


def main_region(photo: QueryImage) -> tuple[Region, QueryImage] | None:
    """Return the first region found in a photo, and the crop of the photo that shows it.

    Return None if no region is found, or if the background is plain: a product picture is compared as a whole.

    :raises BadImage: if the photo cannot be accepted.
    """
    image = read_picture(photo).decode()
    found = comparable(get_region_finder().find(image), image.size)
    if not found or shows_one_thing(image, found):
        return None
    part = image.crop(corners(found[0], image.size))
    return found[0], QueryImage(part, part.size)


def search_main_region(picture: QueryImage, request: SearchRequest, ask: Callable[..., Hits]) -> Hits:
    """Return the hits of the main region of a picture in the categories of its label, or those of the whole picture if
    nothing there is certainly like the region (see :func:`~imagesim.retrieval.search.search`).

    ``ask`` takes a picture, a kind, a request and, for a label, the finder's score and the categories.
    """
    found = main_region(picture)
    if found is None:
        return ask(picture, "photo")
    region, part = found
    categories = () if request.category else label_categories(request.searched, region)
    label = (region.score, categories) if categories else ()
    # The first hits decide, so that every page is of the same picture.
    start = replace(request, offset=0, facets=())
    of_region = ask(part, "region", request, *label).replace(region=region)
    first = ask(part, "region", start, *label) if request.offset else of_region
    if categories and max((hit.relevance for hit in first), default=0.0) >= CERTAIN:
        return of_region
    # A finder of garments sees garments in groceries, too.
    whole = ask(picture, "photo", start)
    if categories or _evidence(first) < _evidence(whole):
        return ask(picture, "photo") if request.offset or request.facets else whole
    if is_sold(request.searched, region):
        return of_region
    return of_region.replace(region=replace(region, label=ITEM, alternatives=()))


def _evidence(hits: Hits) -> float:
    """Return the sum of the relevance of the first hits."""
    return sum(hit.relevance for hit in hits[:EVIDENCE])


@dataclass(frozen=True, slots=True)
class _Answer:
    """The hits of one query of a look."""

    query: Query
    hits: Hits
    relabelled: bool = False
    """Whether its hits are from a category other than those of the label."""
    has_relevant: bool = False
    """Whether anything is relevant, though the values of facets may leave it out."""

    @property
    def categories(self) -> tuple[str, ...]:
        return self.query.filters.categories


def _embed(photo: Image, crops: Sequence[Corners | None], meta: IndexMeta) -> Iterable[Vector]:
    """Return the projected vectors of the crops (None: the photo as a whole), embedded in one batch."""
    if not crops:
        return ()
    from imagesim.embedders import get_embedder_of

    embedder = get_embedder_of(meta.fingerprint)
    small = [images.reduced(photo, embedder.min_decode_side, each) for each in crops]
    return project(embedder.reweight(embedder.embed_images(small)), meta.projection)


def _search(
    index: GuardedIndex,
    cutoff: Cutoff,
    judge: Judge,
    queries: Sequence[Query],
    regions: Sequence[Region | None],
    searched: Searched,
    kinds: Mapping[str, FilterKind],
) -> list[_Answer]:
    """Search all regions (None: the whole photo) in one request.

    Unless the request names a category, a region is searched twice: in the categories of its label, and in all, whose
    nearest items vote on the label and fill up a page with too few hits. If nothing in the label's categories is
    relevant, or the label has none, the hits of the category that has most of the hits come first.
    """
    chosen = [bool(query.filters.categories) for query in queries]
    asked = [(query, judge) for query in queries]
    for number, region in enumerate(regions):
        if region is not None and not chosen[number] and (categories := label_categories(searched, region)):
            labelled = replace(judge, label=region.score, beside=len(asked))
            asked[number] = _within(queries[number], categories), labelled
            asked.append((queries[number], judge))
    answers = _answer(index, cutoff, asked, kinds)
    for number, region in enumerate(regions):
        if region is None or chosen[number]:
            continue
        if (beside := asked[number][1].beside) is not None:
            answers[number] = _with_others(answers[number], answers[beside], cutoff.plan)
        elif answers[number].hits:
            answers[number] = _with_others(_Answer(queries[number], Hits()), answers[number], cutoff.plan)
    return answers[: len(queries)]


def _with_others(own: _Answer, wide: _Answer, plan: Plan) -> _Answer:
    """Return the answer in some categories (``own``), filled up from the answer in all (``wide``). If the former has no
    hits, even of what is left out by the values of facets, those of the latter in the category of most of them take
    their place, or all if no category has a majority."""
    has_own = own.hits or own.has_relevant
    facets = own.hits.facets if has_own else wide.hits.facets
    if wide.hits and not has_own:
        category = _voted(wide.hits)
        hits = wide.hits.replace(hits=plan.in_place(_of(category, wide.hits))) if category else wide.hits
        own = _Answer(_within(wide.query, (category,) if category else ()), hits, relabelled=bool(own.categories))
    hits = own.hits if len(own.hits) >= own.query.limit else _filled(own.hits, wide.hits, own.query)
    return replace(own, hits=hits.replace(facets=facets))


def _answer(
    index: GuardedIndex, cutoff: Cutoff, asked: Sequence[tuple[Query, Judge]], kinds: Mapping[str, FilterKind]
) -> list[_Answer]:
    """Search all queries, each with its judge, in one request, and load the items of all answers together.

    A second request follows if too many of the items are no longer shown.
    """
    if not asked:
        return []
    queries, judges = zip(*asked, strict=True)
    retriever = WithFacets(index, judges, cutoff, kinds) if kinds else WithRelevance(index, judges, cutoff)
    for spare in SPARES:
        answers = retriever.search([replace(query, limit=query.limit + spare) for query in queries])
        for query, judge, found in zip(queries, judges, answers, strict=True):
            if judge.beside is not None and len(found.candidates) >= query.limit:  # the page is full without them
                answers[judge.beside] = replace(answers[judge.beside], candidates=(), closest=())
        parts = (part for each in answers for part in (each.candidates, each.closest))
        loaded = load(*parts, in_stock=queries[0].filters.in_stock)  # all queries of a look ask for the same
        full = (
            not (found.candidates and found.more) or len(hits) >= query.limit
            for query, found, hits in zip(queries, answers, loaded[::2], strict=True)
        )
        if spare == SPARES[-1] or all(full):
            break
        check_deadline()
    return [
        _Answer(
            query,
            Hits(
                hits[: query.limit],
                more=found.more or len(hits) > query.limit,
                took_ms=index.took_ms,
                exact=found.exact,
                cut=found.cut,
                closest=[] if hits else near,
                facets=found.facets,
            ),
            has_relevant=bool(found.relevant),
        )
        for query, found, hits, near in zip(queries, answers, loaded[::2], loaded[1::2], strict=True)
    ]


def _look_region(box: Region, answer: _Answer, searched: Searched) -> LookRegion:
    """Return the hits of a region, with their own token for events.

    If the shop has no category for the label, or nothing there is relevant, the hits are marked as ``wider``. If most
    of them are in one category, or the shop sells no garments at all, the label is probably wrong (a finder of garments
    also labels bottles) and the neutral one is shown.
    """
    hits = answer.hits
    if box.label not in ("", ITEM) and not is_sold(searched, box):
        wrong = bool(answer.categories) or not sells_garments(searched)
    else:
        wrong = answer.relabelled
    if wrong:
        box = replace(box, label=ITEM, alternatives=())
    if box.label not in ("", ITEM) and not answer.categories:
        hits = hits.replace(hits=[replace(hit, stage="wider") for hit in hits])
    token = events.make_token("look", hits, categories=answer.categories, where="region", limit=answer.query.limit)
    return LookRegion(box, hits.replace(token=token), answer.categories)


def _is_unlike_all(found: LookRegion, answer: _Answer) -> bool:
    """Return whether a region has no hits because all candidates were below the floor. One labelled as a garment is
    then left out even if it has closest hits, because its label is more likely wrong than right."""
    if found.hits or not found.hits.cut or answer.has_relevant:
        return False
    return found.region.label not in ("", ITEM) or not found.hits.closest


def _filled(own: Hits, wide: Hits, query: Query) -> Hits:
    """Return the ``own`` hits of a query, filled up with ``wide`` ones, which have the stage "wider"."""

    def identity(hit: Hit) -> str:
        key = key_of(hit.item)
        return fact_of(hit.item, "group_key_of", key) if query.collapse else key

    found = [*own, *(replace(hit, stage="wider") for hit in unseen(own, wide, identity))]
    return Hits(
        found[: query.limit],
        more=own.more or len(found) > query.limit or wide.more,
        took_ms=wide.took_ms,
        exact=own.exact and wide.exact,
        cut=max(own.cut, wide.cut),
        closest=[] if found else own.closest,
    )


def _voted(hits: Hits) -> str:
    """Return the category of most of the first hits, weighted by score; empty if none has a majority."""
    votes: dict[str, float] = defaultdict(float)
    total = 0.0
    for hit in hits[:VOTERS]:
        weight = max(hit.score, 0.0)
        total += weight
        for category in _categories_of(hit):
            votes[category] += weight
    best = max(votes, key=lambda category: votes[category], default="")
    return best if total and votes[best] > MAJORITY * total else ""


def _of(category: str, hits: Hits) -> list[Hit]:
    """Return the hits in a category."""
    return [hit for hit in hits if category in _categories_of(hit)]


def _categories_of(hit: Hit) -> Sequence[str]:
    categories: Sequence[str] = fact_of(hit.item, "get_categories", ())
    return categories


def _within(query: Query, categories: tuple[str, ...]) -> Query:
    """Return the query restricted to these categories."""
    filters: Filters = replace(query.filters, categories=categories)
    return replace(query, filters=filters)
