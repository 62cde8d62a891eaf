"""Which saves concern which items: derived once from the shop's declarations, as :class:`Link` and :class:`Through`,
for the receivers of :mod:`imagesim.indexing.signals`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.expressions import Col
from django.db.models.sql import Query

from imagesim.items import Items, paths
from imagesim.items.declarations import image_paths
from imagesim.items.registry import concrete_model, referred_pk
from imagesim.models import Scope

HOOKS = (
    "get_queryset",
    "should_index",
    "get_images",
    "get_categories",
    "get_in_stock",
    "get_group",
    "get_filters",
    "get_texts",
)

FORMER_OWNERS = "_imagesim_former_owners"
"""The attribute of a row with its former owners: by the ``owner`` of a link, the values when the row was loaded or,
once they differ, in the database."""


@dataclass
class Link:
    """How a row of ``model`` leads to the items it concerns.

    ``lookup`` is the query path from the item to the row, empty for the item itself; ``back`` is the query path from
    the row to the item's primary key, for a model in ``related``.
    """

    items: Items[Any]
    model: type[models.Model]
    lookup: str = ""
    back: str = ""
    owner: tuple[str, ...] = ()
    """The attributes of the row's foreign key to its owner, which is the item or leads to it; of a generic relation,
    the key and the content type. Empty if the row refers to none. A row that moves concerns the former owner too."""
    owner_path: str = ""
    """The query path from the item to the key in ``owner`` or, with ``back``, from the owner to the item's primary key.
    Empty if ``owner`` holds the item's primary key itself, so that no query is needed."""
    created_matters: bool = True
    """False if no item can refer to a row that was just created."""
    any_field: bool = False
    """Whether fields that are not in ``fields`` may matter too."""
    fields: dict[str, Scope] = field(default_factory=dict)
    whole: Scope = Scope.METADATA
    """The scope of a save of all fields."""

    @property
    def is_item(self) -> bool:
        """Whether the row is the item itself."""
        return not (self.lookup or self.back)

    @property
    def has_key(self) -> bool:
        """Whether the row holds the item's primary key."""
        return bool(self.owner) and not self.owner_path

    def scope_of(self, update_fields: Collection[str] | None, created: bool = False) -> Scope | None:
        """Return the scope of a save of ``update_fields`` (None: all); None if it concerns no item."""
        if created:
            return (Scope.ALL if self.is_item else self.whole) if self.created_matters else None
        if update_fields is None:
            return self.whole if self.fields or self.any_field else None
        names = {_canonical(self.model, name) for name in update_fields}
        scopes = [self.fields[name] for name in names & self.fields.keys()]
        if self.any_field and names:
            scopes.append(_by_kind(self.model, names))
        return max(scopes, default=None)

    def items_of(self, instance: models.Model, using: str, raw: bool = False) -> set[Any] | models.QuerySet[Any]:
        """Return the items that a row concerns, and those of its former owner: their primary keys, or a queryset."""
        if not self.owner:
            return self._items_of_row(instance, using, raw)
        values = tuple(map(instance.serializable_value, self.owner))
        owners = {values, instance.__dict__.get(FORMER_OWNERS, {}).get(self.owner, values)}
        if self.has_key:
            return {referred_pk(self.items, using, *each) for each in owners} - {None}
        every: models.QuerySet[Any] = self.items.model._base_manager.using(using)
        keys = [key for (key,) in owners if key is not None]
        if not self.back:
            return every.filter(**{f"{self.owner_path}__in": keys})
        field = _find(self.model, self.back.partition(paths.SEPARATOR)[0])
        rows = field.related_model._base_manager.filter(**{f"{field.target_field.name}__in": keys})
        return every.filter(pk__in=rows.values(self.owner_path))

    def _items_of_row(self, instance: models.Model, using: str, raw: bool = False) -> set[Any] | models.QuerySet[Any]:
        """Return the items that a row concerns as it is in the database: a queryset, or the primary key if it is the
        item. The ``raw`` row of a child in a fixture refers to its parent's row, and lacks the parent's key."""
        own, sender = concrete_model(self.model), concrete_model(type(instance))
        if self.is_item and (sender is own or (not raw and issubclass(sender, own))):
            return {self.items.pk_of(instance)}
        every: models.QuerySet[Any] = self.items.model._base_manager.using(using)
        if self.is_item and issubclass(sender, own):
            children = sender._base_manager.filter(pk=instance.pk)
            return every.filter(pk__in=children.values(own._meta.pk.name))
        if self.is_item:  # the parent's row, which need not have a child
            parent: Any = own._meta.get_ancestor_link(sender)
            return every.filter(**{f"{parent.name}__pk": instance.pk})
        if self.back:
            rows = self.model._base_manager.filter(pk=instance.pk)
            return every.filter(pk__in=rows.values(self.back))
        # Filtered by key: a generic relation compares the wrong columns of an instance.
        return every.filter(**{f"{self.lookup}__pk": instance.pk})


