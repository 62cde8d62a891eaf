"""``Items``: what a shop says of a model whose instances can be searched by picture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.apps import apps
from django.conf import settings
from django.core.files.base import File
from django.db import models
from django.utils.html import strip_tags

from imagesim import paths
from imagesim.exceptions import ConfigurationError, NotIndexed, format_choices
from imagesim.filter_types import FILTER_TYPES, kind_of_field
from imagesim.types import FilterKind, FilterValue, Scalar, TextSpec

M = TypeVar("M", bound=models.Model)

TEXT_FIELDS = (models.CharField, models.TextField)
MAX_TEXT = 10_000


def make_key(label: str, pk: object) -> str:
    """``'shop.product:7'``: how the index knows an item."""
    return f"{label}:{pk}"


def split_key(key: str) -> tuple[str, str]:
    """``'shop.product:7'`` -> ``('shop.product', '7')``."""
    label, _, pk = key.partition(":")
    return label, pk


class Items(Generic[M]):
    """Declares where the pictures, the category, the stock and the filter values of a model are.

    Each attribute is a field path from the model (``photos__file``), a property or a method name.
    Override the ``get_*`` methods for anything a path cannot say.
    """

    images: str = ""
    category: str = ""
    in_stock: str = ""
    group: str = ""
    category_parent: str = ""
    """The category above an item's own (``category__parent__slug``), where to look when its own has too few."""
    filters: Mapping[str, str] = {}
    filter_kinds: Mapping[str, FilterKind] = {}
    """Only for filters that end in a property or method: 'keyword', 'number', 'boolean' or 'date'."""
    text: Mapping[str, float] | None = None
    """What words are searched in: paths with their weights (``{"name": 3, "brand__name": 2, "description": 1}``).
    None: the model's own ``name`` or ``title``, also in other languages (``name_de``). Empty: pictures alone.
    """
    text_languages: Mapping[str, str] = {}
    """The language of each path of ``text`` that is neither said by its ending (``name_de``) nor ``LANGUAGE_CODE``."""
    look_categories: Mapping[str, Sequence[str]] = {}
    """The categories in which "shop the look" searches for a label (``{"shoes": ["schuhe", "stiefel"]}``), in place
    of those whose names speak of it. An empty list lets the neighbours vote."""
    related: Mapping[type[models.Model] | str, str] = {}
    """Models whose change concerns items, each with the path from it to the item (``{StockRecord: "product"}``).
    The models that the paths above pass through are found without being named."""
    depends_on: Sequence[str] | None = None
    """What overridden methods read beyond the paths above, as paths (``("active", "gallery__photos__file")``), so
    that changes elsewhere queue nothing. None while a method is overridden: any field of the item counts."""

    def __init__(self, model: type[M]) -> None:
        self._model = model
        self.label: str = (model._meta.concrete_model or model)._meta.label_lower
        self._require_types()

    @property
    def model(self) -> type[M]:
        return self._model

    # What to index.

    def get_queryset(self) -> models.QuerySet[M]:
        """The items that may be indexed; override to leave some out or to add what the paths need."""
        return self._model._default_manager.all()

    def should_index(self, item: M) -> bool:
        """Whether this item belongs in the index now (published, not archived …)."""
        return True

    # What an entry says.

    def get_images(self, item: M) -> Iterable[Any]:
        """The item's picture files, the main one first: ``FieldFile`` or any named ``File``."""
        return [file for file in self._read(item, self.images) if file]

    def get_categories(self, item: M) -> Sequence[str]:
        """The item's category, or several; a model instance stands for its primary key."""
        return [str(_scalar(value)) for value in self._read(item, self.category) if value != ""]

    def get_category_parents(self) -> Mapping[str, Collection[str]]:
        """Every category with those right above it, for ``fallback``; override for a tree that a path cannot follow."""
        ends = [path for path in (self.category, self.category_parent) if path]
        if len(ends) < 2 or any(paths.resolve(self._model, path).field is None for path in ends):
            return {}
        parents: dict[str, set[str]] = {}
        for category, parent in self.get_queryset().order_by().values_list(*ends).distinct():
            if category not in (None, "") and parent not in (None, ""):
                parents.setdefault(str(category), set()).add(str(parent))
        return parents

    def get_in_stock(self, item: M) -> bool:
        """Whether the item can be had: true where nothing is declared, or where any value is; a number, above 0."""
        if not self.in_stock:
            return True
        return any(
            value > 0 if isinstance(value, int | float | Decimal) else bool(value) for value in self._stock(item)
        )

    def get_group(self, item: M) -> str:
        """Variants of one product share it; empty for an item that stands alone.

        If overridden, return the primary key of the item that leads the group, or any text that is no
        item's primary key.
        """
        return next((str(_scalar(value)) for value in self._read(item, self.group)), "")

    def get_filters(self, item: M) -> dict[str, FilterValue]:
        """The item's filter values by name, each of its filter's kind: one, a tuple of several, or None.

        :raises ConfigurationError: if a value is not of its filter's kind.
        """
        return {name: self._filter_value(item, name) for name in self.filters}

    def get_texts(self, item: M) -> dict[str, tuple[str, ...]]:
        """The item's texts by the paths of ``text``, without mark-up."""
        found = {path: tuple(_plain(value) for value in self._read(item, path)) for path in self.text_specs}
        return {path: values for path, given in found.items() if (values := tuple(filter(None, given)))}

    # What a page shows.

    def get_image_url(self, item: M, name: str) -> str:
        """The address of the item's picture stored under ``name``, or of its first one; empty if there is none."""
        return str(getattr(self.find_image(item, name), "url", ""))

    def get_thumbnail_url(self, item: M, name: str, width: int) -> str:
        """The address of the same picture, about ``width`` pixels wide, where the shop makes its own (Wagtail's
        renditions, django-imagekit, an image CDN). Empty leaves it to :mod:`imagesim.thumbnails`."""
        return ""

    def find_image(self, item: M, name: str) -> Any:
        """The item's picture file stored under ``name``, or its first one; None if it has none."""
        files = list(self.get_images(item))
        return next((file for file in files if file.name == name), files[0] if files else None)

    def get_details(self, item: M) -> dict[str, str]:
        """More that a result may show, such as a price: public texts by name, for the REST face and a page's script."""
        return {}

    # What follows from the above.

    def pk_of(self, item: models.Model) -> str:
        """The item's primary key as text, the same for an instance of a subclass.

        :raises NotIndexed: if the item was never saved.
        """
        field = (self._model._meta.concrete_model or self._model)._meta.pk
        pk = field.to_python(getattr(item, field.attname))
        if pk is None:
            raise NotIndexed(f"This {item._meta.verbose_name} is not saved yet, so the index cannot know it.")
        return str(pk)

    def key_of(self, item: M) -> str:
        """How the index knows the item."""
        return make_key(self.label, self.pk_of(item))

    def group_key_of(self, item: M) -> str:
        """What the index collapses by: a parent's key is also that of its variants' group."""
        group = self.get_group(item)
        return make_key(self._group_label, group) if group else self.key_of(item)

    @cached_property
    def kinds(self) -> dict[str, FilterKind]:
        """Every filter's kind by its name.

        :raises ConfigurationError: naming the first filter whose kind cannot be told.
        """
        return {name: self.kind_of(name) for name in self.filters}

    @cached_property
    def text_specs(self) -> dict[str, TextSpec]:
        """The weight and the language of every path of ``text``, or of the default."""
        weights = self.default_text() if self.text is None else self.text
        return {path: TextSpec(float(weight), self._language_of(path)) for path, weight in weights.items()}

    def default_text(self) -> dict[str, float]:
        """What ``text`` is where it is not given: the model's own name or title, in every language that it has."""
        names = {field.name for field in self._model._meta.get_fields() if isinstance(field, TEXT_FIELDS)}
        for own in ("name", "title"):
            found = [name for name in sorted(names) if name == own or (name.startswith(f"{own}_") and _suffix(name))]
            if found:
                return dict.fromkeys(found, 3.0)
        return {}

    def _language_of(self, path: str) -> str:
        return self.text_languages.get(path) or _suffix(path) or settings.LANGUAGE_CODE

    def kind_of(self, name: str) -> FilterKind:
        """How the filter ``name`` compares.

        :raises ConfigurationError: if it cannot be told from the field it ends in.
        """
        kind = self.filter_kinds.get(name) or kind_of_field(paths.resolve(self._model, self.filters[name]).field)
        if kind is not None and kind not in FILTER_TYPES:
            raise ConfigurationError(
                f"{type(self).__name__}.filter_kinds[{name!r}] is {kind!r}; it can be {format_choices(FILTER_TYPES)}."
            )
        if kind is None:
            raise ConfigurationError(
                f"{type(self).__name__}.filters[{name!r}] ({self.filters[name]!r}) does not end in a model field "
                f"whose kind is known; say it in filter_kinds: {format_choices(FILTER_TYPES)}."
            )
        return kind

    def declared_paths(self) -> list[str]:
        """Every path this class names."""
        declared = (self.images, self.category, self.in_stock, self.group, *self.filters.values(), *self.text_specs)
        return [path for path in (*declared, *(self.depends_on or ())) if path]

    def resolved_paths(self) -> list[paths.ResolvedPath]:
        """Every declared path that resolves; the system checks report the others."""
        resolved = []
        for path in dict.fromkeys(self.declared_paths()):
            try:
                resolved.append(paths.resolve(self._model, path))
            except ConfigurationError:
                continue
        return resolved

    def related_models(self) -> list[tuple[type[models.Model], str]]:
        """``related`` with the models named as text looked up; the system checks report what is wrong in it."""
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
        except (LookupError, ValueError):
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

    def for_reading(self, queryset: models.QuerySet[M], *, to_many: bool = True) -> models.QuerySet[M]:
        """``queryset`` with the relations that the declared paths pass through; ``to_many=False``: without those that
        take a query each."""
        one, many = self.relations_read
        queryset = queryset.select_related(*one) if one else queryset
        return queryset.prefetch_related(*many) if to_many else queryset

    @cached_property
    def relations_read(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What the paths pass through, as lookups for ``select_related`` and for ``prefetch_related``."""
        resolved = [paths.resolve(self._model, path) for path in self.declared_paths()]
        one = dict.fromkeys(each.load_one for each in resolved if each.load_one)
        many = dict.fromkeys(each.load_many for each in resolved if each.load_many)
        return tuple(one), tuple(many)

    def _read(self, item: M, path: str) -> Iterable[Any]:
        return paths.read(item, path) if path else ()

    def _stock(self, item: M) -> Iterable[Any]:
        return paths.read(item, self.in_stock)

    @cached_property
    def _group_label(self) -> str:
        """The name space of the groups, so that the group of style 7 is not that of product 7."""
        if not self.group:
            return self.label  # get_group is overridden
        field: Any = paths.resolve(self._model, self.group).field
        if field is not None and field.is_relation and field.related_model is not None:
            return str(field.related_model._meta.concrete_model._meta.label_lower)
        return self.label if field is not None and field.primary_key else f"{self.label}.{self.group}"

    def _filter_value(self, item: M, name: str) -> FilterValue:
        values = tuple(
            self._of_kind(name, scalar)
            for scalar in map(_scalar, paths.read(item, self.filters[name]))
            if scalar is not None
        )
        if len(values) > 1:
            return values
        return values[0] if values else None

    def _of_kind(self, name: str, value: Scalar) -> Scalar:
        kind = self.kinds[name]
        try:
            return FILTER_TYPES[kind].convert(value)
        except ValueError:
            raise ConfigurationError(
                f"{type(self).__name__}.filters[{name!r}] is of kind {kind!r}, but gives {value!r}."
            ) from None

    def _require_types(self) -> None:
        for name in ("images", "category", "category_parent", "in_stock", "group"):
            if not isinstance(getattr(self, name), str):
                raise ConfigurationError(
                    f"{type(self).__name__}.{name} must be a path such as 'photos__file', not {getattr(self, name)!r}."
                )
        depends = self.depends_on
        if isinstance(depends, str) or not all(isinstance(path, str) for path in depends or ()):
            raise ConfigurationError(f"{type(self).__name__}.depends_on must be a list of paths, not {depends!r}.")
        look = self.look_categories
        if not isinstance(look, Mapping) or not all(
            isinstance(slugs, list | tuple) and all(isinstance(text, str) for text in (label, *slugs))
            for label, slugs in look.items()
        ):
            raise ConfigurationError(
                f"{type(self).__name__}.look_categories must be a dict of lists of categories, such as "
                f"{{'shoes': ['sneakers', 'boots']}}, not {look!r}."
            )
        text = {} if self.text is None else self.text
        if not isinstance(text, Mapping) or not all(
            isinstance(path, str) and isinstance(weight, int | float) and 0 < weight <= 100
            for path, weight in text.items()
        ):
            raise ConfigurationError(
                f"{type(self).__name__}.text must be a dict of paths with weights above 0 and up to 100, such as "
                f"{{'name': 3, 'brand__name': 2}}, not {self.text!r}."
            )
        for name in ("filters", "filter_kinds", "related", "text_languages"):
            value = getattr(self, name)
            if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
                raise ConfigurationError(f"{type(self).__name__}.{name} must be a dict of texts, not {value!r}.")


def _suffix(path: str) -> str:
    """The language that a path's ending names (``name_de``, ``name_pt_br``), or nothing."""
    codes = {code.lower().replace("-", "_"): code for code, _name in settings.LANGUAGES}
    parts = path.rpartition(paths.SEPARATOR)[2].split("_")
    endings = ("_".join(parts[-2:]) if len(parts) > 2 else "", parts[-1] if len(parts) > 1 else "")
    return next((codes[ending] for ending in endings if ending in codes), "")


def _plain(value: Any) -> str:
    """A value as text without mark-up, at most :data:`MAX_TEXT` characters of it."""
    text = str(value)[:MAX_TEXT]
    return (strip_tags(text) if "<" in text else text).replace("\0", "").strip()


def _scalar(value: Any) -> Scalar | None:
    """A value as an index can hold it; None for an empty file."""
    if isinstance(value, models.Model):
        return str(value.pk)
    if isinstance(value, File):
        return value.name or None
    if isinstance(value, Scalar):
        return value
    return str(value)
