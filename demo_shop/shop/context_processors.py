from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from demo_shop.shop.models import Category
from demo_shop.shop.packages import PACKAGES


def shop(request: HttpRequest) -> dict[str, Any]:
    """What every page's header and footer show."""
    departments = Category.objects.filter(parent=None).prefetch_related("children")
    return {"departments": departments, "credits": PACKAGES.values()}
