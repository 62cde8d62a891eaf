"""Field paths such as ``photos__file`` or ``brand__name``: checked on a model, read from an item, also as texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from operator import attrgetter
from typing import Any, Literal

from django.conf import global_settings, settings
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models
from django.db.models.manager import BaseManager

from imagesim.exceptions import ConfigurationError, format_choices

SEPARATOR = "__"

LANGUAGE = re.compile(r"^(language|lang|locale)(_?(code|id))?$", re.IGNORECASE)
"""The column of a table of translations that holds the language of a row, or the foreign key that leads to it."""


@dataclass(frozen=True)
class Step:
    """One part of a path: the attribute to read, and the kind of its value."""

    name: str
    kind: Literal["one", "many", "value", "key"]
    language: tuple[str, str] = ("", "")
    """For a value in a table of translations: the path to the language, and the code of the rows that are read."""


@dataclass(frozen=True)
class ResolvedPath:
    """A path resolved on a model.

    ``field`` is the model field that the path ends in, or None for a property, a method or a key of a JSON field.
    ``relations`` lists the models on the way, each with its query path, so that a change in one of them can be traced
    to the items; it includes the through model of a many-to-many relation if the shop declared one. ``load_one`` and
    ``load_many`` are the lookups for ``select_related`` and, if the path can give several values,
    ``prefetch_related``.
    """

    path: str
    field: models.Field[Any, Any] | None
    relations: tuple[tuple[str, type[models.Model]], ...]
    steps: tuple[Step, ...]
    load_one: str = ""
    load_many: str = ""
    through: tuple[tuple[str, type[models.Model]], ...] = ()
    """The many-to-many relations on the way, each as the query path to the model that declares or receives it
    (empty for the item itself) and its through model, which is the sender of ``m2m_changed``."""

    @property
    def lookup(self) -> str:
        """The path of ``field`` in a query, where a reverse relation has another name than on an instance."""
        names = [name for name, _ in self.relations[-1:]] + [step.name for step in self.steps if step.kind == "value"]
        return SEPARATOR.join(names)

    @property
    def conditions(self) -> dict[str, str]:
        """The conditions by which a query selects the rows of a table of translations."""
        column, code = self.steps[-1].language
        names = [*(name for name, _ in self.relations[-1:]), column, "iexact"]
        return {SEPARATOR.join(names): code} if code else {}


def _resolve(model: type[models.Model], path: str) -> ResolvedPath:
    """Check ``path`` against ``model``.

    :raises ConfigurationError: naming the part that does not resolve and the model's fields.
    """
    current = model
    parts = path.split(SEPARATOR)
    relations: list[tuple[str, type[models.Model]]] = []
    through: list[tuple[str, type[models.Model]]] = []
    steps: list[Step] = []
    query: list[str] = []
    field: Any = None
    language = ("", "")
    many = False
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        field = _find(current, part)
        if field is None and last and not hasattr(current, part):
            field, language = _translated(current, part)
        if field is None:
            _require_attribute(current, part, path, last=last)
            steps.append(Step(part, "value"))
            break
        if not last and (isinstance(field, models.JSONField) or type(field).__name__ == "HStoreField"):
            steps += [Step(field.name, "value"), *(Step(key, "key") for key in parts[position + 1 :])]
            field = None
            break
        to_many = bool(field.one_to_many or field.many_to_many)
        generic = field.is_relation and field.related_model is None
        if last and not to_many and (generic or _holds_value(field, part)):
            # A foreign key at the end of a path means the key in the column; the related row is not loaded.
            steps.append(Step(field.name if generic else field.attname, "value", language))
            break
        if not field.is_relation:
            raise ConfigurationError(f"{path!r} continues after {part!r}, which is not a relation.")
        if generic:
            raise ConfigurationError(f"{path!r} continues after {part!r}, a generic relation that leads to any model.")
        if field.many_to_many:
            _note_through(current, field, query, relations, through)
        # The row of a multi-table child is loaded like a list: a queryset that yields the child itself cannot join it.
        many = many or to_many or bool(_is_reverse(field) and field.parent_link)
        query.append(field.name)
        if rows := _rows_of_tags(current, field):
            steps += [Step(_accessor(rows), "many"), Step(field.m2m_reverse_field_name(), "one")]
        else:
            steps.append(Step(_accessor(field), "many" if to_many else "one"))
        current = field.related_model
        relations.append((SEPARATOR.join(query), current))
    loaded = [step.name for step in steps if step.kind in ("one", "many")]
    load = SEPARATOR.join([*loaded, *language[0].split(SEPARATOR)[:-1]])
    return ResolvedPath(
        path=path,
        field=field if isinstance(field, models.Field) else None,
        relations=tuple(relations),
        steps=tuple(steps),
        load_one="" if many else load,
        load_many=load if many else "",
        through=tuple(through),
    )


resolve: Callable[[type[models.Model], str], ResolvedPath] = cache(_resolve)


def read(item: models.Model, path: str) -> Iterator[Any]:
    """Yield every value of the path on ``item``, with lists flattened and without None.

    :raises ConfigurationError: if the path does not resolve on the item's model.
    """
    values: list[Any] = [item]
    for step in resolve(type(item), path).steps:
        values = [found for value in values for found in _take(value, step) if found is not None]
    for value in values:
        yield from _flat(value)


def is_loaded(item: models.Model, path: str) -> bool:
    """Return whether :func:`read` yields the values of a path of fields without a query. False for a path that ends in
    a property or a method, which can make queries.

    :raises ConfigurationError: if the path does not resolve on the item's model.
    """
    resolved = resolve(type(item), path)
    if resolved.field is None:
        return False
    values: list[Any] = [item]
    for step in resolved.steps:
        if not all(_is_step_loaded(value, step) for value in values):
            return False
        values = [found for value in values for found in _take(value, step) if found is not None]
    return True


def _is_step_loaded(value: Any, step: Step) -> bool:
    if step.kind == "many":
        return step.name in getattr(value, "_prefetched_objects_cache", ())
    if step.kind == "one":
        return step.name in value._state.fields_cache
    relation = step.language[0].rpartition(SEPARATOR)[0]
    return step.name not in value.get_deferred_fields() and (not relation or relation in value._state.fields_cache)


def target(model: type[models.Model], path: str) -> type[models.Model] | None:
    """Return the model whose instances or keys the path gives; None if it gives other values.

    :raises ConfigurationError: if the path does not resolve.
    """
    resolved = resolve(model, path)
    if resolved.steps[-1].kind in ("one", "many"):
        return resolved.relations[-1][1]
    return getattr(resolved.field, "related_model", None)


def _find(model: type[models.Model], name: str) -> Any:
    """Return the field or relation with this query name, column name or accessor name."""
    if name == "pk":
        return model._meta.pk
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        known = (model, *model._meta.get_parent_list())  # a child's instance has its parent's accessors
        fields = (field for each in known for field in each._meta.get_fields() if _is_reverse(field))
        return next((field for field in fields if name in (field.name, _accessor(field))), None)


def _translated(model: type[models.Model], name: str) -> tuple[Any, tuple[str, str]]:
    """Return the field ``name`` of a table of translations, for ``name_de``, with its language column and the code."""
    code = language_of(name)
    column = _language_column(model)
    field = _find(model, name[: -len(code) - 1]) if code and column else None
    return (None, ("", "")) if field is None or field.is_relation else (field, (column, code))


def _language_column(model: type[models.Model]) -> str:
    """Return the path to the language of a row: its own column, or that of the row that it refers to, as in Wagtail
    (``locale__language_code``). Empty if there is none."""
    named: list[Any] = [field for field in model._meta.concrete_fields if LANGUAGE.match(field.name)]
    own = [field.name for field in named if not field.is_relation]
    referred = [
        f"{field.name}{SEPARATOR}{each.name}"
        for field in named
        if field.is_relation
        for each in field.related_model._meta.concrete_fields
        if LANGUAGE.match(each.name) and not each.is_relation
    ]
    return next(iter(own + referred), "")


def _holds_value(field: Any, name: str) -> bool:
    """Return whether the column holds the value: not for a foreign key to a field other than the primary key."""
    return bool(field.concrete) and (
        not field.is_relation or field.target_field.primary_key or name == field.attname != field.name
    )


def _is_reverse(field: Any) -> bool:
    return bool(field.auto_created and not field.concrete)


def _accessor(field: Any) -> str:
    return str(field.get_accessor_name() if _is_reverse(field) else field.name)


def _require_attribute(model: type[models.Model], name: str, path: str, *, last: bool) -> None:
    """Check that ``name`` is a property, or a method that changes no data, at the end of the path."""
    attribute = getattr(model, name, None)
    if hasattr(model, name) and not isinstance(attribute, type | BaseManager) and not name.startswith("_"):
        if not last:
            raise ConfigurationError(f"{path!r} continues after {name!r}, a property or method, which can only end it.")
        if getattr(attribute, "alters_data", False):
            raise ConfigurationError(f"{path!r} would call {model._meta.label}.{name}(), which changes data.")
        return
    if "." in name:
        raise ConfigurationError(f"{path!r} does not resolve; write it as {path.replace('.', SEPARATOR)!r}.")
    names = {_accessor(field) for field in model._meta.get_fields() if not getattr(field, "hidden", False)}
    raise ConfigurationError(
        f"{path!r} does not resolve: {model._meta.label} has no {name!r}; it has {format_choices(names)}, "
        "and its properties and methods."
    )


def _note_through(
    near: type[models.Model],
    field: Any,
    query: list[str],
    relations: list[tuple[str, type[models.Model]]],
    through: list[tuple[str, type[models.Model]]],
) -> None:
    """Record a many-to-many relation. A through model that the shop declared sends no ``m2m_changed`` when its rows are
    saved, so it counts as a relation of its own."""
    forward = field.remote_field if _is_reverse(field) else field
    model = forward.remote_field.through
    through.append((SEPARATOR.join(query), model))
    if model._meta.auto_created:
        return
    if hasattr(forward, "m2m_field_name"):
        source = forward.m2m_reverse_field_name() if _is_reverse(field) else forward.m2m_field_name()
        back = model._meta.get_field(source).remote_field
    else:
        back = _rows_of_tags(near, field)
    if back is not None and not back.hidden:
        relations.append((SEPARATOR.join([*query, back.name]), model))


def _rows_of_tags(near: type[models.Model], field: Any) -> Any:
    """Return the relation to the rows of the through model of tags, such as django-taggit's, whose own relation is not
    a Django field: for items of several types, taggit loads the tags of only one. None for other relations, and if it
    is hidden.
    """
    if not field.many_to_many or _is_reverse(field) or hasattr(field, "m2m_field_name"):
        return None
    through = field.remote_field.through
    found = [each for each in near._meta.get_fields() if each.one_to_many and each.related_model is through]
    return next((each for each in found if not each.hidden and near._meta.get_field(each.name) is each), None)


def _take(value: Any, step: Step) -> Iterable[Any]:
    if step.kind == "key":
        return [_by_key(value, step.name)]
    if step.kind == "many" and value.pk is None:
        return []  # not saved yet, so it has no related rows
    column, code = step.language
    if code and _as_suffix(str(reduce(_attribute, column.split(SEPARATOR), value))) != _as_suffix(code):
        return []
    try:
        found = getattr(value, step.name)
    except ObjectDoesNotExist:  # an empty one-to-one relation
        return []
    if step.kind == "many":
        return _in_order(found.all())
    if callable(found) and not isinstance(found, models.Model | BaseManager):
        return [found()]
    return [found]


def _attribute(value: Any, name: str) -> Any:
    return getattr(value, name, None)  # of a row without a language


def _in_order(rows: models.QuerySet[Any]) -> Iterable[Any]:
    """Return rows, by primary key if the shop gives them no order: PostgreSQL would then return them as they are
    stored, and the values, such as the first picture, would change with each update of a row."""
    # ``ordered`` comes last: for prefetched rows it first builds the filter that they no longer need, which takes as
    # long as a query.
    is_ordered = rows.model._meta.ordering or len(rows) < 2 or rows.ordered
    return rows if is_ordered or not isinstance(rows[0], models.Model) else sorted(rows, key=attrgetter("pk"))


def _by_key(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list) and key.isdecimal():
        return value[int(key)] if int(key) < len(value) else None
    if isinstance(value, list):  # of objects, such as [{"url": …}, {"url": …}]
        return [_by_key(each, key) for each in value]
    return None


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, BaseManager):
        value = value.all()
    if isinstance(value, models.QuerySet):
        value = [*_in_order(value)]
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)  # strings have a different order in each process
    is_generated = isinstance(value, Iterator) and not hasattr(value, "read")  # an open file yields its lines
    if isinstance(value, list | tuple) or is_generated:
        for element in value:
            yield from _flat(element)
    elif value is not None:
        yield value


def language_of(path: str) -> str:
    """Return the language in the suffix of a path (``name_de``, ``name_pt_br``); empty if there is none."""
    codes = {_as_suffix(code): code for code, _name in settings.LANGUAGES}
    parts = path.rpartition(SEPARATOR)[2].split("_")
    endings = ("_".join(parts[-2:]) if len(parts) > 2 else "", parts[-1] if len(parts) > 1 else "")
    return next((codes[ending] for ending in endings if ending in codes), "")


def in_languages(model: type[models.Model], path: str) -> list[str]:
    """Return the paths to a text in every language: to its column and those next to it, as with
    django-modeltranslation, or to a table of translations, as with django-parler. Empty if the model has no such
    text."""
    relation, _, name = path.rpartition(SEPARATOR)
    if relation:
        try:
            related = target(model, relation)
        except ConfigurationError:
            return []
        return [f"{relation}{SEPARATOR}{each}" for each in in_languages(related, name)] if related else []
    suffixes = [_as_suffix(code) for code, _name in settings.LANGUAGES]
    columns = _texts(model)
    found = [f"{name}_{suffix}" for suffix in suffixes if f"{name}_{suffix}" in columns]
    if found or name in columns:
        own = _as_suffix(settings.LANGUAGE_CODE)  # whose column, if there is one, is what the bare name reads
        is_doubled = {f"{name}_{own}", f"{name}_{own.partition('_')[0]}"} & set(found)
        return [*([name] if name in columns and not is_doubled else []), *found]
    for each in model._meta.related_objects:
        columns = _texts(each.related_model)
        if each.one_to_many and not each.hidden and name in columns and any(map(LANGUAGE.match, columns)):
            rows = f"{each.get_accessor_name()}{SEPARATOR}{name}"
            # Django's own list has a hundred languages.
            is_own = settings.LANGUAGES != global_settings.LANGUAGES
            return [f"{rows}_{suffix}" for suffix in suffixes] if is_own else [rows]
    return []


def _texts(model: Any) -> set[str]:
    kinds = {f.name: getattr(f, "output_field", f) for f in model._meta.concrete_fields}  # a generated field's own
    return {name for name, kind in kinds.items() if isinstance(kind, models.CharField | models.TextField)}


def _as_suffix(code: str) -> str:
    """``pt-BR`` -> ``pt_br``."""
    return code.lower().replace("-", "_")