@dataclass(frozen=True)
class Through:
    """A many-to-many relation on a path, the sender of ``m2m_changed``.

    ``near`` is the model on the item's side, ``lookup`` the query path from the item to it (empty for the item
    itself), ``far_lookup`` the path to the other side. ``reverse``: the other side declares the relation.
    """

    items: Items[Any]
    through: type[models.Model]
    near: type[models.Model]
    lookup: str
    far_lookup: str
    scope: Scope
    reverse: bool = False
    symmetrical: bool = False


def links(items: Items[Any]) -> list[Link]:
    """Return one link per path from the items to a model; the first is to the items themselves."""
    found: dict[tuple[type[models.Model], str], Link] = {(items.model, ""): Link(items, items.model)}
    own = found[items.model, ""]
    overrides = any(getattr(type(items), hook) is not getattr(Items, hook) for hook in HOOKS)
    own.any_field = items.depends_on is None and (overrides or _leaves_out(items.model))
    for resolved in items.resolved_paths():
        scope = _scope_of_path(items, resolved)
        parts = resolved.path.split(paths.SEPARATOR)
        own_rows = {model for _, model in resolved.through}
        for lookup, model in [("", items.model), *resolved.relations]:
            link = found.setdefault((model, lookup), Link(items, model, lookup))
            if lookup:
                _add_back_reference(link, scope)
            if model in own_rows or (items.depends_on is None and _is_to_many(link) and _leaves_out(model)):
                link.any_field = True
            elif _depth(lookup) < len(parts):
                _add_next_field(link, parts[_depth(lookup)], scope)
            link.whole = max(link.whole, *link.fields.values(), scope if lookup and not link.fields else link.whole)
        if (end := _key_at_end(resolved)) is not None and end.related_model is not None:  # a generic one leads anywhere
            key = (end.related_model, _relation_at_end(resolved))
            found.setdefault(key, Link(items, *key, created_matters=False))
    if own.any_field:
        own.whole = max(own.whole, _by_kind(items.model, {f.name for f in items.model._meta.concrete_fields}))
    kept = [link for link in found.values() if link is own or link.fields or link.any_field or _unlinks(link)]
    related = [_links_of_related(items, model, path) for model, path in items.related_models()]
    kept += [first for first, *_ in related]
    for between in (link for _, *rest in related for link in rest):
        if (between.model, between.owner) not in {(link.model, link.owner) for link in kept}:
            kept.append(between)
    return kept


def throughs(items: Items[Any]) -> Iterator[Through]:
    """Yield one for each many-to-many relation on a path of the items."""
    for resolved in items.resolved_paths():
        scope = _scope_of_path(items, resolved)
        by_lookup = dict(resolved.relations)
        for lookup, through in resolved.through:
            near = by_lookup[lookup] if lookup else items.model
            deeper = _depth(lookup) + 1
            far = next(name for name, model in resolved.relations if _depth(name) == deeper and model is not through)
            field = _last_relation(items.model, far)
            reverse = isinstance(field, models.ManyToManyRel)
            symmetrical = bool(getattr(field.remote_field, "symmetrical", False)) and field.related_model is field.model
            yield Through(items, through, near, lookup, far, scope, reverse, symmetrical)


def with_subclasses(model: type[models.Model], every: Iterable[type[models.Model]]) -> list[type[models.Model]]:
    """Return the model, its proxies and its children, each a separate sender; for a proxy, those of its model."""
    return [candidate for candidate in every if issubclass(candidate, concrete_model(model))] or [model]


def by_sender(every: Iterable[Link], known: Collection[type[models.Model]]) -> dict[type[models.Model], list[Link]]:
    senders: defaultdict[type[models.Model], list[Link]] = defaultdict(list)
    for link in every:
        for sender in with_subclasses(link.model, known):
            senders[sender].append(link)
        if link.is_item:
            parents = concrete_model(link.model)._meta.get_parent_list()
            for sender in [candidate for candidate in known if concrete_model(candidate) in parents]:
                senders[sender].append(link)
    return dict(senders)


def _depth(lookup: str) -> int:
    return len(lookup.split(paths.SEPARATOR)) if lookup else 0


def _leaves_out(model: type[models.Model]) -> bool:
    """Return whether the default manager may leave rows out, as with soft deletion."""
    return type(model._default_manager).get_queryset is not models.Manager.get_queryset


def _is_to_many(link: Link) -> bool:
    """Return whether an item reads these rows with their default manager; by a foreign key it uses the base manager."""
    field = _last_relation(link.items.model, link.lookup) if link.lookup else None
    return bool(field is not None and (field.one_to_many or field.many_to_many))


def _scope_of_path(items: Items[Any], resolved: paths.ResolvedPath) -> Scope:
    given = type(items).get_images is not Items.get_images
    kinds = (models.FileField, models.URLField) if given else models.FileField  # a method can return images by address
    read = resolved.path in (items.depends_on or ()) and isinstance(resolved.field, kinds)
    image = resolved.path in image_paths(items) or read
    return Scope.ALL if image else Scope.METADATA


