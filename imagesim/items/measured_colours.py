"""The main colours measured in items' images: stored by digest, and read as values of a filter.

``Items.measured_colours`` names the filter. A value of the shop's own takes precedence over what was measured. The
names of both are also texts of the entry, so that "white sneakers" finds white ones first even if no text calls them
white.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import router
from django.utils.translation import override

from imagesim.database import batched, primary, retry_conflicts
from imagesim.filter_types import several
from imagesim.images import colours
from imagesim.items.declarations import require_dict
from imagesim.items.hydrate import fact_of
from imagesim.models import ImageColours, ItemImage, ItemState
from imagesim.types import Condition, Filters, FilterValue, TextSpec

if TYPE_CHECKING:
    from django.db import models

    from imagesim.items import Items
    from imagesim.types import IndexMeta

PAGE = 500
"""Rows read at once."""

TEXT_WEIGHT = 2 / 3
"""The weight of a colour's name, relative to the largest of the texts: less than that of an item's name."""

EMPTY: tuple[FilterValue, ...] = (None, "", ())
"""Values of a filter that count as none."""


def stored(digests: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the main colours of the images that the current rule has measured, by digest."""
    found: dict[str, tuple[str, ...]] = {}
    for page in batched(sorted(set(digests)), PAGE):
        rows = ImageColours.objects.filter(rule=colours.RULE, digest__in=page)
        found.update({row.digest: tuple(row.colours) for row in rows})
    return found


@retry_conflicts
def store(measured: Mapping[str, Sequence[str]]) -> None:
    """Store the main colours of images by digest, in place of what another rule measured."""
    rows = [ImageColours(digest=d, rule=colours.RULE, colours=list(names)) for d, names in sorted(measured.items())]
    ImageColours.objects.filter(digest__in=list(measured)).exclude(rule=colours.RULE).delete()
    primary(ImageColours).bulk_create(rows, ignore_conflicts=True)


def has_to_measure(items: Items[Any], item: models.Model) -> bool:
    """Return whether an item's images are to be measured: the shop asks for it, and gives no value of its own."""
    name = items.measured_colours
    return bool(name) and require_dict(items, "get_filters", items.get_filters(item)).get(name) in EMPTY


def with_measured(
    items: Items[Any], values: Mapping[str, FilterValue], images: Sequence[tuple[str, ...]]
) -> dict[str, FilterValue]:
    """Return an item's filter values with the measured colours of its images, unless it has a value of its own."""
    name = items.measured_colours
    if not name or values.get(name) not in EMPTY:
        return dict(values)
    names = tuple(dict.fromkeys(colour for each in images for colour in each))
    return {**values, name: names if len(names) > 1 else names[0] if names else None}


def filter_values(items: Items[Any], objects: Sequence[models.Model]) -> list[dict[str, FilterValue]]:
    """Return the filter values of items of one model, in their order, as the index has them; takes at most two
    queries."""
    values: list[dict[str, FilterValue]] = [fact_of(item, "get_filters", {}) for item in objects]
    name = items.measured_colours
    if not name or all(own.get(name) not in EMPTY for own in values):
        return values
    images: dict[str, list[str]] = {}
    rows = ItemImage.objects.using(str(router.db_for_write(ItemState))).filter(
        state__model=items.label, state__object_pk__in=[items.pk_of(item) for item in objects], error=""
    )
    for pk, digest in rows.order_by("position").values_list("state__object_pk", "digest"):
        images.setdefault(pk, []).append(digest)
    known = stored([digest for digests in images.values() for digest in digests])
    return [
        with_measured(items, own, [known.get(digest, ()) for digest in images.get(items.pk_of(item), ())])
        for item, own in zip(objects, values, strict=True)
    ]


def text_specs(items: Items[Any]) -> dict[str, TextSpec]:
    """Return the fields of the colours' names, one for each language of the items' texts."""
    specs = items.text_specs.values()
    weight = TEXT_WEIGHT * max((spec.weight for spec in specs), default=0.0)
    languages = dict.fromkeys(spec.language for spec in specs if items.measured_colours)
    return {_field(items, language): TextSpec(weight, language, colours=True) for language in languages}


def texts(items: Items[Any], values: Mapping[str, FilterValue]) -> dict[str, tuple[str, ...]]:
    """Return the names of an item's colours in each language of its texts; ``values`` are those of its filters."""
    given = values.get(items.measured_colours or "")
    own = [str(each) for each in several(given) if each not in EMPTY]
    found = {}
    for name, spec in text_specs(items).items() if own else ():
        with override(spec.language):
            found[name] = tuple(word for each in own for word in colours.words_for(each))
    return found


@lru_cache(maxsize=64)
def colours_by_stem(languages: tuple[str, ...]) -> Mapping[str, str]:
    """Return the colours by the stems of their names in these languages, and in English."""
    from imagesim.language.analysis import analyse, stem_of  # pages without words need not load it
    from imagesim.language.word_forms import irregular_forms

    found: dict[str, str] = {}
    for language in languages:
        for spoken in ("en", language):
            with override(spoken):
                named = [(word, colour) for colour in colours.COLOURS for word in colours.words_for(colour)]
            tokens = [(token, colour) for word, colour in named for token in analyse(word, language)]
            found.update((token.stem, colour) for token, colour in tokens)
            for token, colour in tokens:
                for form in irregular_forms(token.word, language):  # the Swedish "rött" and the Japanese "レッド"
                    found.setdefault(stem_of(form, language), colour)
    return found


def filters_for(searched: Sequence[Items[Any]], stems: Collection[str], meta: IndexMeta) -> tuple[Filters, ...]:
    """Return filters for items in one of the colours whose names have these stems in the languages of an index."""
    if not stems:
        return ()
    from imagesim.language.analysis import languages_of  # as above

    languages = languages_of(meta)
    known = colours_by_stem(languages)
    names = {known[stem] for stem in stems if stem in known}
    for language in languages:
        with override(language):
            names |= {word for name in names & {*colours.COLOURS} for word in colours.words_for(name)}
    values = tuple(sorted(names | {name.capitalize() for name in names}))
    fields = dict.fromkeys(items.measured_colours for items in searched if items.measured_colours in meta.filters)
    return tuple(Filters(conditions=(Condition(str(field), "in", values),)) for field in fields if values)


def _field(items: Items[Any], language: str) -> str:
    return f"{items.measured_colours}:{language}"  # no path has a colon
