"""The app's pages in Django's admin, and :class:`ItemStateMixin` for the shop's own."""

from __future__ import annotations

from imagesim.admin.index_page import VisualIndexAdmin
from imagesim.admin.mixins import ItemStateMixin
from imagesim.admin.runs import RunAdmin
from imagesim.admin.states import ItemStateAdmin

__all__ = ["ItemStateAdmin", "ItemStateMixin", "RunAdmin", "VisualIndexAdmin"]
