"""The types of the attributes of ``Items``, and of what its methods give: what Python would not find out, or only when
an item is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.utils.functional import Promise

from imagesim.exceptions import ConfigurationError


def require_types(items: Any) -> None:
    """:raises ConfigurationError: naming the first attribute of a declaration that is not of its type."""
    if not isinstance(items.measured_colours, str):
        raise ConfigurationError(
            f"{type(items).__name__}.measured_colours must be the name of a filter such as 'colour', not "
            f"{items.measured_colours!r}."
        )
    if not isinstance(items.images, str) and not _is_list_of_texts(items.images):
        raise ConfigurationError(
            f"{type(items).__name__}.images must be a path such as 'photos__file', or a list of paths, not "
            f"{items.images!r}."
        )
    for name in ("category", "category_parent", "in_stock", "group"):
        if not isinstance(getattr(items, name), str):
            raise ConfigurationError(
                f"{type(items).__name__}.{name} must be a path such as 'photos__file', not {getattr(items, name)!r}."
            )
    depends = items.depends_on
    if depends is not None and not (
        isinstance(depends, Collection)
        and not isinstance(depends, str)
        and all(isinstance(path, str) for path in depends)
    ):
        raise ConfigurationError(f"{type(items).__name__}.depends_on must be a list of paths, not {depends!r}.")
    look = items.look_categories
    if not isinstance(look, Mapping) or not all(
        isinstance(slugs, list | tuple) and all(isinstance(text, str) for text in (label, *slugs))
        for label, slugs in look.items()
    ):
        raise ConfigurationError(
            f"{type(items).__name__}.look_categories must be a dict of lists of categories, such as "
            f"{{'shoes': ['sneakers', 'boots']}}, not {look!r}."
        )
    text = {} if items.text is None else items.text
    if not isinstance(text, Mapping) or not all(
        isinstance(path, str) and isinstance(weight, int | float) and 0 < weight <= 100 for path, weight in text.items()
    ):
        raise ConfigurationError(
            f"{type(items).__name__}.text must be a dict of paths with weights above 0 and up to 100, such as "
            f"{{'name': 3, 'brand__name': 2}}, not {items.text!r}."
        )
    examples = {
        "filters": {"brand": "brand__name"},
        "filter_kinds": {"size": "keyword"},
        "related": {"stock.Record": "product"},
        "text_languages": {"description": "de"},
    }
    for name, example in examples.items():
        value = getattr(items, name)
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            raise ConfigurationError(
                f"{type(items).__name__}.{name} must be a dict of texts such as {example!r}, not {value!r}."
            )


def image_paths(items: Any) -> tuple[str, ...]:
    """The paths of ``images``, one or several."""
    return (items.images,) if isinstance(items.images, str) else tuple(items.images)


def as_files(values: Iterable[Any]) -> list[Any]:
    """What a path of ``images`` gives, without empty files; the text of an address becomes a file to be fetched."""
    return [_remote(value) if isinstance(value, str) else value for value in values if value]


def each_once(files: Iterable[Any]) -> list[Any]:
    """The files without those whose name another one has: the main picture is often one of the others, too."""
    found: dict[object, Any] = {}
    for file in files:
        found.setdefault(getattr(file, "name", id(file)), file)
    return list(found.values())


def _remote(url: str) -> Any:
    from imagesim.images.remote import RemoteImage  # most shops store files

    return RemoteImage(url)


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def require_texts(items: Any, method: str, given: object) -> list[str]:
    """The texts that a method gives.

    :raises TypeError: if it gives anything else, such as one text, whose letters would be taken for them.
    """
    if isinstance(given, Iterable) and not isinstance(given, str):
        found = list(given)
        if all(isinstance(each, str | Promise | int | UUID) for each in found):
            return list(map(str, found))
    raise TypeError(f"{type(items).__name__}.{method}() gives {given!r:.100}; it must give a list of texts.")
