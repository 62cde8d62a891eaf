"""Suggestions for words that are being typed: names of items, categories and brands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imagesim import paths
from imagesim.indexes.analysis import Token, analyse, base_language
from imagesim.monitoring.timing import timed
from imagesim.registry import registry
from imagesim.retrieval.hydrate import load
from imagesim.retrieval.params import SearchRequest, takes
from imagesim.retrieval.retriever import open_index
from imagesim.types import Hit, Query

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from imagesim.retrieval.params import SuggestArguments

WINDOW = 24
"""Entries whose texts are read."""

BEST_SHARE = 0.5
"""Of the best match; what matches less is not suggested."""

Kind = Literal["item", "category", "brand"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggestion, and an item for it: itself, or one of its category or brand."""

    text: str
    kind: Kind
    hit: Hit


@takes("suggest")
@timed("search.suggest")
def suggest(text: str, **arguments: Unpack[SuggestArguments]) -> list[Suggestion]:
    """Categories, brands and items whose texts have the words being typed, each kind best first.

    Only what :attr:`Items.text` names is searched: no model is loaded, and nothing is embedded.

    :raises BadQuery: naming the bad argument and the good ones.
    :raises NotRegistered: if ``model`` is not registered.
    :raises SearchIndexError: if the index is down or missing.
    """
    import numpy as np

    request = SearchRequest.create("suggest", {"text": text, **arguments})
    limit = request.limit
    filters = request.index_filters()
    index, meta = open_index(filters)
    if request.text is None or not meta.texts:
        return []
    nothing = np.empty(0, dtype=np.float32)
    query = Query(nothing, filters, WINDOW, text=request.text, typing=True, fingerprint=meta.fingerprint)
    (found,) = index.search([query])
    best = max((each.text for each in found.candidates), default=0.0)
    hits = load([each for each in found.candidates if each.text >= BEST_SHARE * best])[0]
    languages = {base_language(spec.language) for spec in meta.texts.values()}
    typed = {language: analyse(request.text, language)[-1:] for language in languages}
    groups = _distinct([group for hit in hits for group in _groups(hit, typed)])[: max(1, limit // 3)]
    items = _distinct([Suggestion(str(hit.item), "item", hit) for hit in hits])
    return [*groups, *items][:limit]


def _groups(hit: Hit, typed: Mapping[str, Sequence[Token]]) -> Iterator[Suggestion]:
    """The category and the brand of a hit that have a word beginning with the last one ``typed``, by language."""
    for path, spec in registry.for_item(hit.item).text_specs.items():
        kind: Kind | None = "category" if "categor" in path else "brand" if "brand" in path else None
        language = base_language(spec.language)
        last = typed.get(language)
        if kind is None or not last:
            continue
        for value in map(str, paths.read(hit.item, path)):
            if any(token.word.startswith(last[0].word) for token in analyse(value, language)):
                yield Suggestion(value, kind, hit)


def _distinct(suggestions: list[Suggestion]) -> list[Suggestion]:
    return list({each.text.casefold(): each for each in reversed(suggestions)}.values())[::-1]
