"""Fit the calibration of a catalogue and store it for the read side."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import Error as DatabaseError
from django.db.models import CharField, Max, Min
from django.db.models.functions import Cast
from django.utils import timezone

from imagesim.calibration import words_of
from imagesim.calibration.fit import Sample, fit
from imagesim.database import batched, put, stored_array
from imagesim.embedders import get_embedder_of
from imagesim.exceptions import ImagesimError
from imagesim.indexes import get_index
from imagesim.indexes.projections import project
from imagesim.indexing.fit_roles import Described, fit_roles, kind_of, parts_of
from imagesim.indexing.interruptions import INFRASTRUCTURE_ERRORS
from imagesim.items import Items
from imagesim.items.declarations import category_parents
from imagesim.items.hydrate import with_pks
from imagesim.items.keys import canonical_pk
from imagesim.items.measured_colours import colours_by_stem
from imagesim.items.paths import resolve
from imagesim.items.registry import registry
from imagesim.language.analysis import (
    Token,
    base_language,
    languages_of,
    listed_stems,
    naming,
    stop_words,
)
from imagesim.language.stem_collisions import stem_collisions
from imagesim.language.word_roles import has_digit
from imagesim.models import Embedding, ItemImage, StoredCalibration
from imagesim.types import IndexMeta

if TYPE_CHECKING:
    from imagesim.types import Vector

logger = logging.getLogger("imagesim.indexing")

MAX_ITEMS = 4_000
"""The maximum number of items of each model that a calibration is fitted on, chosen at random."""

MAX_CATEGORIES = 2_000
"""The maximum number of categories of each model of which two items are read in any case."""

MAX_NAMES = 200
"""The maximum number of categories whose names are used as queries by words."""

MOSTLY = 0.5
"""The share of items whose nearest item has the same head word, corrected for chance (Cohen's kappa), above which head
words are taken for kinds of things."""

Written = dict[str, set[Token]]
"""The words of texts, by language."""

CHUNK = 500
"""The number of items that are read at a time."""

MIN_ITEMS = 5
"""The minimum number of entries for an automatic calibration."""


def is_outgrown(growth: float, *, known: int = 0) -> bool:
    """Return whether the active index has ``growth`` times the entries that it had when it was calibrated, or at least
    :data:`MIN_ITEMS` if it was never calibrated when it had entries.

    ``known``: a minimum for the number of entries to compare with, for example that before a sync.
    """
    index = get_index()
    index.refresh()
    meta = index.meta()
    row = StoredCalibration.objects.filter(fingerprint=meta.fingerprint, projection=meta.projection).first()
    known = max(known, row.items if row else 0)
    return index.count() >= (growth * known or MIN_ITEMS)


def calibrate_quietly(backing_index: str | None = None, *, filled: bool = True) -> None:
    """Call :func:`calibrate`; a failure is logged, and the previous calibration stays in use."""
    try:
        calibrate(backing_index, filled=filled)
    except (ImagesimError, DatabaseError, ValueError) as error:
        logger.warning("The calibration could not be fitted: %s", error, extra={"event_name": "calibration.failed"})
    except INFRASTRUCTURE_ERRORS:
        raise
    except Exception:  # the shop's own code, such as its category tree
        logger.exception("The calibration could not be fitted", extra={"event_name": "calibration.failed"})


def calibrate(backing_index: str | None = None, *, filled: bool = True) -> StoredCalibration | None:
    """Fit the calibration of an index, the active one by default, on the stored embeddings, and store it. Return None
    if there are no embeddings.

    ``filled``: whether the index has its entries already. If not, none are counted, so the calibration is fitted again
    at the end of the sync that fills the index.

    :raises IndexMissing: if there is no such index.
    """
    index = get_index()
    meta, count = index.meta(backing_index), index.count(backing_index=backing_index) if filled else 0
    catalogue = _catalogue(meta)
    if catalogue is None:
        return None
    languages = languages_of(meta)
    roles = fit_roles(catalogue.described, catalogue.sample.departments, colours_by_stem(languages))
    collisions = stem_collisions({language: catalogue.written[language] for language in languages})
    calibration = replace(fit(catalogue.sample), roles=replace(roles, collisions=collisions))
    values = {"data": calibration.to_json(), "items": count, "created_at": timezone.now()}
    return put(StoredCalibration, values, fingerprint=meta.fingerprint, projection=meta.projection)


class _Catalogue(NamedTuple):
    """What a calibration is fitted on: a ``sample`` of items with their vectors, the texts of entries (``described``),
    and all their words (``written``)."""

    sample: Sample
    described: list[Described]
    written: Written


def _catalogue(meta: IndexMeta) -> _Catalogue | None:
    """Read some items of every registered model, with their texts and some of their first images. Return None if no
    image has a vector.

    For each set of languages, only one variant of a group is described, with the numbers and sizes in the texts of all
    of them. An item has the categories of its whole group: if a product has a row for each language, both "watches" and
    "Uhren".
    """
    import numpy as np

    vectors: dict[int, Vector] = {}  # by the number of the item
    categories: list[frozenset[str]] = []
    groups: list[str] = []
    described: dict[tuple[str, frozenset[str]], Described] = {}
    written: Written = defaultdict(set)
    departments: dict[str, frozenset[str]] = {}
    parents: dict[str, Collection[str]] = {}
    for items in registry:
        for vector, item in _items(items, meta):
            try:
                found, group = frozenset(items.get_categories(item)), items.group_key_of(item)
                texts = items.get_texts(item)
                one = (group, frozenset(items.text_specs[path].language for path in texts))
                words = _described(items, texts, found, written)
            except INFRASTRUCTURE_ERRORS:
                raise
            except Exception as error:  # the shop's code fails on this item; its sync stores the error
                logger.warning("%s is left out of the calibration: %s", items.key_of(item), error)
                continue
            if vector is not None:
                vectors[len(groups)] = vector
            categories.append(found)
            groups.append(group)
            described[one] = _with_numbers(described[one], words) if one in described else words
        above = category_parents(items)
        departments |= departments_of(above)
        parents |= above
    if not vectors:
        return None
    chosen = [groups[number] for number in vectors]
    sampled = _of_groups(chosen, zip(groups, categories, strict=True))
    names = embed_words(meta, sorted(frozenset().union(*sampled)), parents)
    matrix = project(np.stack([*vectors.values()]), meta.projection)
    sample = Sample(matrix, sampled, chosen, departments, names)
    if not any(categories):
        heads = ((group, words.heads) for (group, _), words in described.items())
        sample = by_heads(sample, _of_groups(chosen, heads))
    return _Catalogue(sample, _with_compounds(list(described.values()), written), written)


def _of_groups(groups: Sequence[str], found: Iterable[tuple[str, frozenset[str]]]) -> list[frozenset[str]]:
    """Return for each item, given by its group, all words found for any item of the group. ``found``: pairs of a group
    and words."""
    together: dict[str, frozenset[str]] = defaultdict(frozenset)
    for group, words in found:
        together[group] |= words
    return [together[group] for group in groups]


def by_heads(sample: Sample, heads: Sequence[frozenset[str]]) -> Sample:
    """Return ``sample``, which has no categories, with the ``heads`` of the items' names as its categories.

    Only heads shared by the names of several groups count, and items without such a head are left out. The sample is
    returned unchanged if the heads seem to name something other than kinds of things (see :data:`MOSTLY`), for example
    collections.
    """
    import numpy as np

    groups_of: dict[str, set[str]] = defaultdict(set)
    for group, words in zip(sample.groups, heads, strict=True):
        for word in words:
            groups_of[word].add(group)
    shared = [frozenset(word for word in words if len(groups_of[word]) > 1) for words in heads]
    kept: list[int] = np.flatnonzero([bool(words) for words in shared]).tolist()
    named = Sample(sample.vectors[kept], [shared[i] for i in kept], [sample.groups[i] for i in kept])
    groups, nearest, chance = np.array(named.groups), 0, 0.0
    asked = random.Random(0).sample(range(len(kept)), min(len(kept), MAX_NAMES))
    for number in asked:
        others = groups != groups[number]
        same = np.array([not named.categories[number].isdisjoint(words) for words in named.categories])
        nearest += same[np.where(others, named.vectors @ named.vectors[number], -np.inf).argmax()]
        chance += same[others].mean()
    return named if nearest - chance > MOSTLY * (len(asked) - chance) else sample


def _described(
    items: Items[Any], texts: Mapping[str, Sequence[str]], categories: frozenset[str], written: Written
) -> Described:
    """Return the words of an item's texts, and add them to ``written``."""
    specs = items.text_specs
    top = max((spec.weight for spec in specs.values()), default=1.0)
    weights: dict[str, float] = {}
    name: set[str] = set()
    listed: set[str] = set()
    called: set[tuple[str, ...]] = set()
    heads: set[str] = set()
    for path, values in texts.items():
        spec = specs[path]
        language = base_language(spec.language)
        tokens = {token for value in values for token in naming(value, language)}
        written[language] |= tokens
        stems = {token.stem for token in tokens if token.word not in stop_words((language,))}
        weight = 1.0 if spec.category else spec.weight / top
        if spec.category:
            listed |= listed_stems(values, language)
            stems -= listed
            called.update(kind_of(value, language) for value in values)
        elif weight == 1.0:
            name |= stems
            heads.update(
                head for value in values for head in [w for w in kind_of(value, language) if not has_digit(w)][-1:]
            )
        for stem in stems:
            weights[stem] = max(weights.get(stem, 0.0), weight)
    if not any(spec.category for spec in specs.values()):  # only the key says what the category is called
        called = {
            kind_of(words_of(each), base_language(spec.language)) for each in categories for spec in specs.values()
        }
    return Described(
        categories,
        weights,
        frozenset(name),
        frozenset(listed),
        frozenset(called),
        frozenset(heads),
    )


def _with_numbers(entry: Described, variant: Described) -> Described:
    """Return the entry with those words of one of its variants that contain a digit, such as "M8" for a screw."""
    further = {stem: weight for stem, weight in variant.words.items() if stem not in entry.words and has_digit(stem)}
    return replace(entry, words={**entry.words, **further}) if further else entry


def _with_compounds(entries: Sequence[Described], written: Written) -> list[Described]:
    """Return the entries; those in a category such as "Couchtische" are also called tables if the texts contain that
    word by itself."""
    stems = {language: {token.stem for token in tokens} for language, tokens in written.items()}
    found: dict[str, tuple[str, ...]] = {}
    for head in {name[-1] for entry in entries for name in entry.called if name}:
        found[head] = next(filter(None, (parts_of(head, known, language) for language, known in stems.items())), ())
    return [
        _with_parts(entry, {(*name[:-1], *found[name[-1]]) for name in entry.called if name and found[name[-1]]})
        for entry in entries
    ]


def _with_parts(entry: Described, names: Collection[tuple[str, ...]]) -> Described:
    """Return an entry whose categories are also called by these ``names``."""
    words = dict(entry.words) | {name[-1]: 1.0 for name in names}
    return replace(entry, words=words, called=entry.called.union(names)) if names else entry


def _items(items: Items[Any], meta: IndexMeta) -> Iterator[tuple[Vector | None, Any]]:
    """Yield up to :data:`MAX_ITEMS` items of a model, each with the vector of its first image, before projection, if it
    is stored; if there are more items, also two of every category, without their vectors.

    Otherwise a large shop could seem to have no tights, and "tights" would be replaced by its synonym "leggings".
    """
    rows = ItemImage.objects.filter(state__model=items.label, position=0).exclude(digest="")
    every = list(rows.order_by("state_id").values_list("pk", flat=True))
    chosen, further = set(every), set[int]()
    if len(every) > MAX_ITEMS:
        chosen = set(random.Random(0).sample(every, MAX_ITEMS))
        for keys in batched(_two_of_every_category(items), CHUNK):
            further.update(rows.filter(state__object_pk__in=keys).values_list("pk", flat=True))
    for page in batched((pk for pk in every if pk in chosen or pk in further), CHUNK):
        # By the primary keys alone: with the conditions above, SQLite reads all images of the model.
        images = ItemImage.objects.filter(pk__in=page).values_list("pk", "state__object_pk", "digest")
        digests = {object_pk: digest if pk in chosen else "" for pk, object_pk, digest in images}
        stored = Embedding.objects.filter(fingerprint=meta.fingerprint, digest__in=set(digests.values()))
        known = {digest: stored_array(vector) for digest, vector in stored.values_list("digest", "vector")}
        for item in items.for_reading(with_pks(items.get_queryset(), digests)):
            yield known.get(digests.get(items.pk_of(item), "")), item


def _two_of_every_category(items: Items[Any]) -> list[str]:
    """Return the primary keys of two items of every category, up to :data:`MAX_CATEGORIES`; none if the category is not
    a field."""
    end = resolve(items.model, items.category) if items.category else None
    if end is None or end.field is None:
        return []
    pk = Cast("pk", CharField())  # PostgreSQL has no minimum of UUIDs
    categories = items.get_queryset().filter(**end.conditions).order_by().values(end.lookup)
    found = categories.annotate(first=Min(pk), last=Max(pk)).values_list("first", "last")[:MAX_CATEGORIES]
    return [str(canonical_pk(items.model, each)) for first_and_last in found for each in first_and_last]


def departments_of(parents: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Return each category with its siblings under the same parents."""
    children: dict[str, set[str]] = {}
    for category, above in parents.items():
        for parent in above:
            children.setdefault(parent, set()).add(category)
    return {
        category: frozenset({category}).union(*(children[parent] for parent in above))
        for category, above in parents.items()
    }


def embed_words(
    meta: IndexMeta, categories: Sequence[str], parents: Mapping[str, Collection[str]] = MappingProxyType({})
) -> tuple[Vector, Sequence[str]] | None:
    """Return the projected vectors (n, dims) of the first categories' names, and these categories, without names that
    are not words. None if there are no names, or the model embeds no texts."""
    words = {each: words_of(each, parents.get(each, ())) for each in categories}
    named = list(filter(words.__getitem__, categories))[:MAX_NAMES]
    try:
        embedder = get_embedder_of(meta.fingerprint)
        if not named or not embedder.supports_texts:
            return None
        vectors = embedder.embed_texts([words[name] for name in named])
    except ImagesimError as error:
        logger.info("Words use the prior of the calibration: %s", error)
        return None
    return project(vectors, meta.projection), named
