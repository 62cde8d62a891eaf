"""Variants: the interface for other apps, such as ``imagesim.experiments``, to use other settings for some visitors.

A chooser is asked for the variant of the current visitor before each query. The settings of a variant are defaults:
arguments that the caller gives explicitly stay. Without a chooser, no visitor has a variant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from imagesim.conf import get_settings
from imagesim.retrieval.extension import Extension

Where = Literal["similar", "words", "photo", "look"]
"""The kind of query: similar items, words, a photo (with or without words), or all regions of a photo."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The settings for some visitors.

    ``key`` identifies the variant in rules and cached answers, such as ``"7:B"``; ``defaults`` are arguments of a
    query; ``backing_index`` is searched in place of the active one, unless it is empty.
    """

    key: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    backing_index: str = ""

    def apply(self, given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Return the arguments of a call with the defaults of this variant; ``names``: those that the call accepts."""
        arguments = dict(given)
        for name, value in self.defaults.items():
            if name in names and isinstance(arguments.get(name, PAGE), PageDefault):
                arguments[name] = value
        return arguments


class PageDefault(float):
    """A number that a page gives as its default, so that a variant may replace it."""


PAGE = PageDefault()


class Choice(NamedTuple):
    """A variant for which there can be a rule. ``runs``: whether visitors have it now; ``places``: the kinds of queries
    for which they have it."""

    key: str
    name: str
    runs: bool
    places: Collection[str]


class Chooser(Protocol):
    """Returns the variant of the current visitor for a kind of query, or None.

    ``choices`` returns the present and the planned variants, for forms. ``lost`` is called when the backing index of a
    variant no longer exists; the active one answers in its place.
    """

    def variant(self, where: Where, /) -> Variant | None: ...

    def lost(self, backing_index: str, /) -> None: ...

    def choices(self) -> list[Choice]: ...


class _NoChooser:
    def variant(self, where: Where, /) -> None:
        return None

    def lost(self, backing_index: str, /) -> None:
        pass

    def choices(self) -> list[Choice]:
        return []


_extension: Extension[Chooser] = Extension(_NoChooser())
register, active, replaced_by = _extension.register, _extension.active, _extension.replaced_by


def current(where: Where) -> Variant | None:
    """Return the variant of the current visitor for a kind of query."""
    return active().variant(where)


def key_of(where: Where) -> str:
    """Return the key of the current visitor's variant; empty if there is none."""
    variant = current(where)
    return "" if variant is None else variant.key


def page_floor() -> PageDefault:
    """Return ``MIN_RELEVANCE`` for ``min_relevance``: the default of pages, which a variant may replace."""
    return PageDefault(get_settings().MIN_RELEVANCE)
