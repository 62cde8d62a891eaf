"""``suggest``: completions of the words being typed, found in the texts of items alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from asgiref.sync import sync_to_async
from django.utils.translation import get_language

from imagesim.indexes.text import TextIndex
from imagesim.items import paths
from imagesim.items.hydrate import load
from imagesim.items.registry import registry
from imagesim.language.analysis import Token, analyse, base_language, indexed, languages_of
from imagesim.language.word_roles import MENTION
from imagesim.metrics import timed
from imagesim.retrieval.params import SearchRequest, takes
from imagesim.retrieval.rerank import Question, plan_for
from imagesim.retrieval.retriever import GuardedIndex, open_index, retry_on_swap
from imagesim.types import Hit, IndexMeta, Query, TextSpec

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from imagesim.retrieval.params import SuggestArguments

SUGGESTED_WINDOWS = (24, 96)
"""The numbers of entries whose texts are read: those of the second window only if most of the first are no longer
shown, or are called by the words in other languages than the visitor's."""

BEST_SHARE = 0.5
"""The minimum share of the best match: entries that match less are not suggested."""

BRAND = re.compile(
    r"brand|(^|__)(maker|manufacturer|producer|vendor|designer|marke|hersteller|marca|marque|merk|marka|fabricante?|"
    r"fabrikant|produttore|producent)s?(_name)?($|__)"
)
"""The paths of brands, by the usual names of fields in the languages of the interface."""

SuggestionKind = Literal["item", "category", "brand"]
_Kind = Literal["category", "brand", ""]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggestion with a hit for it: the item itself, or one of the category or brand."""

    text: str
    kind: SuggestionKind
    hit: Hit


@takes("suggest")
@timed("search.suggest")
@retry_on_swap
def suggest(text: str, **arguments: Unpack[SuggestArguments]) -> list[Suggestion]:
    """Return categories and brands, then items, whose texts contain the words being typed, best first.

    Only the fields of :attr:`Items.text` are searched: no model is loaded, and nothing is embedded.

    :raises BadQuery: naming the bad argument and the good ones.
    :raises NotRegistered: if ``model`` is not registered.
    :raises SearchIndexError: if the index is down or missing.
    """
    import numpy as np

    request = SearchRequest.create("suggest", {"text": text, **arguments})
    limit = request.limit
    filters = request.index_filters()
    index, meta = open_index(filters, "words")
    if request.text is None or not meta.texts:
        return []
    plan = plan_for(Question("words", request, meta, request.text))
    nothing = np.empty(0, dtype=np.float32)
    query = Query(nothing, plan.filters(filters), text=request.text, typing=True, fingerprint=meta.fingerprint)
    # The last word alone: of several words, some in one piece come last. An "&" is none.
    last = next((each for each in reversed(request.text.split()) if any(map(str.isalnum, each))), "")
    typed = {language: analyse(last, language)[-1:] for language in languages_of(meta)}
    for shown in _shown(query, index, limit):
        hits, names = _named(shown, query, meta)
        begun = [(hit, list(_begun(hit, typed, names))) for hit in hits]
        # No English visitor who types "sof" is looking for a "Sofortbildkamera".
        meant = [hit for hit, texts in begun if not texts or any(each.own for each in texts)]
        if len(meant) == len(hits) or 2 * len(meant) >= limit:
            break  # otherwise names in other languages have left too few
    groups = [
        Suggestion(each.value, each.kind, hit) for hit, texts in begun for each in texts if each.kind and each.own
    ]
    items = [Suggestion(str(hit.item), "item", hit) for hit in meant]
    return [*_distinct(groups)[: max(1, limit // 3)], *_distinct(items)][:limit]


asuggest = sync_to_async(suggest)


def _shown(query: Query, index: GuardedIndex, limit: int) -> Iterator[list[Hit]]:
    """Yield the best matches of the query whose items are shown, at least ``limit`` if there are that many; then more,
    until there are none."""
    hits: list[Hit] = []
    best, offset = 0.0, 0
    for window in SUGGESTED_WINDOWS:
        (found,) = index.search([replace(query, limit=window, offset=offset)])
        best = max([best, *(each.text for each in found.candidates)])
        matching = [each for each in found.candidates if each.text >= BEST_SHARE * best]
        hits += load(matching, in_stock=query.filters.in_stock)[0]
        is_last = len(matching) < len(found) or not found.more or window == SUGGESTED_WINDOWS[-1]
        if is_last or len(hits) >= min(limit, window):
            yield hits
        if is_last:
            return  # the rest match even less
        offset += window


def _named(hits: Sequence[Hit], query: Query, meta: IndexMeta) -> tuple[Sequence[Hit], Collection[str]]:
    """Return the hits whose names, categories or brands match the query, with the paths of these texts; all hits and
    all texts if only descriptions match. A visitor who types "head phones" is not looking for a tripod whose head
    turns phones."""
    least = MENTION * max(spec.weight for spec in meta.texts.values())
    specs = {name: spec for name, spec in meta.texts.items() if spec.weight >= least or _kind_of(name, spec)}
    if len(specs) == len(meta.texts):
        return hits, specs
    names = TextIndex(specs)
    for number, hit in enumerate(hits):
        names.add(number, {path: values for path, _spec, values in _texts_of(hit, specs)})
    names.settle()
    found = [hits[number] for number in names.match(query).slots.tolist()]
    return (found, specs) if found else (hits, meta.texts)


def _texts_of(hit: Hit, names: Collection[str]) -> Iterator[tuple[str, TextSpec, list[str]]]:
    """Yield the path, the spec and the values of each text of a hit that is among ``names`` and was loaded with it."""
    deferred = hit.item.get_deferred_fields()  # reading them would take a query for each hit
    for path, spec in registry.for_item(hit.item).text_specs.items():
        if path in names and path not in deferred:
            yield path, spec, [str(each) for each in paths.read(hit.item, path)]


def _kind_of(path: str, spec: TextSpec) -> _Kind:
    """Return the kind of group that the text at a path names; empty if it names none."""
    if spec.category or "categor" in path:  # the latter if get_categories() is overridden
        return "category"
    return "brand" if BRAND.search(path) else ""


class _Begun(NamedTuple):
    """A text of an item with a word that begins with the last one typed.

    ``kind``: which kind of group it names, or empty; ``own``: it is in the visitor's language, or has no translation
    into it.
    """

    value: str
    kind: _Kind
    own: bool


def _begun(hit: Hit, typed: Mapping[str, Sequence[Token]], names: Collection[str]) -> Iterator[_Begun]:
    """Yield those texts of a hit that are among ``names`` and have a word that begins with the last one typed;
    ``typed`` has it for each language."""
    own, texts = base_language(get_language() or ""), list[tuple[_Kind, str, str, list[str]]]()
    for path, spec, values in _texts_of(hit, names):
        stem = path.removesuffix(f"_{paths.language_of(path)}".lower().replace("-", "_"))
        texts.append((_kind_of(path, spec), stem, base_language(spec.language), values))
    at_home = {stem for _kind, stem, language, values in texts if language == own and any(values)}
    for kind, stem, language, values in texts:
        for value in values if typed.get(language) else ():
            if any(token.word.startswith(typed[language][0].word) for token in indexed(value, language)):
                yield _Begun(value, kind, language == own or stem not in at_home)


def _distinct(suggestions: list[Suggestion]) -> list[Suggestion]:
    """Return the first suggestion of each text, in the same order."""
    found: dict[str, Suggestion] = {}
    for each in suggestions:
        found.setdefault(each.text.casefold(), each)
    return list(found.values())
