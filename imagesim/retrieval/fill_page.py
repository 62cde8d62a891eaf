"""Fill a page of hits although some of the items that an index finds are no longer shown."""

from __future__ import annotations

from dataclasses import replace

from imagesim.items.hydrate import hits_of, load_items
from imagesim.retrieval.concurrency import check_deadline
from imagesim.retrieval.retriever import Retriever
from imagesim.types import Hit, Hits, Query

MAX_ROUNDS = 4
"""The maximum number of requests for one page."""

GROWTH = 4
"""The factor by which each further request asks for more candidates per hit that the page lacks."""

MAX_CANDIDATES = 100
"""The maximum number of candidates of a further request, unless the page itself lacks more."""


def fill_page(query: Query, retriever: Retriever) -> tuple[Hits, float]:
    """Search and load the items, and continue the search while the page lacks hits because some items are no longer
    shown. Return the hits, and the best match by texts.

    Such items are often next to each other, for example listings that ended on the same day, so each further request
    asks for more. The next page continues after the last hit.
    """
    hits: list[Hit] = []
    closest: list[Hit] = []
    match, position, more, exact, cut = 0.0, query.offset, True, True, 0
    for number in range(MAX_ROUNDS):
        lacking = query.limit - len(hits)
        limit = max(lacking, min(lacking * GROWTH**number, MAX_CANDIDATES))
        (found,) = retriever.search([replace(query, limit=limit, offset=position)])
        items = load_items((each.key for each in (*found.candidates, *found.closest)), query.filters.in_stock)
        closest, cut = closest or hits_of(found.closest, items), max(cut, found.cut)
        match = max([match, *(each.text for each in found.candidates)])
        exact = exact and found.exact
        shown = [place for place, each in enumerate(found.candidates) if each.key in items]
        is_full = len(shown) > lacking
        used = shown[lacking - 1] + 1 if is_full else len(found)
        hits += hits_of(found.candidates[:used], items)
        position, more = position + used, is_full or found.more
        if len(hits) == query.limit or not more:
            break
        check_deadline()
    closest = [] if hits else closest
    return Hits(hits, more=more, exact=exact, next_offset=position, cut=cut, closest=closest), match
