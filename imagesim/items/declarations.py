"""Type checks of the attributes of ``Items`` and of the values of its methods: errors that Python would not find, or
only when an item is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import isfunction
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.functional import Promise

from imagesim.exceptions import ConfigurationError
from imagesim.items import paths


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_dict_of_texts(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())


def _are_paths(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(path, str) for path in value)


def _are_categories(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(label, str) and _is_list_of_texts(slugs) for label, slugs in value.items()
    )


def _are_weights(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(path, str) and isinstance(weight, int | float) and 0 < weight <= 100
        for path, weight in value.items()
    )


_PATH = "a path such as 'photos__file'"
_TYPES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "measured_colours": (_is_text, "the name of a filter such as 'colour'"),
    "images": (lambda value: _is_text(value) or _is_list_of_texts(value), f"{_PATH}, or a list of paths"),
    **dict.fromkeys(("category", "category_parent", "in_stock", "group"), (_is_text, _PATH)),
    "depends_on": (lambda value: value is None or _are_paths(value), "a list of paths"),
    "look_categories": (_are_categories, "a dict of lists of categories, such as {'shoes': ['sneakers', 'boots']}"),
    "text": (
        lambda value: value is None or _are_weights(value),
        "a dict of paths with weights above 0 and up to 100, such as {'name': 3, 'brand__name': 2}",
    ),
    "filters": (_is_dict_of_texts, "a dict of strings such as {'brand': 'brand__name'}"),
    "filter_kinds": (_is_dict_of_texts, "a dict of strings such as {'size': 'keyword'}"),
    "related": (_is_dict_of_texts, "a dict of strings such as {'stock.Record': 'product'}"),
    "text_languages": (_is_dict_of_texts, "a dict of strings such as {'description': 'de'}"),
}
"""The attributes of a declaration: what each has to be, as a test and in words."""


def require_types(items: Any, base: type) -> None:
    """:raises ConfigurationError: naming the first attribute of a declaration that is not of its type, or that is not a
    method although ``base`` has it as one."""
    for name, (fits, wanted) in _TYPES.items():
        if not fits(value := getattr(items, name)):
            raise ConfigurationError(f"{type(items).__name__}.{name} must be {wanted}, not {value!r}.")
    for name, method in vars(base).items():
        if isfunction(method) and not callable(value := getattr(items, name)):
            kind = type(value).__name__  # the repr() of a queryset would query the database
            raise ConfigurationError(f"{type(items).__name__}.{name} must be a method, not of type {kind}.")


def image_paths(items: Any) -> tuple[str, ...]:
    """Return the paths of ``images``, one or several."""
    return (items.images,) if isinstance(items.images, str) else tuple(items.images)


def category_parents(items: Any) -> dict[str, list[str]]:
    """Return the parents of every category, as texts: a method of the shop may give one without a list."""
    return {
        str(category): [parents] if isinstance(parents, str) else list(map(str, parents))
        for category, parents in items.get_category_parents().items()
    }


def category_relation(items: Any) -> str:
    """Return the path to the model of an item's category, of which ``category`` is the key, a field or a translated
    field; empty if there is no such model."""
    path = str(items.category)
    relation = path.rpartition(paths.SEPARATOR)[0]
    try:
        if paths.target(items.model, path):  # the key
            return path.removesuffix("_id")
        is_translation = bool(paths.resolve(items.model, path).conditions)
    except ConfigurationError:  # the system checks report it
        return relation
    return relation.rpartition(paths.SEPARATOR)[0] if is_translation else relation


def in_one_language(model: Any, path: str) -> str:
    """Return the path to a translated text in ``LANGUAGE_CODE``, or in another language if there is none in that. A
    path that names a language, or does not lead to such a text, is returned unchanged."""
    found = {paths.language_of(each): each for each in paths.in_languages(model, path)}
    code = settings.LANGUAGE_CODE
    if not found or path in found.values():
        return path
    return found.get(code) or found.get(code.partition("-")[0]) or next(iter(found.values()))


def as_files(values: Iterable[Any]) -> list[Any]:
    """Return the files that a path of ``images`` gives, without empty ones; a URL becomes a file to be fetched."""
    return [_remote(value) if isinstance(value, str) else value for value in values if value]


def each_once(files: Iterable[Any]) -> list[Any]:
    """Return the files, each name only once: the main picture is often one of the others too."""
    found: dict[object, Any] = {}
    for file in files:
        found.setdefault(getattr(file, "name", id(file)), file)
    return list(found.values())


def _remote(url: str) -> Any:
    from imagesim.images.remote import RemoteImage  # most shops store files

    return RemoteImage(url)


def require_dict(items: Any, method: str, given: Any) -> Any:
    """Return the dict that a method returned.

    :raises TypeError: if it returned anything else.
    """
    if isinstance(given, Mapping):
        return given
    raise TypeError(f"{type(items).__name__}.{method}() returns {given!r:.100}; it must return a dict.")


def require_texts(items: Any, method: str, given: object) -> list[str]:
    """Return the texts that a method returned.

    :raises TypeError: if it returned anything else, such as one string, whose letters would be taken for texts.
    """
    if isinstance(given, Iterable) and not isinstance(given, str):
        found = list(given)
        if all(isinstance(each, str | Promise | int | UUID) for each in found):
            return list(map(str, found))
    raise TypeError(f"{type(items).__name__}.{method}() returns {given!r:.100}; it must return a list of strings.")
