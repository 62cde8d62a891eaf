"""Shop the look: a photo in, every garment in it matched with what the shop sells like it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.utils.translation import gettext as _

from imagesim import events, images
from imagesim.exceptions import BadImage, BadQuery
from imagesim.items import Items
from imagesim.monitoring.timing import timed
from imagesim.regions import get_region_finder
from imagesim.regions.labels import ITEM, likely_categories, name_of
from imagesim.registry import registry
from imagesim.retrieval.categories import categories_of
from imagesim.retrieval.guarded_index import reading_index
from imagesim.retrieval.hydrate import hit_of, load_items
from imagesim.retrieval.params import SearchRequest, takes
from imagesim.retrieval.query_image import read_picture
from imagesim.retrieval.rerank import append_unseen
from imagesim.retrieval.search import check_filters, page_of, project, retry_on_swap
from imagesim.types import Candidates, Filters, Hit, Hits, Query, Region

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Unpack

    from imagesim.retrieval.params import LookArguments
    from imagesim.retrieval.query_image import Picture
    from imagesim.types import Vector

    Box = Region | Sequence[float]
    Corners = tuple[int, int, int, int]

MAX_REGIONS = 12
"""Of one photo; a busy street has more to offer, but nobody looks at it."""

MAX_AREA = 6
"""Of all regions of one photo together, in photos: what a finder or a visitor draws overlaps, but not so often."""

SPARE = 4
"""Matches asked for beyond the limit, for items that are gone."""

VOTERS = 10
MAJORITY = 0.5
"""Where a label says no category, the best hits vote; one must have more than this share of their scores."""

TAPPED = 1 / 3
"""Side of the square around a point where no region was found, of the photo's shorter side."""


@dataclass(frozen=True, slots=True)
class LookRegion:
    """A region of the photo with the hits for it, and the categories they were looked for in (empty: all)."""

    region: Region
    hits: Hits
    categories: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a page shows for its label, in the visitor's language."""
        return name_of(self.region.label) if self.region.label else ""


@dataclass(frozen=True, slots=True)
class Look:
    """The answer to a photo. ``size`` is (width, height) in pixels of the upright photo as it was sent."""

    size: tuple[int, int]
    regions: tuple[LookRegion, ...] = ()
    hits: Hits = field(default_factory=Hits)
    """For the photo as a whole."""
    token: str = ""
    """Goes back with what the visitor does with the hits; empty while events are off."""


@takes("look")
@timed("search.look")
def shop_the_look(
    photo: Picture,
    *,
    regions: Iterable[Box] | None = None,
    point: Sequence[float] | None = None,
    whole: bool = True,
    **arguments: Unpack[LookArguments],
) -> Look:
    """Find what is in a photo, and for each thing the items most like it.

    ``regions`` are boxes (``Region`` or x, y, width, height in 0..1 of the upright photo) in place of those that the
    configured finder finds; an empty list asks for the photo as a whole alone. ``point`` (x, y) keeps to the one
    region found under it, or takes a square around it where there is none; ``whole=False`` leaves out the search for
    the photo as a whole. Under a ``category`` every hit is from there. Without one, a region's hits come from the
    categories that belong to its label, or that its neighbours agree on; where they give fewer than ``limit``, hits
    from other categories follow with the stage ``"wider"``, which all have where the shop seems to have nothing of the
    label's kind. All regions are embedded in one batch and searched in one
    request; a second one widens or narrows what needs it.

    :raises BadImage: if the photo cannot be accepted.
    :raises BadQuery: naming the bad argument and the good ones.
    :raises NotRegistered: if ``model`` is not registered.
    :raises EmbedderError: if the embedder or the region finder cannot be loaded.
    :raises SearchIndexError: if the index is down, missing or of another model.
    """
    request = SearchRequest.create("look", arguments)
    wanted = request.index_filters()
    page = page_of(request, wanted)
    boxes = None if regions is None else _given(regions)
    tapped = None if point is None else _point(point)
    if boxes is not None and tapped is not None:
        raise BadQuery(_("Give either 'regions' or 'point', not both."), field="point")
    image, size = read_picture(photo)
    check_filters(reading_index().meta(), wanted)
    if boxes is None:
        boxes = [region for region in get_region_finder().find(image) if _is_sound(region, image.size)][:MAX_REGIONS]
        if tapped is not None:
            boxes = [_under(boxes, tapped, image.size)]
    parts = [None, *boxes] if whole else boxes
    corners = [None if part is None else _pixels(part, image.size) for part in parts]
    seen = retry_on_swap(lambda: _search(page, boxes, image, corners))
    token = events.make_token("look", seen.hits, category=(wanted.categories or ("",))[0][:200])
    return replace(seen, size=size, token=token)


ashop_the_look = sync_to_async(shop_the_look)


