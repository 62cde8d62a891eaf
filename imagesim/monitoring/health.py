"""Health checks for monitors, cheap enough to be called every few seconds.

``live/`` only shows that the process answers: it is for load balancers, since a shop goes on selling while its visual
search is unavailable. ``health/`` shows the state of each part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from django.db import DatabaseError
from django.db.models import Min
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from imagesim.conf import get_settings
from imagesim.exceptions import ImagesimError, IndexMissing
from imagesim.indexes import get_index
from imagesim.models import ItemState

logger = logging.getLogger("imagesim.health")

State = Literal["ok", "degraded", "failing"]
SEVERITY: tuple[State, ...] = ("ok", "degraded", "failing")


@dataclass(frozen=True)
class Check:
    """The state of one part. ``degraded``: it works, but needs attention; ``failing``: it does not work."""

    name: str
    state: State
    detail: str = ""


def get_health() -> list[Check]:
    """The parts in a fixed order. Never raises."""
    return [_guarded("database", _database), _guarded("queue", _queue), _guarded("index", _index)]


def worst(checks: list[Check]) -> State:
    return max((check.state for check in checks), key=SEVERITY.index)


@never_cache
@require_safe
def live_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def health_view(request: HttpRequest) -> JsonResponse:
    """200 while all parts work, even if degraded; 503 if one fails. Only staff see the details."""
    checks = get_health()
    status = worst(checks)
    content: dict[str, object] = {"status": status, "checks": {check.name: check.state for check in checks}}
    if _is_staff(request):
        content["details"] = {check.name: check.detail for check in checks if check.detail}
    return JsonResponse(content, status=503 if status == "failing" else 200)


def _guarded(name: str, check: Callable[[], tuple[State, str]]) -> Check:
    try:
        return Check(name, *check())
    except (ImagesimError, DatabaseError) as error:
        return Check(name, "failing", str(error))
    except Exception as error:
        logger.exception("the check of the %s failed", name)
        return Check(name, "failing", type(error).__name__)


def _database() -> tuple[State, str]:
    ItemState.objects.exists()
    return "ok", ""


def _queue() -> tuple[State, str]:
    now = timezone.now()
    oldest = ItemState.objects.filter(pending=True, not_before__lte=now).aggregate(oldest=Min("changed_at"))["oldest"]
    age = (now - oldest).total_seconds() if oldest else 0.0
    if age > get_settings().HEALTH_QUEUE_SECONDS:
        return "degraded", f"The oldest change has been waiting for {age:.0f} s."
    return "ok", ""


def _index() -> tuple[State, str]:
    index = get_index()
    index.ping()
    try:
        index.meta()
    except IndexMissing as error:
        return "degraded", str(error)
    return "ok", ""


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    try:
        return bool(user is not None and user.is_active and user.is_staff)
    except DatabaseError:  # the session cannot be read either
        return False
