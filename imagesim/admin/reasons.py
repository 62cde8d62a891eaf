"""Why an item is not in the index, in one sentence."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext as _

from imagesim.models import ItemState
from imagesim.registry import registry

Outcome = ItemState.Outcome


def reason(state: ItemState | None, item: models.Model) -> str:
    """Return why the item is not in the index; empty if it is."""
    if state is None:
        return _("It was never indexed: no change of it was noticed. Save it, or reindex it from the list.")
    if state.outcome == Outcome.FAILED:
        return _("It could not be indexed: %(error)s") % {"error": state.error}
    if state.outcome == Outcome.SKIPPED and not state.pending:
        if not registry.for_item(item).should_index(item):
            return _("The shop does not show it.")
        return _("It has no picture.") if not state.images.exists() else state.error
    if state.outcome != Outcome.INDEXED:
        return _("It waits to be indexed.") if state.pending else _("It was removed from the index.")
    return ""