def _search(page: Query, boxes: Sequence[Region], photo: Image, corners: Sequence[Corners | None]) -> Look:
    """The hits for what is within the ``corners``: None for the photo as a whole if it is asked for, then the boxes."""
    meta = reading_index().meta()
    wanted = page.filters
    vectors: Iterable[Vector] = ()
    if corners:
        from imagesim.embedders import get_embedder_of

        embedder = get_embedder_of(meta.fingerprint)
        small = [images.reduced(photo, embedder.min_decode_side, each) for each in corners]
        vectors = project(meta, embedder.reweight(embedder.embed_images(small)))
    shelf = [items for items in registry if not wanted.models or items.label in wanted.models]
    queries = [replace(page, vector=vector, fingerprint=meta.fingerprint) for vector in vectors]
    photos, parts = queries[: len(queries) - len(boxes)], queries[len(queries) - len(boxes) :]
    if not wanted.categories:
        parts = [_within(part, _belonging(shelf, region)) for part, region in zip(parts, boxes, strict=True)]
    answered = _answer([*photos, *parts])
    found = answered[len(photos) :]
    if not wanted.categories:
        found = _apply_votes(found, shelf)
    return Look(
        (0, 0),
        tuple(_with_token(_of(box, part)) for box, part in zip(boxes, found, strict=True)),
        answered[0].hits if photos else Hits(),
    )


def _of(box: Region, part: _Answered) -> LookRegion:
    """A bag in a shop without bags: what looks like it is of another kind, and says so."""
    hits = part.hits
    if box.label not in ("", ITEM) and not part.categories:
        hits = Hits(
            [replace(hit, stage="wider") for hit in hits], more=hits.more, took_ms=hits.took_ms, exact=hits.exact
        )
    return LookRegion(box, hits, part.categories)


def _with_token(part: LookRegion) -> LookRegion:
    """With a token of its own, so that events know the category of what was seen."""
    part.hits.token = events.make_token("look", part.hits, category=next(iter(part.categories), "")[:200])
    return part


@dataclass(frozen=True, slots=True)
class _Answered:
    query: Query
    hits: Hits

    @property
    def categories(self) -> tuple[str, ...]:
        return self.query.filters.categories


def _answer(queries: Sequence[Query], stage: str = "") -> list[_Answered]:
    """One request to the index, one read of all the items."""
    if not queries:
        return []
    answers: list[Candidates] = reading_index().search([replace(query, limit=query.limit + SPARE) for query in queries])
    items = load_items(candidate.key for candidates in answers for candidate in candidates.candidates)
    answered = []
    for query, candidates in zip(queries, answers, strict=True):
        hits = [
            replace(hit_of(candidate, items[candidate.key]), stage=stage)
            for candidate in candidates.candidates
            if candidate.key in items
        ]
        more = candidates.more or len(hits) > query.limit
        answered.append(
            _Answered(query, Hits(hits[: query.limit], more=more, took_ms=candidates.took_ms, exact=candidates.exact))
        )
    return answered


def _apply_votes(found: Sequence[_Answered], shelf: Sequence[Items[Any]]) -> list[_Answered]:
    """Narrow what has no category to the one its neighbours agree on; widen what found too little in its own."""
    again: dict[int, Query] = {}
    for number, part in enumerate(found):
        if not part.categories:
            if category := _voted(part.hits):
                again[number] = _within(part.query, (category,))
        elif len(part.hits) < part.query.limit:
            again[number] = _within(part.query, ())
    settled = list(found)
    for number, answer in zip(again, _answer(list(again.values())), strict=True):
        first = found[number]
        own, wide = (first, answer) if first.categories else (answer, first)
        settled[number] = replace(own, hits=_filled(own.hits, wide.hits, own.query.limit))
    return settled


def _filled(own: Hits, wide: Hits, limit: int) -> Hits:
    """``own`` hits first; what is missing from ``wide`` ones, which say that they are."""
    found = append_unseen(own, wide, "wider", _identity)
    more = own.more or len(found) > limit or wide.more
    return Hits(found[:limit], more=more, took_ms=own.took_ms + wide.took_ms, exact=own.exact and wide.exact)


def _identity(hit: Hit) -> str:
    return registry.for_item(hit.item).group_key_of(hit.item)


def _voted(hits: Hits) -> str:
    """The category that most of the best hits are in, weighted by score; empty where they do not agree."""
    votes: dict[str, float] = defaultdict(float)
    total = 0.0
    for hit in hits[:VOTERS]:
        weight = max(hit.score, 0.0)
        total += weight
        for category in registry.for_item(hit.item).get_categories(hit.item):
            votes[category] += weight
    best = max(votes, key=lambda category: votes[category], default="")
    return best if total and votes[best] > MAJORITY * total else ""


