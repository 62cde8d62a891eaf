"""Which saves concern which items, worked out from what the shop declared: for the receivers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from imagesim import paths
from imagesim.items import Items
from imagesim.models import Scope

HOOKS = (
    "get_queryset",
    "should_index",
    "get_images",
    "get_categories",
    "get_in_stock",
    "get_group",
    "get_filters",
)


@dataclass
class Link:
    """How a row of ``model`` leads to the items it concerns.

    ``lookup`` is the query path from the item to it, empty for the item itself; ``back`` is the one from it to the
    item, for what the shop named in ``related``. Where the row holds the item's primary key, ``column`` says in
    which attribute, and no query is needed to find it.
    """

    items: Items[Any]
    model: type[models.Model]
    lookup: str = ""
    back: str = ""
    column: str = ""
    created_matters: bool = True
    """False where a new row cannot yet be pointed to by an item."""
    any_field: bool = False
    """Whether also fields that are not in ``fields`` may matter."""
    fields: dict[str, Scope] = field(default_factory=dict)
    whole: Scope = Scope.METADATA
    """How much a save of all fields may concern."""

    def scope_of(self, update_fields: Collection[str] | None, created: bool = False) -> Scope | None:
        """How much of the item a save may concern; None for nothing."""
        if created:
            return (Scope.ALL if not self.lookup and not self.back else self.whole) if self.created_matters else None
        if update_fields is None:
            return self.whole if self.fields or self.any_field else None
        names = {_canonical(self.model, name) for name in update_fields}
        scopes = [self.fields[name] for name in names & self.fields.keys()]
        if self.any_field and names:
            scopes.append(_by_kind(self.model, names))
        return max(scopes, default=None)

    def writes_column(self, update_fields: Collection[str]) -> bool:
        """Whether a save of these fields stores whose row it is."""
        return _canonical(self.model, self.column) in {_canonical(self.model, name) for name in update_fields}

    def concerned(self, instance: models.Model, using: str) -> models.QuerySet[Any]:
        """The items that ``instance`` concerns (which must still be in the database)."""
        every: models.QuerySet[Any] = self.items.model._base_manager.using(using)
        if self.back:
            rows = self.model._base_manager.using(using).filter(pk=instance.pk)
            return every.filter(pk__in=rows.values(self.back))
        # By the key: a generic relation to an instance compares the wrong columns.
        return every.filter(**{f"{self.lookup}__pk": instance.pk})


@dataclass(frozen=True)
class Through:
    """A many-to-many relation that a path passes: the sender of ``m2m_changed``.

    ``near`` is the model on the item's side, ``lookup`` the query path to it (empty for the item itself),
    ``far_lookup`` that to the other side.
    """

    items: Items[Any]
    through: type[models.Model]
    near: type[models.Model]
    lookup: str
    far_lookup: str
    scope: Scope


def links(items: Items[Any]) -> list[Link]:
    """One link for each way that leads from the items to a model, the first being to the items themselves."""
    found: dict[tuple[type[models.Model], str], Link] = {(items.model, ""): Link(items, items.model)}
    own = found[items.model, ""]
    own.any_field = items.depends_on is None and any(_overridden(items, hook) for hook in HOOKS)
    for resolved in items.resolved_paths():
        scope = _scope_of_path(items, resolved)
        parts = resolved.path.split(paths.SEPARATOR)
        own_rows = {model for _, model in resolved.through}
        for lookup, model in [("", items.model), *resolved.relations]:
            link = found.setdefault((model, lookup), Link(items, model, lookup))
            depth = len(lookup.split(paths.SEPARATOR)) if lookup else 0
            if lookup:
                _note_way_in(link, scope)
            if model in own_rows:
                link.any_field = True
            elif depth < len(parts):
                _note_next(link, parts[depth], scope)
            link.whole = max(link.whole, *link.fields.values(), scope if lookup and not link.fields else link.whole)
    if own.any_field:
        own.whole = max(own.whole, _by_kind(items.model, {f.name for f in items.model._meta.concrete_fields}))
    related = [_related_link(items, model, path) for model, path in items.related_models()]
    return [link for link in found.values() if link is own or link.fields or link.any_field] + related


def throughs(items: Items[Any]) -> Iterator[Through]:
    for resolved in items.resolved_paths():
        scope = _scope_of_path(items, resolved)
        by_lookup = dict(resolved.relations)
        for lookup, through in resolved.through:
            depth = len(lookup.split(paths.SEPARATOR)) if lookup else 0
            near = by_lookup[lookup] if lookup else items.model
            far = next(name for name, model in resolved.relations if _depth(name) == depth + 1 and model is not through)
            yield Through(items, through, near, lookup, far, scope)


def with_subclasses(model: type[models.Model], every: Iterable[type[models.Model]]) -> list[type[models.Model]]:
    """The model, its proxies and its children: each sends signals of its own."""
    return [candidate for candidate in every if issubclass(candidate, model)] or [model]


def by_sender(every: Iterable[Link], known: Iterable[type[models.Model]]) -> dict[type[models.Model], list[Link]]:
    senders: defaultdict[type[models.Model], list[Link]] = defaultdict(list)
    known = list(known)
    for link in every:
        for sender in with_subclasses(link.model, known):
            senders[sender].append(link)
    return dict(senders)


def _depth(lookup: str) -> int:
    return len(lookup.split(paths.SEPARATOR)) if lookup else 0


def _overridden(items: Items[Any], hook: str) -> bool:
    return getattr(type(items), hook) is not getattr(Items, hook)


def _scope_of_path(items: Items[Any], resolved: paths.ResolvedPath) -> Scope:
    picture = resolved.path == items.images or (
        resolved.path in (items.depends_on or ()) and isinstance(resolved.field, models.FileField)
    )
    return Scope.ALL if picture else Scope.METADATA


def _find(model: type[models.Model], name: str) -> Any:
    try:
        return model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def _canonical(model: type[models.Model], name: str) -> str:
    found = _find(model, name)
    return found.name if found is not None else name


def _by_kind(model: type[models.Model], names: Collection[str]) -> Scope:
    """What unknown code may make of these fields: a file may be a picture, anything else is metadata."""
    files = any(isinstance(_find(model, name), models.FileField) for name in names)
    return Scope.ALL if files else Scope.METADATA


def _note_next(link: Link, part: str, scope: Scope) -> None:
    """The field of this model through which, or in which, the path goes on."""
    found = _find(link.model, part)
    if found is None:
        reverse = any(getattr(f, "get_accessor_name", lambda: None)() == part for f in link.model._meta.related_objects)
        link.any_field = link.any_field or not reverse  # a property or method may read any field
    elif found.concrete and not found.many_to_many:
        _widen(link, found.name, scope)
    # A reverse or a many-to-many relation is not in this row.


def _note_way_in(link: Link, scope: Scope) -> None:
    """The field of this model that points back, if it does: a row that moves concerns another item."""
    field = _last_relation(link.items.model, link.lookup)
    link.created_matters = bool(field.one_to_many or (field.one_to_one and not field.concrete))
    if not link.created_matters:
        return
    forward = getattr(field, "remote_field", None) if not hasattr(field, "object_id_field_name") else None
    if forward is None or not getattr(forward, "concrete", False):
        for name in ("object_id_field_name", "content_type_field_name"):  # a generic relation
            if getattr(field, name, None):
                _widen(link, getattr(field, name), scope)
        return
    _widen(link, forward.name, scope)
    for ordered in link.model._meta.ordering or ():  # which picture is the first
        if isinstance(ordered, str) and ordered.lstrip("-") in {f.name for f in link.model._meta.concrete_fields}:
            link.fields.setdefault(ordered.lstrip("-"), Scope.METADATA)
    if _depth(link.lookup) == 1 and forward.target_field.primary_key:
        link.column = forward.attname


def _last_relation(model: type[models.Model], lookup: str) -> Any:
    field: Any = None
    for part in lookup.split(paths.SEPARATOR):
        field = _find(model, part)
        model = field.related_model
    return field


def _related_link(items: Items[Any], model: type[models.Model], path: str) -> Link:
    link = Link(items, model, back=path, any_field=True)
    link.whole = _by_kind(model, {f.name for f in model._meta.concrete_fields})
    found = _find(model, path)
    if found is not None and found.concrete and found.is_relation and found.target_field.primary_key:
        link.column = found.attname
    return link


def _widen(link: Link, name: str, scope: Scope) -> None:
    link.fields[name] = max(scope, link.fields.get(name, scope))
