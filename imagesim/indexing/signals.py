"""Record changes in the outbox when Django sends signals.

Receivers are connected only to the registered models and to the models that their paths pass through
(:mod:`imagesim.indexing.links`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models.signals import m2m_changed, post_delete, post_init, post_save, pre_delete, pre_save

from imagesim.indexing import outbox
from imagesim.indexing.links import FORMER_OWNERS, Link, Through, by_sender, links, throughs
from imagesim.items.registry import concrete_model, referred_pk, registry
from imagesim.models import Scope

_UID = "imagesim.changes"
"""The ``dispatch_uid`` of the receivers, one for each sender and signal."""
_FROM_FIXTURE = "_imagesim_from_fixture"
"""Set on a row that a fixture may load before the rows that it refers to, and before this app's own."""

_MOVED = "_imagesim_moved"
"""Set on a row: the ``owner`` of each link whose values differed from those of the row in the database at a save."""

_DELETED = "_imagesim_deleted"
"""Set on the instance or the queryset whose ``delete()`` was called: the items that are deleted with it, as pairs of
label and primary key."""

_links: dict[type[models.Model], list[Link]] = {}
_throughs: dict[type[models.Model], list[Through]] = {}
_owners: dict[type[models.Model], set[tuple[str, ...]]] = {}
"""By sender, the ``owner`` of each link to its rows."""


def connect() -> None:
    """Connect the receivers of all registered models, each only once. Call it again after a later registration."""
    disconnect()
    known = apps.get_models(include_auto_created=True)
    _links.update(by_sender([link for items in registry for link in links(items)], known))
    for through in [through for items in registry for through in throughs(items)]:
        if through not in _throughs.setdefault(through.through, []):
            _throughs[through.through].append(through)
    for sender in _links:
        post_save.connect(_saved, sender=sender, dispatch_uid=_UID)
        pre_delete.connect(_to_be_deleted, sender=sender, dispatch_uid=_UID)
        post_delete.connect(_deleted, sender=sender, dispatch_uid=_UID)
        if owners := {link.owner for link in _links[sender] if link.owner}:
            _owners[sender] = owners
            post_init.connect(_loaded, sender=sender, dispatch_uid=_UID)
            pre_save.connect(_to_be_saved, sender=sender, dispatch_uid=_UID)
    for sender in _throughs:
        m2m_changed.connect(_m2m_changed, sender=sender, dispatch_uid=_UID)


def disconnect() -> None:
    """Disconnect all receivers."""
    for sender in {*_links, *_throughs}:
        for signal in (post_init, pre_save, post_save, pre_delete, post_delete, m2m_changed):
            signal.disconnect(sender=sender, dispatch_uid=_UID)
    _links.clear()
    _throughs.clear()
    _owners.clear()


def _loaded(sender: type[models.Model], instance: models.Model, **kwargs: Any) -> None:
    """Remember the owner of the row, so that a save that moves it is recognised. Makes no query."""
    instance.__dict__[FORMER_OWNERS] = {owner: _values(instance, owner) for owner in _owners.get(sender, ())}


def _to_be_saved(
    sender: type[models.Model], instance: models.Model, using: str, raw: bool = False, **kwargs: Any
) -> None:
    """Read the owner of a row that moves, and from then on at each save: it may move back. Since the instance was
    loaded it may have been refreshed, its save may have been rolled back, or another process may have moved the row."""
    former = instance.__dict__.setdefault(FORMER_OWNERS, {})
    moved = instance.__dict__.setdefault(_MOVED, set())
    for owner in _owners[sender]:
        now = _values(instance, owner)
        if raw or (now == former.get(owner) and owner not in moved):
            continue
        former[owner] = now
        if not instance._state.adding:
            former[owner] = _stored_values(instance, owner, using) or now
            moved.add(owner)