def _find(model: type[models.Model], name: str) -> Any:
    try:
        return model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def _written(found: Any) -> Iterator[str]:
    """Yield the fields that a save names when it writes this one: itself, and those a ``GeneratedField`` is computed
    from."""
    yield found.name
    if isinstance(found, models.GeneratedField):
        generated: Any = found
        query = Query(found.model, alias_cols=False)
        yield from _columns(generated.expression.resolve_expression(query, allow_joins=False))


def _columns(expression: Any) -> Iterator[str]:
    if isinstance(expression, Col):
        yield expression.target.name
    for part in getattr(expression, "get_source_expressions", list)():
        yield from _columns(part)


def _canonical(model: type[models.Model], name: str) -> str:
    return str(getattr(_find(model, name), "name", name))


def _by_kind(model: type[models.Model], names: Collection[str]) -> Scope:
    """Return the scope if unknown code reads these fields: a file may be an image, anything else is metadata."""
    files = any(isinstance(_find(model, name), models.FileField) for name in names)
    return Scope.ALL if files else Scope.METADATA


def _add_next_field(link: Link, part: str, scope: Scope) -> None:
    """Add the field of this model that the path continues with, or ends at."""
    found = _find(link.model, part)
    if found is None:
        reverse = any(getattr(f, "get_accessor_name", lambda: None)() == part for f in link.model._meta.related_objects)
        link.any_field = link.any_field or not reverse  # a property or method may read any field
    elif found.concrete and not found.many_to_many:
        for name in _written(found):
            _widen(link, name, scope)
    # A reverse or a many-to-many relation is not stored in this row.


def _add_back_reference(link: Link, scope: Scope) -> None:
    """Add the fields of this model that refer back to the item, if any do: a row that moves concerns another item."""
    field = _last_relation(link.items.model, link.lookup)
    link.created_matters = bool(field.one_to_many or (field.one_to_one and not field.concrete))
    if not link.created_matters:
        return
    generic = hasattr(field, "object_id_field_name")
    names = [field.object_id_field_name, field.content_type_field_name] if generic else [field.remote_field.name]
    back = [found for name in names if (found := _find(link.model, name)).concrete]
    for each in back:
        _widen(link, each.name, scope)
    for ordered in link.model._meta.ordering or ():  # which image is first
        if not isinstance(ordered, str):
            link.any_field = True  # an expression may read any field
        elif ordered.lstrip("-") in {f.name for f in link.model._meta.concrete_fields}:
            for name in _written(_find(link.model, ordered.lstrip("-"))):
                link.fields.setdefault(name, Scope.METADATA)
    near = link.lookup.rpartition(paths.SEPARATOR)[0]
    if back and not (generic and near):
        link.owner = tuple(each.attname for each in back)
        if near or not (generic or back[0].target_field.primary_key):
            link.owner_path = paths.SEPARATOR.join(filter(None, [near, back[0].target_field.name]))


def _key_at_end(resolved: paths.ResolvedPath) -> Any:
    """Return the foreign key that a path ends in, whose row is not read; None if it ends in anything else."""
    field = resolved.field
    return field if field is not None and field.is_relation and resolved.steps[-1].kind == "value" else None


def _relation_at_end(resolved: paths.ResolvedPath) -> str:
    """Return the query path of the last relation of a path, which includes a foreign key at its end."""
    end = _key_at_end(resolved)
    return paths.SEPARATOR.join([name for name, _ in resolved.relations[-1:]] + ([end.name] if end is not None else []))


def _unlinks(link: Link) -> bool:
    """Return whether deleting the row ends its relation without a signal: a many-to-many relation that Django created,
    or a foreign key that Django clears."""
    field = _last_relation(link.items.model, link.lookup)
    on_delete = getattr(field.remote_field, "on_delete", models.CASCADE) if field.concrete else models.CASCADE
    return bool(field.many_to_many) or on_delete is not models.CASCADE


def _last_relation(model: type[models.Model], lookup: str) -> Any:
    field: Any = None
    for part in lookup.split(paths.SEPARATOR):
        field = _find(model, part)
        model = field.related_model
    return field


def _links_of_related(items: Items[Any], model: type[models.Model], path: str) -> list[Link]:
    """Return one link to the rows of a model in ``related``, and one to each row on their path to the item that can
    move."""
    whole = _by_kind(model, {f.name for f in model._meta.concrete_fields})
    made: list[Link] = []
    names = _relation_at_end(paths.resolve(model, path)).split(paths.SEPARATOR)
    for position, name in enumerate(names):
        rest = paths.SEPARATOR.join([*names[position + 1 :], "pk"])
        link = Link(items, model, back=f"{name}{paths.SEPARATOR}{rest}", whole=whole)
        link.any_field = link.created_matters = position == 0
        field = _find(model, name)
        if field.concrete and not field.many_to_many:
            link.owner = (field.attname,)
            link.owner_path = "" if rest == "pk" and field.target_field.primary_key else rest
            link.fields[field.name] = whole
        if link.any_field or link.fields:
            made.append(link)
        model = field.related_model
    return made


def _widen(link: Link, name: str, scope: Scope) -> None:
    link.fields[name] = max(scope, link.fields.get(name, scope))
