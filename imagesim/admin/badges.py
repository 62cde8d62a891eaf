"""How the state of an item is shown: a word with a colour, the whole story where the pointer rests."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from imagesim.models import ItemState

Outcome = ItemState.Outcome
TONES: dict[str, str] = {Outcome.INDEXED: "good", Outcome.FAILED: "bad", Outcome.NEW: "waiting"}
ERROR_LENGTH = 100


def badge(state: ItemState | None) -> SafeString:
    """The state in a word; an item that no change was ever recorded of has none."""
    if state is None:
        return format_html('<span class="imagesim-badge" data-tone="none">{}</span>', _("unknown"))
    tone = "waiting" if state.pending and state.outcome != Outcome.FAILED else TONES.get(state.outcome, "none")
    word = _("waiting") if state.pending and state.outcome != Outcome.FAILED else state.get_outcome_display()
    return format_html('<span class="imagesim-badge" data-tone="{}" title="{}">{}</span>', tone, state.error, word)


def shorten(text: str) -> str:
    """The first line of an error, at a length that fits a column."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= ERROR_LENGTH else f"{line[: ERROR_LENGTH - 1]}…"
