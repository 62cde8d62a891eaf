"""The app's pages in Django's admin, and :class:`ItemStateMixin` for the shop's own."""

from __future__ import annotations

from imagesim.admin.index_page import VisualIndexAdmin
from imagesim.admin.items import ItemStateAdmin
from imagesim.admin.jobs import JobAdmin
from imagesim.admin.mixin import ItemStateMixin

__all__ = ["ItemStateAdmin", "ItemStateMixin", "JobAdmin", "VisualIndexAdmin"]
