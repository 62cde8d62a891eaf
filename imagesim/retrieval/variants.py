"""Variants: the interface for other apps, such as ``imagesim.experiments``, to search otherwise for some visitors.

A chooser is asked for the variant of the current visitor before each query. Its settings are defaults: what the caller
gives explicitly stays. Without a chooser nothing is done.
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
    """What a visitor gets. ``key`` identifies it in rules and cached answers, such as ``"7:B"``; ``defaults`` are
    arguments of a query; ``backing_index`` is searched in place of the active one."""

    key: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    backing_index: str = ""

    def apply(self, given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Return the arguments of a call with the defaults of this variant; ``names`` are those that the call has."""
        arguments = dict(given)
        for name, value in self.defaults.items():
            if name in names and isinstance(arguments.get(name, PAGE), PageDefault):
                arguments[name] = value
        return arguments


class PageDefault(float):
    """A number that a page gives as its default, so that a variant may replace it."""


PAGE = PageDefault()


class Choice(NamedTuple):
    """A variant that a rule can be for; ``runs``: whether there are visitors in it now; ``places``: the kinds of
    queries for which there are."""

    key: str
    name: str
    runs: bool
    places: Collection[str]


class Chooser(Protocol):
    """Returns the variant of the current visitor for a kind of query, or None. ``choices`` are the variants that there
    are or will be, for forms. ``lost`` is called when the backing index of a variant no longer exists, so
    that the active one answers."""

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
