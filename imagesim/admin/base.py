"""The base of the admin pages: read-only pages, and states as coloured badges."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from imagesim.models import ItemState

Outcome = ItemState.Outcome
TONES: dict[str, str] = {Outcome.INDEXED: "good", Outcome.FAILED: "bad", Outcome.NEW: "waiting"}
ERROR_LENGTH = 100


class ReadOnly:
    """A mixin for a ModelAdmin or an inline that forbids adding, changing and deleting."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """A ModelAdmin whose pages cannot be edited."""


def badge(state: ItemState | None) -> SafeString:
    """Render the state as a coloured badge with the error as its tooltip; "unknown" for an item without a state."""
    if state is None:
        return format_html('<span class="imagesim-badge" data-tone="none">{}</span>', _("unknown"))
    tone = "waiting" if state.pending and state.outcome != Outcome.FAILED else TONES.get(state.outcome, "none")
    word = _("waiting") if state.pending and state.outcome != Outcome.FAILED else state.get_outcome_display()
    return format_html('<span class="imagesim-badge" data-tone="{}" title="{}">{}</span>', tone, state.error, word)


def shorten(text: str) -> str:
    """Return the first line of an error, shortened to fit a column."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= ERROR_LENGTH else f"{line[: ERROR_LENGTH - 1]}…"
