"""``manage.py imagesim_ubi``: export records in the schema User Behavior Insights 1.3."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from imagesim.insight import ubi
from imagesim.insight.rollup import bounds, local_date

KINDS = {"queries": ubi.queries, "events": ubi.actions}


def day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a day such as 2026-05-31") from error
    if not date.min < found < date.max:  # whose bounds are no moments in every time zone
        raise ArgumentTypeError(f"{text} is out of range")
    return found


class Command(BaseCommand):
    help = "Print what was recorded as JSON lines in the schema User Behavior Insights (UBI) 1.3."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=tuple(KINDS), help="which of the two schemas")
        parser.add_argument("--since", type=day, help="the first day (YYYY-MM-DD; default: 30 days ago)")
        parser.add_argument("--until", type=day, help="the last day (default: today)")
        parser.add_argument("--application", default="imagesim", help="the name of the shop in the records")

    def handle(
        self, *args: Any, kind: str, since: date | None, until: date | None, application: str, **options: Any
    ) -> None:
        last = until or local_date(timezone.now())
        first = since or last - timedelta(days=30)
        for record in KINDS[kind](application, bounds(first)[0], bounds(last)[1]):
            self.stdout.write(json.dumps(record, ensure_ascii=False))