def _within(query: Query, categories: tuple[str, ...]) -> Query:
    filters: Filters = replace(query.filters, categories=categories)
    return replace(query, filters=filters)


def _belonging(shelf: Sequence[Items[Any]], region: Region) -> tuple[str, ...]:
    """The shop's categories for a region's label; none where nothing is known of it."""
    if not region.label:
        return ()
    return tuple(dict.fromkeys(category for items in shelf for category in _belonging_to(items, region)))


def _belonging_to(items: Items[Any], region: Region) -> Iterable[str]:
    """What the shop says of the label, or of those it stands for; else what the names of its categories say."""
    said, known = items.look_categories, categories_of(items)
    if region.label in said:
        return said[region.label]
    if said.keys().isdisjoint(region.alternatives):
        return likely_categories(region.label, known, region.alternatives)
    each = (said.get(label) or likely_categories(label, known) for label in region.alternatives)
    return [category for categories in each for category in categories]


def _given(regions: Iterable[Box]) -> list[Region]:
    if isinstance(regions, str | bytes) or not isinstance(regions, Iterable):
        raise _bad_region(regions)
    boxes = [as_region(box) for box in regions]
    if len(boxes) > MAX_REGIONS:
        raise BadQuery(
            _("There are %(count)d regions; send at most %(most)d.") % {"count": len(boxes), "most": MAX_REGIONS},
            field="regions",
        )
    _check_area(boxes)
    return boxes


def as_region(box: object, label: str = "") -> Region:
    """A region from x, y, width and height (0..1 of the photo), under ``label`` if there is one.

    :raises BadQuery: if it is none, or does not lie within the photo.
    """
    if isinstance(box, Region):
        region = box
    elif isinstance(box, Sequence) and not isinstance(box, str | bytes) and len(box) == 4:
        if not all(isinstance(side, int | float) and not isinstance(side, bool) for side in box):
            raise _bad_region(box)
        x, y, width, height = (float(side) for side in box)
        region = Region(x, y, width, height)
    else:
        raise _bad_region(box)
    if label:
        region = replace(region, label=label)
    inside = 0 <= region.x <= 1 and 0 <= region.y <= 1 and 0 < region.width <= 1 and 0 < region.height <= 1
    slack = 1e-6
    if not inside or region.x + region.width > 1 + slack or region.y + region.height > 1 + slack:
        raise _bad_region(box)
    return region


def _point(point: object) -> tuple[float, float]:
    if isinstance(point, Sequence) and not isinstance(point, str | bytes) and len(point) == 2:
        x, y = point
        if all(isinstance(c, int | float) and not isinstance(c, bool) and 0 <= c <= 1 for c in (x, y)):
            return float(x), float(y)
    raise BadQuery(
        _("%(point)s is no point; give x and y from 0 to 1.") % {"point": repr(point)[:80]},
        field="point",
    )


def _under(boxes: Sequence[Region], point: tuple[float, float], size: tuple[int, int]) -> Region:
    """The smallest region that holds the point; else a square around it, a third of the photo's shorter side."""
    x, y = point
    holding = [b for b in boxes if b.x <= x <= b.x + b.width and b.y <= y <= b.y + b.height]
    if holding:
        return min(holding, key=lambda b: b.width * b.height)
    width, height = (TAPPED * min(size) / side for side in size)
    left, top = min(max(0.0, x - width / 2), 1 - width), min(max(0.0, y - height / 2), 1 - height)
    return Region(left, top, width, height)


def _bad_region(box: object) -> BadQuery:
    return BadQuery(
        _("%(box)s is no region; give x, y, width and height from 0 to 1 that lie within the photo.")
        % {"box": repr(box)[:80]},
        field="regions",
    )


def _is_sound(region: Region, size: tuple[int, int]) -> bool:
    try:
        _pixels(region, size)
    except BadQuery:
        return False
    return True


def _pixels(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the region in a photo of ``size``.

    :raises BadQuery: if it is too small or too narrow to be compared.
    """
    left, top, right, bottom = region.pixels(size)
    try:
        images.check_shape((right - left, bottom - top))
    except BadImage as error:
        raise BadQuery(
            _("The region at %(x).3f, %(y).3f is too small or too narrow to be compared; draw a larger one.")
            % {"x": region.x, "y": region.y},
            field="regions",
        ) from error
    return left, top, right, bottom


def _check_area(boxes: Sequence[Region]) -> None:
    """:raises BadQuery: if the boxes cover one another so much that they ask for the same pixels over and over."""
    if sum(box.width * box.height for box in boxes) > MAX_AREA:
        raise BadQuery(
            _("The regions together are larger than %(most)d photos; draw smaller ones.") % {"most": MAX_AREA},
            field="regions",
        )
