"""The items that failed last, for the page "Visual index"."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.safestring import SafeString

from imagesim.admin.base import shorten
from imagesim.admin.items import attach_items
from imagesim.admin.thumbnail import thumbnail
from imagesim.indexing.outbox import state_alias
from imagesim.models import ItemState

ROWS = 5


@dataclass(frozen=True)
class Failure:
    """A failed item: its picture, its name, the address of the page with its errors, and the first of them."""

    picture: SafeString | str
    name: str
    url: str
    error: str


def last_failures(site_name: str) -> list[Failure]:
    """Return the items that failed last, latest first."""
    failed = ItemState.objects.using(state_alias()).filter(outcome=ItemState.Outcome.FAILED, pending=False)
    states = list(failed.order_by("-changed_at", "-pk")[:ROWS])
    attach_items(states)
    return [_shown(state, site_name) for state in states]


def _shown(state: ItemState, site_name: str) -> Failure:
    item = getattr(state, "_imagesim_item", None)
    url = reverse("admin:imagesim_itemstate_change", args=[state.pk], current_app=site_name)
    picture = thumbnail(item) if item is not None else ""
    return Failure(picture, str(state if item is None else item), url, shorten(state.error))
