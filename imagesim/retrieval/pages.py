"""Fill a page with hits, while the index still has items that the shop no longer shows."""

from __future__ import annotations

from dataclasses import replace

from imagesim.hydrate import hits_of, load_items
from imagesim.retrieval.concurrency import check_deadline
from imagesim.retrieval.retriever import Retriever
from imagesim.types import Hit, Hits, Query

MAX_ROUNDS = 4
"""The maximum number of requests for one page."""

GROWTH = 4
"""How many times more candidates each further request asks for, for each hit that the page lacks."""

MAX_CANDIDATES = 100
"""The number of candidates that a further request asks for at most, unless the page itself lacks more."""


def fill_page(query: Query, retriever: Retriever) -> tuple[Hits, float]:
    """Search and load the items, and continue the search while some of them are no longer shown. Return the hits, and
    the best match by texts.

    Those that are not shown are often next to each other, such as listings of a kind that ended on the same day, so
    that each further request asks for more. The hits end where the page is full: the next page continues behind the
    last of them.
    """
    hits: list[Hit] = []
    closest: list[Hit] = []
    took_ms, match, position, more, exact, cut = 0.0, 0.0, query.offset, True, True, 0
    for number in range(MAX_ROUNDS):
        lacking = query.limit - len(hits)
        limit = max(lacking, min(lacking * GROWTH**number, MAX_CANDIDATES))
        (found,) = retriever.search([replace(query, limit=limit, offset=position)])
        items = load_items((each.key for each in (*found.candidates, *found.closest)), query.filters.in_stock)
        closest, cut = closest or hits_of(found.closest, items), max(cut, found.cut)
        match = max([match, *(each.text for each in found.candidates)])
        took_ms += found.took_ms
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
    return Hits(hits, more=more, took_ms=took_ms, exact=exact, next_offset=position, cut=cut, closest=closest), match