def _values(instance: models.Model, owner: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(map(instance.__dict__.get, owner))


def _stored_values(instance: models.Model, owner: tuple[str, ...], using: str) -> tuple[Any, ...] | None:
    return type(instance)._base_manager.using(using).filter(pk=instance.pk).values_list(*owner).first()


def _saved(
    sender: type[models.Model],
    instance: models.Model,
    created: bool,
    raw: bool,
    using: str,
    update_fields: Collection[str] | None = None,  # some shops send the signal themselves, without it
    **kwargs: Any,
) -> None:
    if raw:
        instance.__dict__[_FROM_FIXTURE] = True
    for link in _links[sender]:
        scope = link.scope_of(update_fields, created)
        if scope is None:
            continue
        found, late = link.items_of(instance, using, raw), _FROM_FIXTURE in instance.__dict__
        outbox.record(link.items.label, found, scope=scope, using=using, late=late)


def _to_be_deleted(
    sender: type[models.Model], instance: models.Model, using: str, origin: Any = None, **kwargs: Any
) -> None:
    """Record the change of a row whose items cannot be found afterwards; note what :func:`_deleted` has to know about
    the others."""
    for link in _links[sender]:
        if not (link.is_item or link.owner):
            outbox.record(link.items.label, link.items_of(instance, using), scope=link.whole, using=using)
        elif link.is_item:
            found = link.items_of(instance, using)
            if isinstance(found, set) and hasattr(origin, "__dict__"):
                origin.__dict__.setdefault(_DELETED, set()).update((link.items.label, str(pk)) for pk in found)
    for owner in _owners.get(sender, ()):
        if instance.get_deferred_fields() & {*owner}:
            instance.refresh_from_db(using=using, fields=owner)
        elif instance is origin and (stored := _stored_values(instance, owner, using)):  # all others were just loaded
            instance.__dict__.setdefault(FORMER_OWNERS, {})[owner] = stored


def _deleted(sender: type[models.Model], instance: models.Model, using: str, origin: Any = None, **kwargs: Any) -> None:
    """Record the change of an item, and of a row with an owner, unless the same ``delete()`` also deletes its item.

    Locking the state of an item before its row could deadlock with a save, which locks them the other way round.
    """
    deleted = getattr(origin, _DELETED, ())
    for link in _links[sender]:
        if not (link.is_item or link.owner):
            continue
        found = link.items_of(instance, using)
        if deleted and not link.is_item:
            pks = found.values_list("pk", flat=True) if isinstance(found, models.QuerySet) else found
            found = {pk for pk in pks if (link.items.label, str(pk)) not in deleted}
        outbox.record(link.items.label, found, scope=Scope.ALL if link.is_item else link.whole, using=using)


def _m2m_changed(
    sender: type[models.Model],
    instance: models.Model,
    action: str,
    model: type[models.Model],
    pk_set: set[Any] | None,
    using: str,
    reverse: bool = False,
    **kwargs: Any,
) -> None:
    for through in _throughs[sender]:
        # Not by the class of the instance: both sides can be of one model, and an item of a subclass of the near one.
        is_near = reverse == through.reverse
        is_far = not is_near or through.symmetrical
        own, base = concrete_model(type(instance) if is_near else model), concrete_model(through.near)
        if not (issubclass(own, base) or issubclass(base, own)):
            continue  # of another model that has the same tags
        near: set[Any] = {instance.pk} if is_near and action in ("post_add", "post_remove", "post_clear") else set()
        if is_far and action in ("post_add", "post_remove"):
            near |= pk_set or set()
        every = through.items.model._base_manager
        if is_far and action == "pre_clear":
            far = {f"{through.far_lookup}__pk": instance.pk}
            outbox.record(through.items.label, every.filter(**far), scope=through.scope, using=using)
        found: set[Any] | models.QuerySet[Any] = {referred_pk(through.items, using, pk) for pk in near}
        if near and (through.lookup or not issubclass(own, base)):
            # Only those that are items: any instance of their parent can have the relation.
            found = every.filter(**{f"{through.lookup or 'pk'}__in": near})
        if near:
            late = _FROM_FIXTURE in instance.__dict__
            outbox.record(through.items.label, found, scope=through.scope, using=using, late=late)
