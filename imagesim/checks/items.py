"""System checks of a shop's registrations: their paths, filters and texts. ``docs/checks.md`` explains every id."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from django.core.checks import CheckMessage, Error, Info, Warning
from django.db import models

from imagesim import conf
from imagesim.exceptions import ConfigurationError, format_choices
from imagesim.items import Items, paths
from imagesim.items.declarations import image_paths, in_one_language
from imagesim.items.registry import registry
from imagesim.models import ItemState
from imagesim.retrieval.params import reserved_names


def check_items() -> list[CheckMessage]:
    """Check every registration: its paths, its filters, its related models."""
    if not len(registry):
        hint = "Write a similarity.py in your products' app, with @imagesim.register(Product) above an Items class."
        return [Warning("No model is registered, so nothing can be found.", hint=hint, id="imagesim.W001")]
    found = [message for items in registry for message in _check_one(items)]
    return found + list(_check_kinds_agree())


def check_texts() -> list[CheckMessage]:
    """Report which texts are searched if the shop does not declare any."""
    messages: list[CheckMessage] = []
    for items in registry:
        if items.text is None and type(items).get_texts is Items.get_texts:
            name, default = type(items).__name__, items.default_text()
            where = f"only in {' and '.join(map(repr, default))}" if default else "in pictures alone"
            message = f"{name} does not say which texts to search, so words are searched {where}."
            own = dict.fromkeys(default or ["name"], 3)
            others = {"brand__name": 2, "category__name": 2, "description": 1}
            found = {path: weight for each, weight in others.items() for path in paths.in_languages(items.model, each)}
            texts = {path: weight for path, weight in own.items() if _resolves(items, path)} | found
            hint = f"Name them with their weights, such as {name}.text = {texts or own | others}."
            messages.append(Info(message, hint=hint, obj=items.model, id="imagesim.I001"))
    return messages


def check_pages() -> list[CheckMessage]:
    """Check that the items have pages, which cards and REST answers link to."""
    hint = "Define get_absolute_url(), unless your own templates or pages link to the items."
    return [
        Info(
            f"{items.model.__name__} has no get_absolute_url(): its cards have no link.",
            hint=hint,
            obj=items.model,
            id="imagesim.I002",
        )
        for items in registry
        if not hasattr(items.model, "get_absolute_url")
    ]


def _check_one(items: Items[Any]) -> Iterator[CheckMessage]:
    for path in dict.fromkeys([*items.declared_paths(), *filter(None, [items.category_parent])]):
        try:
            paths.resolve(items.model, path)
        except ConfigurationError as error:
            yield _error(items, str(error), "imagesim.E010")
    yield from _check_names(items)
    yield from _check_images(items)
    yield from _check_filters(items)
    yield from _check_related(items)
    yield from _check_languages(items)
    yield from _check_lengths(items)


def _check_names(items: Items[Any]) -> Iterator[CheckMessage]:
    """Check for misspelt attributes, which would be ignored silently."""
    own = {name for ancestor in type(items).__mro__ if ancestor not in Items.__mro__ for name in vars(ancestor)}
    for name in sorted(own - set(dir(Items))):
        method = callable(getattr(type(items), name))  # of the class: a property is not read
        known = [good for good in dir(Items) if good[0] != "_" and callable(getattr(Items, good)) is method]
        near = get_close_matches(name, known, n=2, cutoff=0.75) or {f"get_{name}"} & set(dir(Items))
        if near and not name.startswith("_"):
            hint = f"Did you mean {format_choices(near)}?"
            yield _warning(items, f"{name!r} means nothing to Items.", "imagesim.W003", hint)


def _check_images(items: Items[Any]) -> Iterator[CheckMessage]:
    if type(items).get_images is not Items.get_images:
        return
    if not any(image_paths(items)):
        hint = 'Set images, for example to "photos__file", or override get_images().'
        yield _error(items, "It does not say where the pictures are.", "imagesim.E011", hint)
        return
    for path in filter(None, image_paths(items)):
        try:
            resolved = paths.resolve(items.model, path)
        except ConfigurationError:
            continue
        yield from _check_path_of_images(items, resolved)


def _check_path_of_images(items: Items[Any], resolved: paths.ResolvedPath) -> Iterator[CheckMessage]:
    field, kind = resolved.field, resolved.steps[-1].kind
    if isinstance(field, models.FileField) or (field is None and kind == "value"):
        return
    is_list = hasattr(field, "base_field")  # an array
    if isinstance(field, models.URLField | models.JSONField) or is_list or kind == "key":
        own, errors = conf.read_settings()  # check_settings reports the errors
        if not errors and not own.REMOTE_IMAGE_HOSTS:
            message = f"images = {resolved.path!r} gives addresses, but no host is allowed."
            hint = "List the hosts of the pictures in IMAGESIM['REMOTE_IMAGE_HOSTS'], as in ALLOWED_HOSTS."
            yield _error(items, message, "imagesim.E012", hint)
        return
    hint = "End the path in a FileField, ImageField or URLField, or in a property or method that returns files."
    if isinstance(field, models.CharField | models.TextField):
        hint = "Declare the column as an ImageField if it holds file names, as a URLField if it holds addresses."
    yield _error(items, f"images = {resolved.path!r} does not end in a file.", "imagesim.E012", hint)


def _check_filters(items: Items[Any]) -> Iterator[CheckMessage]:
    reserved, numbers = reserved_names(), {"", Items.price_filter}
    for name in items.filter_names:
        if not isinstance(name, str) or not name.isidentifier() or paths.SEPARATOR in name:
            hint = "Use letters, digits and single underscores: the name is written as in price__lte=50."
            yield _error(items, f"The filter name {name!r} cannot be used.", "imagesim.E015", hint)
            continue
        if name in reserved:
            hint = "Choose another name: this one is taken in query strings, forms and template tags."
            yield _error(items, f"The filter name {name!r} is also that of an argument.", "imagesim.E019", hint)
        try:
            kind = items.kind_of(name)
        except ConfigurationError as error:
            if name in items.filter_kinds or _resolves(items, items.filters[name]):
                yield _error(items, str(error), "imagesim.E013")
            continue
        if kind == "number":
            numbers.add(name)
            if _resolves(items, items.filters[name]):
                yield from _check_size(items, name)
        if name == items.measured_colours and kind != "keyword":
            message = f"measured_colours = {name!r} is also a filter of kind {kind!r}; measured colours are keywords."
            yield _error(items, message, "imagesim.E105", "Give the measured colours a name of their own.")
    for name in sorted(set(items.filter_kinds) - set(items.filters)):
        message = f"filter_kinds names {name!r}, not a filter; the filters are {format_choices(items.filters)}."
        yield _error(items, message, "imagesim.E016")
    if items.price_filter not in numbers:
        message = f"price_filter names {items.price_filter!r}, not a filter of kind 'number'."
        yield _error(items, message, "imagesim.E016", "Name one, or '' to read no prices in words.")
    for path in sorted(set(items.text_languages) - set(items.text_specs)):
        message = f"text_languages names {path!r}, not a text; the texts are {format_choices(items.text_specs)}."
        yield _error(items, message, "imagesim.E016")


def _check_size(items: Items[Any], name: str) -> Iterator[CheckMessage]:
    """Check for keys such as snowflake ids: an index compares numbers as floats, which merge large neighbouring
    ones."""
    field: Any = paths.resolve(items.model, items.filters[name]).field
    is_large = isinstance(field, models.BigIntegerField) and not isinstance(field, models.BigAutoField)
    if is_large and field.unique:
        message = f"the filter {name!r} cannot distinguish neighbouring numbers beyond 2**53."
        hint = (
            f"If there are any, such as snowflake ids, set filter_kinds = {{{name!r}: 'keyword'}} "
            "and run imagesim_rebuild."
        )
        yield _warning(items, message, "imagesim.W034", hint)


def _check_related(items: Items[Any]) -> Iterator[CheckMessage]:
    for model, path in items.related.items():
        try:
            items.related_model(model, path)
        except ConfigurationError as error:
            yield _error(items, str(error), "imagesim.E017")


def _check_languages(items: Items[Any]) -> Iterator[CheckMessage]:
    """Check for the bare field of a text in several columns or rows: it is indexed in one language, and read in
    another."""
    named = (items.category, items.category_parent, items.group, *items.filters.values())
    for path in dict.fromkeys(filter(None, [*named, *items.text_specs])):
        found = paths.in_languages(items.model, path)
        if not found or path in found:
            continue
        message = f"{path!r} is indexed in LANGUAGE_CODE and read in the visitor's language."
        one = in_one_language(items.model, path)
        hint = f"Name {one!r}." if path in named else f"Name each language to be searched: {', '.join(found)}."
        yield _warning(items, message, "imagesim.W033", hint)


def _check_lengths(items: Items[Any]) -> Iterator[CheckMessage]:
    """Check that the names fit the app's own tables."""
    room = ItemState._meta.get_field("model").max_length
    if room is not None and len(items.label) > room:
        yield _error(items, f"The label {items.label!r} is longer than {room} characters.", "imagesim.E018")
    room = ItemState._meta.get_field("object_pk").max_length
    key: Any = items.model._meta.pk
    length = key.max_length
    if room is not None and length is not None and length > room:
        yield _error(items, f"Its primary key may have {length} characters; at most {room} fit.", "imagesim.E018")
    if isinstance(key, models.BinaryField):
        yield _error(items, "Its primary key is binary, but the index identifies items by text.", "imagesim.E018")


def _check_kinds_agree() -> Iterator[CheckMessage]:
    """Check that each filter name has one kind, because one index holds all models."""
    seen: dict[str, tuple[str, Items[Any]]] = {}
    for items in registry:
        for name in items.filter_names:
            try:
                kind = items.kind_of(name)
            except ConfigurationError:
                continue
            first_kind, first = seen.setdefault(name, (kind, items))
            if kind != first_kind:
                message = f"The filter {name!r} is of kind {kind!r} here and {first_kind!r} for {first.label}."
                yield _error(items, message, "imagesim.E014", "Give one of them another name, or filter_kinds.")


def _error(items: Items[Any], message: str, id: str, hint: str | None = None) -> Error:
    return Error(f"{type(items).__name__}: {message}", hint=hint, obj=items.model, id=id)


def _warning(items: Items[Any], message: str, id: str, hint: str) -> Warning:
    return Warning(f"{type(items).__name__}: {message}", hint=hint, obj=items.model, id=id)


def _resolves(items: Items[Any], path: str) -> bool:
    try:
        paths.resolve(items.model, path)
    except ConfigurationError:
        return False
    return True
