"""The registry of the shop's models, and the keys of items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from django.db import models

from imagesim.exceptions import ConfigurationError, NotRegistered, format_choices
from imagesim.items import Items, make_key, split_key
from imagesim.items.keys import valid_pks

__all__ = ["Registry", "key_of", "make_key", "register", "registry", "split_key"]

C = TypeVar("C", bound=type[Items[Any]])


class Registry:
    """The registered models, each with its ``Items``.

    A proxy counts as its concrete model, an instance of a subclass as its nearest registered ancestor.
    """

    def __init__(self) -> None:
        self._items: dict[type[models.Model], Items[Any]] = {}

    def register(self, model: type[models.Model], items_class: type[Items[Any]]) -> None:
        """:raises ConfigurationError: if the model cannot hold items, or is registered already."""
        if not (isinstance(model, type) and issubclass(model, models.Model)) or model._meta.abstract:
            raise ConfigurationError(f"register() takes a concrete model class, not {model!r}.")
        if model._meta.swapped:
            raise ConfigurationError(
                f"{model._meta.label} is swapped out and has no table; register {model._meta.swapped} instead."
            )
        if not (isinstance(items_class, type) and issubclass(items_class, Items)):
            raise ConfigurationError(f"{items_class!r} is not a subclass of imagesim.Items.")
        if len(getattr(model._meta, "pk_fields", ())) > 1:
            raise ConfigurationError(
                f"{model._meta.label} has a composite primary key; only models with a single one can be registered."
            )
        concrete = concrete_model(model)
        if concrete in self._items:
            raise ConfigurationError(f"{concrete._meta.label} is registered twice.")
        self._items[concrete] = items_class(model)

    def unregister(self, model: type[models.Model]) -> None:
        self._items.pop(concrete_model(model), None)

    def __iter__(self) -> Iterator[Items[Any]]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, model: object) -> bool:
        return isinstance(model, type) and self._find(model) is not None

    def for_model(self, model: type[models.Model]) -> Items[Any]:
        """:raises NotRegistered: naming the model and the registered ones."""
        items = self._find(model) if isinstance(model, type) else None
        if items is None and getattr(model, "__module__", "") == "__fake__":  # the module of such models
            raise NotRegistered(
                f"This {model._meta.label} is a model of a migration, not the one in your models.py: what changes "
                "through it is found by `manage.py imagesim_sync --reconcile`, which you run after the migration."
            )
        if items is None:
            name = model._meta.label if hasattr(model, "_meta") else repr(model)
            advice = "Register it in a similarity.py with @imagesim.register."
            if isinstance(model, type) and any(issubclass(known, model) for known in self._items):
                advice = "Use an object of the child instead (in Wagtail, page.specific)."
            raise NotRegistered(f"{name} is not registered; {self._labels()}. {advice}")
        return items

    def for_item(self, item: models.Model) -> Items[Any]:
        """:raises NotRegistered: naming the item's model and the registered ones."""
        if not isinstance(item, models.Model):
            raise NotRegistered(
                f"An item of a registered model is needed ({self._labels()}), not {str(item)[:50]!r} of type "
                f"{type(item).__name__}. In a template, an empty string is often a misspelled variable."
            )
        return self.for_model(type(item))

    def for_label(self, label: str) -> Items[Any]:
        """:raises NotRegistered: naming the label and the registered ones."""
        for items in self:
            if items.label.lower() == label.lower():  # an app may have an upper-case label
                return items
        raise NotRegistered(f"{label!r} is not a registered model; {self._labels()}.")

    def require_models(self) -> None:
        """:raises NotRegistered: if no model is registered."""
        if not self._items:
            raise NotRegistered("No model is registered; register one in a similarity.py with @imagesim.register.")

    def grouped(self, keys: Iterable[tuple[str, str]]) -> list[tuple[Items[Any], list[str]]]:
        """Return each registered model with its primary keys among these pairs of label and primary key, each once.

        Keys of other labels, such as that of a model that is no longer registered, are left out.
        """
        pks: dict[str, list[str]] = defaultdict(list)
        for label, pk in dict.fromkeys(keys):
            pks[label].append(pk)
        return [(items, pks[items.label]) for items in self if items.label in pks]

    def _find(self, model: type) -> Items[Any] | None:
        # A proxy is not a key, but its concrete model is among its bases.
        return next((self._items[each] for each in model.__mro__ if each in self._items), None)

    def _labels(self) -> str:
        return f"the registered ones are {format_choices(items.label for items in self)}" if self._items else "none is"


registry = Registry()


def register(model: type[models.Model]) -> Callable[[C], C]:
    """Class decorator: ``@imagesim.register(Product)`` above an :class:`Items` subclass.

    :raises ConfigurationError: if no model is given.
    """
    if isinstance(model, type) and issubclass(model, Items):  # else the class would silently become a function
        raise ConfigurationError(
            f"register() takes the model: write @imagesim.register(Product) above {model.__name__}."
        )

    def decorate(items_class: C) -> C:
        registry.register(model, items_class)
        return items_class

    return decorate


def key_of(item: models.Model) -> str:
    """Return the key of an item in the index, such as ``'shop.product:7'``.

    :raises NotRegistered: if its model is not registered.
    :raises NotIndexed: if it was never saved.
    """
    return registry.for_item(item).key_of(item)


def concrete_model(model: type[models.Model]) -> type[models.Model]:
    """Return the model, or that of a proxy."""
    return model._meta.concrete_model or model


def referred_pk(items: Items[Any], using: str, key: Any, *content_type: Any) -> Any:
    """Return the primary key of the item that a row refers to by ``key``, in the item's own form; None if it refers to
    no item.

    ``content_type`` is the key of a generic relation's content type: an instance of a child names its own model there.
    """
    if not content_type or key is None:
        return next(iter(valid_pks(items.model, [key])), key)
    from django.contrib.contenttypes.models import ContentType  # a project without generic relations may lack the app

    try:
        model = ContentType.objects.db_manager(using).get_for_id(content_type[0]).model_class()
    except ContentType.DoesNotExist:
        return None
    if model is None or not issubclass(model, concrete_model(items.model)):
        return None
    return next(iter(valid_pks(items.model, [key])), None)


def get_items(label: str | None = None) -> Items[Any]:
    """Return the ``Items`` of this label; without a label, those of the only registered model.

    :raises NotRegistered: if the label is unknown, or if none or several models are registered and no label is given.
    """
    if label is not None:
        return registry.for_label(label)
    if len(registry) == 1:
        return next(iter(registry))
    registry.require_models()
    raise NotRegistered(f"Several models are registered; name one: {format_choices(i.label for i in registry)}.")
