from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from demo_shop.shop.models import Category
from demo_shop.shop.packages import PACKAGES


def shop(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the header and footer of every page."""
    departments = Category.objects.filter(parent=None).prefetch_related("children")
    return {"departments": departments, "credits": PACKAGES.values()}
