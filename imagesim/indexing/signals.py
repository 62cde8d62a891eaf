"""Django's signals -> changes. Connected only to the registered models and those their paths pass through."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_init, post_save, pre_delete

from imagesim.indexing import dispatch, outbox
from imagesim.indexing.dependencies import Link, Through, by_sender, links, throughs
from imagesim.models import Scope
from imagesim.registry import registry

_links: dict[type[models.Model], list[Link]] = {}
_throughs: dict[type[models.Model], list[Through]] = {}
_OWNERS = "_imagesim_owners"


def connect() -> None:
    """Connect to what is registered now. To be called again after a later registration; never connects twice."""
    disconnect()
    known = apps.get_models(include_auto_created=True)
    _links.update(by_sender([link for items in registry for link in links(items)], known))
    for through in [through for items in registry for through in throughs(items)]:
        if through not in _throughs.setdefault(through.through, []):
            _throughs[through.through].append(through)
    for sender in _links:
        post_save.connect(_saved, sender=sender, dispatch_uid=("imagesim.saved", sender))
        pre_delete.connect(_deleting, sender=sender, dispatch_uid=("imagesim.deleting", sender))
        post_delete.connect(_deleted, sender=sender, dispatch_uid=("imagesim.deleted", sender))
        if any(link.column for link in _links[sender]):
            post_init.connect(_loaded, sender=sender, dispatch_uid=("imagesim.loaded", sender))
    for sender in _throughs:
        m2m_changed.connect(_m2m_changed, sender=sender, dispatch_uid=("imagesim.m2m", sender))
    dispatch.connect()


def disconnect() -> None:
    for sender in _links:
        post_save.disconnect(sender=sender, dispatch_uid=("imagesim.saved", sender))
        pre_delete.disconnect(sender=sender, dispatch_uid=("imagesim.deleting", sender))
        post_delete.disconnect(sender=sender, dispatch_uid=("imagesim.deleted", sender))
        post_init.disconnect(sender=sender, dispatch_uid=("imagesim.loaded", sender))
    for sender in _throughs:
        m2m_changed.disconnect(sender=sender, dispatch_uid=("imagesim.m2m", sender))
    _links.clear()
    _throughs.clear()


def _loaded(sender: type[models.Model], instance: models.Model, **kwargs: Any) -> None:
    """Remember whose row this is, so that a save that moves it concerns the former owner too. Reads nothing."""
    held = instance.__dict__
    held[_OWNERS] = {link.column: held.get(link.column) for link in _links.get(sender, ()) if link.column}


def _saved(
    sender: type[models.Model],
    instance: models.Model,
    created: bool,
    raw: bool,
    using: str,
    update_fields: Collection[str] | None = None,  # some shops send the signal themselves, without it
    **kwargs: Any,
) -> None:
    for link in _links[sender]:
        scope = link.scope_of(update_fields, created)
        if scope is None:
            continue
        if raw:
            # A fixture may hold rows that this one needs, and our own rows too: look when all are loaded.
            transaction.on_commit(partial(_record, link, instance, scope, using), using=using, robust=True)
        else:
            _record(link, instance, scope, using)
        if link.column and (update_fields is None or link.writes_column(update_fields)):
            instance.__dict__.setdefault(_OWNERS, {})[link.column] = instance.__dict__.get(link.column)


def _deleting(sender: type[models.Model], instance: models.Model, using: str, **kwargs: Any) -> None:
    """Before it goes, and before foreign keys to it are set to NULL: afterwards nobody knows whom it concerned."""
    for link in _links[sender]:
        if (link.lookup or link.back) and not link.column:
            _record(link, instance, link.whole, using)


def _deleted(sender: type[models.Model], instance: models.Model, using: str, **kwargs: Any) -> None:
    for link in _links[sender]:
        if link.column or not (link.lookup or link.back):
            _record(link, instance, Scope.ALL if not link.column else link.whole, using)


def _m2m_changed(
    sender: type[models.Model],
    instance: models.Model,
    action: str,
    model: type[models.Model],
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    for through in _throughs[sender]:
        near: set[Any] = set()
        if isinstance(instance, through.near) and action in ("post_add", "post_remove", "post_clear"):
            near.add(instance.pk)
        elif issubclass(model, through.near) and action in ("post_add", "post_remove"):
            near |= pk_set or set()
        elif not isinstance(instance, through.near) and action == "pre_clear":
            every = through.items.model._base_manager.using(using)
            _record_queryset(through.items.label, every.filter(**{through.far_lookup: instance}), through.scope, using)
        if near and through.lookup:
            every = through.items.model._base_manager.using(using)
            _record_queryset(through.items.label, every.filter(**{f"{through.lookup}__in": near}), through.scope, using)
        elif near:
            outbox.record(through.items.label, near, scope=through.scope, using=outbox.state_alias(using))
            outbox.announce(using)


def _record(link: Link, instance: models.Model, scope: Scope, using: str) -> None:
    if link.lookup or link.back:
        if not link.column:
            _record_queryset(link.items.label, link.concerned(instance, using), scope, using)
            return
        owners = {instance.serializable_value(link.column), instance.__dict__.get(_OWNERS, {}).get(link.column)}
        pks = owners - {None}
    else:
        pks = {link.items.pk_of(instance)}
    if pks:
        outbox.record(link.items.label, pks, scope=scope, using=outbox.state_alias(using))
        outbox.announce(using)


def _record_queryset(label: str, queryset: models.QuerySet[Any], scope: Scope, using: str) -> None:
    if outbox.record_queryset(label, queryset, scope=scope, using=using):
        outbox.announce(using)
