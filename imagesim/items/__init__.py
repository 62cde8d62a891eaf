"""``Items``: the declaration of a model whose instances can be searched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.apps import apps
from django.conf import settings
from django.core.files.base import File
from django.db import models

from imagesim.exceptions import ConfigurationError, NotIndexed, format_choices
from imagesim.filter_types import FILTER_TYPES, amount_of, kind_of_field
from imagesim.items import paths
from imagesim.items.declarations import as_files, category_relation, each_once, image_paths, require_types
from imagesim.items.keys import canonical_pk
from imagesim.items.plain_text import plain_text
from imagesim.types import FilterKind, FilterValue, Scalar, TextSpec

M = TypeVar("M", bound=models.Model)

SIMILAR_ID = "imagesim-similar"
"""The HTML id of the section of similar products."""


def make_key(label: str, pk: object) -> str:
    """Return the key of an item in the index, such as ``'shop.product:7'``."""
    return f"{label}:{pk}"


def split_key(key: str) -> tuple[str, str]:
    """Return the label and the primary key of a key: ``'shop.product:7'`` -> ``('shop.product', '7')``."""
    label, _, pk = key.partition(":")
    return label, pk


class Items(Generic[M]):
    """Declares which fields of a model hold its images, category, stock and filter values.

    Each attribute is a field path (``photos__file``), or the name of a property or method. Override the ``get_*``
    methods for values that a path cannot express.
    """

    images: str | Sequence[str] = ""  # one path, or several
    category: str = ""
    in_stock: str = ""
    group: str = ""
    category_parent: str = ""
    """The parent of an item's category (``category__parent__slug``), for ``fallback``."""
    filters: Mapping[str, str] = {}
    filter_kinds: Mapping[str, FilterKind] = {}
    """For filters that end in a property or method: 'keyword', 'number', 'boolean' or 'date'."""
    measured_colours: str = ""
    """The name of a filter that holds the main colours measured in the item's images (``"colour"``). It may be one of
    ``filters``: items without a value of their own then have the measured ones."""
    price_filter: str = "price"
    """The filter that a price in words limits ("dress under 50"), if it is a number. Empty: such prices limit
    nothing."""
    text: Mapping[str, float] | None = None
    """The texts that words are searched in, with weights (``{"name": 3, "brand__name": 2, "description": 1}``).
    None: the model's ``name`` or ``title``, with its translations (``name_de``). Empty: words find images only.
    """
    text_languages: Mapping[str, str] = {}
    """The languages of paths of ``text``. By default that of the suffix (``name_de``), else ``LANGUAGE_CODE``."""
    look_categories: Mapping[str, Sequence[str]] = {}
    """The categories in which "shop the look" searches for a label (``{"shoes": ["kengat", "saappaat"]}``), instead of
    those whose names suggest it. With an empty list the categories of the nearest items decide."""
    related: Mapping[type[models.Model] | str, str] = {}
    """Models whose changes affect items, each with its path to the item (``{StockRecord: "product"}``). Models on the
    paths above need not be listed."""
    depends_on: Sequence[str] | None = None
    """The paths that overridden methods read besides those above (``("active", "gallery__photos__file")``); changes of
    other fields are then not queued. With None, if a method is overridden, a change of any field of the item is
    queued."""

    def __init__(self, model: type[M]) -> None:
        self._model = model
        self.label: str = (model._meta.concrete_model or model)._meta.label_lower
        require_types(self, Items)

    @property
    def model(self) -> type[M]:
        return self._model

    # What to index.

    def get_queryset(self) -> models.QuerySet[M]:
        """Return the items that can be indexed; override it to exclude some, or to load data for the methods."""
        return self._model._default_manager.all()

    def get_hit_queryset(self) -> models.QuerySet[M]:
        """Return the items as pages show them: by default with the relations on the declared paths. Override it to read
        what your templates show, and ``should_index`` needs, and no more (``only()``, ``prefetch_related()``)."""
        return self.for_reading(self.get_queryset())

    def should_index(self, item: M, /) -> bool:
        """Return whether this item should be in the index now (published, not archived …)."""
        return True

    # The values of an entry.

    def get_images(self, item: M, /) -> Iterable[Any]:
        """Return the item's pictures, the main one first: each a ``FieldFile``, any named ``File``, or a
        :class:`~imagesim.images.remote.RemoteImage`, which a URL as text becomes."""
        files = as_files(value for path in image_paths(self) for value in self._read(item, path))
        return files if isinstance(self.images, str) else each_once(files)

    def get_categories(self, item: M, /) -> Sequence[str]:
        """Return the item's category or categories; a model instance becomes its primary key."""
        return [str(_scalar(value)) for value in self._read(item, self.category) if value != ""]

    def get_category_parents(self) -> Mapping[str, Collection[str]]:
        """Return the parents of every category, for ``fallback``; override it for a tree that a path cannot follow."""
        ends = [paths.resolve(self._model, path) for path in (self.category, self.category_parent) if path]
        if len(ends) < 2 or any(end.field is None for end in ends):
            return {}
        parents: dict[str, set[str]] = {}
        rows = self.get_queryset().filter(**ends[0].conditions, **ends[1].conditions).order_by()
        for category, parent in rows.values_list(*(end.lookup for end in ends)).distinct():
            if category not in (None, "") and parent not in (None, ""):
                parents.setdefault(str(category), set()).add(str(parent))
        return parents

    def get_in_stock(self, item: M, /) -> bool:
        """Return whether the item is in stock: any value is true or above 0. True if ``in_stock`` is not declared."""
        if not self.in_stock:
            return True
        found = self._read(item, self.in_stock)
        return any(value > 0 if isinstance(value, int | float | Decimal) else bool(value) for value in found)

    def get_group(self, item: M, /) -> str | M | None:
        """Return the group that an item shares with its variants; empty if it has none.

        If you override it, return the group's main item or its primary key, or a string that is not the primary key of
        an item.
        """
        return next((str(_scalar(value)) for value in self._read(item, self.group)), "")

    def get_filters(self, item: M, /) -> dict[str, FilterValue]:
        """Return the item's filter values by name: one value, a tuple of several, or None.

        :raises ConfigurationError: if a value is not of its filter's kind.
        """
        return {name: self._filter_value(item, name) for name in self.filters}

    def get_texts(self, item: M, /) -> dict[str, tuple[str, ...]]:
        """Return the item's texts by path, without mark-up."""
        found = {path: tuple(plain_text(value) for value in self._read(item, path)) for path in self.text_specs}
        return {path: values for path, given in found.items() if (values := tuple(filter(None, given)))}

    def is_of_category(self, path: str) -> bool:
        """Return whether a path of ``text`` is read from the item's category, or from a category above it."""
        relation = category_relation(self)
        if relation == self.group.removesuffix("_id"):
            relation = ""  # the category is a plain field of the product that variants share
        return bool(self.category) and (path == self.category or (relation != "" and path.startswith(f"{relation}__")))

    # What a page shows.

    def get_image_url(self, item: M, /, name: str) -> str:
        """Return the URL of the item's image stored under ``name``, or of its first image; empty if there is none."""
        return str(getattr(self.find_image(item, name), "url", ""))

    def get_thumbnail_url(self, item: M, /, name: str, width: int) -> str:
        """Return the URL of that image, about ``width`` pixels wide, if the shop makes its own thumbnails (Wagtail
        renditions, django-imagekit, an image CDN). If empty, :mod:`imagesim.pages.thumbnails` makes one."""
        return ""

    def find_image(self, item: M, /, name: str) -> Any:
        """Return the item's image file stored under ``name``, or its first one; None if it has none."""
        files = list(self.get_images(item))
        return next((file for file in files if file.name == name), files[0] if files else None)

    def get_similar_url(self, item: M, /) -> str:
        """Return the URL of "Find similar" on a card: by default the section of similar products on the item's page."""
        page = item.get_absolute_url() if hasattr(item, "get_absolute_url") else ""
        return f"{page}#{SIMILAR_ID}" if page else ""

    def get_region_url(self, item: M, /, region_id: str) -> str:
        """Return the URL that the dot of a region in the item's own images links to: by default :meth:`get_similar_url`
        with ``region_id`` in its query."""
        page = urlsplit(self.get_similar_url(item))
        query = urlencode([*parse_qsl(page.query), ("region_id", region_id)])
        return urlunsplit(page._replace(query=query)) if page.path else ""

    def get_details(self, item: M, /) -> dict[str, str]:
        """Return further public texts of a hit by name, such as a price, for cards and the REST API."""
        return {}

    # Derived from the declaration.

    def pk_of(self, item: models.Model) -> str:
        """Return the item's primary key as text, the same for an instance of a subclass.

        :raises NotIndexed: if the item was never saved.
        """
        model = self._model._meta.concrete_model or self._model
        pk = canonical_pk(model, getattr(item, model._meta.pk.attname))
        if pk is None:
            raise NotIndexed(f"This {item._meta.verbose_name} is not saved yet, so the index cannot know it.")
        return str(pk)

    def key_of(self, item: M) -> str:
        """Return the key of the item in the index."""
        return make_key(self.label, self.pk_of(item))

    @property
    def has_groups(self) -> bool:
        """Whether items can be variants of others."""
        return bool(self.group) or type(self).get_group is not Items.get_group

    def group_key_of(self, item: M) -> str:
        """Return the key by which the index collapses variants: the key of a parent is also that of its variants'
        group."""
        given = self.get_group(item)
        group = self.pk_of(given) if isinstance(given, self._model) else given
        return make_key(self._group_label, group) if group else self.key_of(item)

    @cached_property
    def kinds(self) -> dict[str, FilterKind]:
        """The kind of every filter.

        :raises ConfigurationError: naming the first filter whose kind is not known.
        """
        return {name: self.kind_of(name) for name in self.filter_names}

    @property
    def filter_names(self) -> tuple[str, ...]:
        """The names of all filters: the declared ones, and that of the measured colours."""
        return tuple(dict.fromkeys((*self.filters, *filter(None, [self.measured_colours]))))

    @cached_property
    def text_specs(self) -> dict[str, TextSpec]:
        """The weight and the language of every path of ``text``, or of the default."""
        weights = self.default_text() if self.text is None else self.text
        return {
            path: TextSpec(float(weight), self._language_of(path), self.is_of_category(path))
            for path, weight in weights.items()
        }

    def default_text(self) -> dict[str, float]:
        """Return the default of ``text``: the model's name or title, in every language."""
        found = paths.in_languages(self._model, "name") or paths.in_languages(self._model, "title")
        return dict.fromkeys(found, 3.0)

    def _language_of(self, path: str) -> str:
        return self.text_languages.get(path) or paths.language_of(path) or settings.LANGUAGE_CODE

    def kind_of(self, name: str) -> FilterKind:
        """Return the kind of the filter ``name``.

        :raises ConfigurationError: if the field at its end does not determine it.
        """
        if name == self.measured_colours and name not in self.filters:
            return "keyword"
        kind = self.filter_kinds.get(name) or kind_of_field(paths.resolve(self._model, self.filters[name]).field)
        if kind is not None and kind not in FILTER_TYPES:
            raise ConfigurationError(
                f"{type(self).__name__}.filter_kinds[{name!r}] is {kind!r}; it can be {format_choices(FILTER_TYPES)}."
            )
        if kind is None:
            raise ConfigurationError(
                f"{type(self).__name__}.filters[{name!r}] ({self.filters[name]!r}) does not end in a model field "
                f"whose kind is known; name it in filter_kinds: {format_choices(FILTER_TYPES)}."
            )
        return kind

    def declared_paths(self) -> list[str]:
        """Return every path that this class names."""
        declared = (*image_paths(self), self.category, self.in_stock, self.group, *self.filters.values())
        return [path for path in (*declared, *self.text_specs, *(self.depends_on or ())) if path]

    def resolved_paths(self) -> list[paths.ResolvedPath]:
        """Return every declared path that resolves; the system checks report the others."""
        resolved = []
        for path in dict.fromkeys(self.declared_paths()):
            try:
                resolved.append(paths.resolve(self._model, path))
            except ConfigurationError:
                continue
        return resolved

    def related_models(self) -> list[tuple[type[models.Model], str]]:
        """Return ``related`` with names of models looked up; the system checks report errors in it."""
        found = []
        for model, path in self.related.items():
            try:
                found.append((self.related_model(model, path), path))
            except ConfigurationError:
                continue
        return found

    def related_model(self, model: type[models.Model] | str, path: str) -> type[models.Model]:
        """:raises ConfigurationError: if the model does not exist, or the path does not lead from it to the items."""
        try:
            found = apps.get_model(model) if isinstance(model, str) else model
            _ = found._meta
        except (AttributeError, LookupError, ValueError):
            raise ConfigurationError(
                f"{type(self).__name__}.related names {model!r}, which is not a model; write it as 'app.Model'."
            ) from None
        target = paths.target(found, path)
        if target is None or not issubclass(self._model, target):
            raise ConfigurationError(
                f"{type(self).__name__}.related: {path!r} leads from {found._meta.label} to "
                f"{target._meta.label if target else 'no model'}, not to {self._model._meta.label}."
            )
        return found

    def for_reading(self, queryset: models.QuerySet[M]) -> models.QuerySet[M]:
        """Return ``queryset`` with the relations on the declared paths loaded."""
        one, many = self.relations_read
        queryset = queryset.select_related(*one) if one else queryset
        return queryset.prefetch_related(*many)

    @cached_property
    def for_images(self) -> Items[M]:
        """The same items, of whose relations ``get_hit_queryset`` loads only those on the paths of the images."""
        if type(self).get_images is not Items.get_images:
            return self  # it may read any of them
        items = copy(self)
        items.relations_read = self._relations(image_paths(self))
        return items

    def for_asking(self, queryset: models.QuerySet[M], *, category: bool = True) -> models.QuerySet[M]:
        """Return ``queryset`` with what a query for similar items reads from its own item: the to-one relations of its
        category, unless only its group is needed, and of its group."""
        wanted = (self.category, self.group) if category else (self.group,)
        resolved = [paths.resolve(self._model, path) for path in wanted if path]
        one = [each.load_one for each in resolved if each.load_one]
        return queryset.select_related(*one) if one else queryset

    @cached_property
    def relations_read(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The lookups of the declared paths for ``select_related`` and for ``prefetch_related``."""
        return self._relations(self.declared_paths())

    def _relations(self, declared: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        resolved = [paths.resolve(self._model, path) for path in declared]
        one = dict.fromkeys(each.load_one for each in resolved if each.load_one)
        many = dict.fromkeys(each.load_many for each in resolved if each.load_many)
        return tuple(one), tuple(many)

    def _read(self, item: M, path: str) -> Iterable[Any]:
        return paths.read(item, path) if path else ()

    @cached_property
    def _group_label(self) -> str:
        """The namespace of group keys, so that the group of style 7 differs from that of product 7."""
        if not self.group:
            return self.label  # get_group is overridden
        field: Any = paths.resolve(self._model, self.group).field
        if field is not None and field.is_relation and field.related_model is not None:
            return str(field.related_model._meta.concrete_model._meta.label_lower)
        return self.label if field is not None and field.primary_key else f"{self.label}.{self.group}"

    def _filter_value(self, item: M, name: str) -> FilterValue:
        found: Iterable[Any] = paths.read(item, self.filters[name])
        if self.kinds[name] == "number":
            found = map(amount_of, found)
        values = tuple(self._of_kind(name, scalar) for scalar in map(_scalar, found) if scalar is not None)
        if len(values) > 1:
            return values
        return values[0] if values else None

    def _of_kind(self, name: str, value: Scalar) -> Scalar:
        kind = self.kinds[name]
        try:
            return FILTER_TYPES[kind].convert(value)
        except ValueError:
            raise ConfigurationError(
                f"{type(self).__name__}.filters[{name!r}] is of kind {kind!r}, but gives {value!r}. "
                "Override get_filters() to convert it, or name another kind in filter_kinds."
            ) from None


def _scalar(value: Any) -> Scalar | None:
    """Return a value in a form that an index can hold; None for an empty file."""
    if isinstance(value, models.Model):
        return str(value.pk)
    if isinstance(value, File):
        return value.name or None
    if isinstance(value, Scalar):
        return value
    return str(value)
