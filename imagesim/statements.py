"""Queries that are asked all the time: put together once, because that takes longer than to answer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections, models


class Statement:
    """A queryset of ``values_list`` with placeholders, turned into SQL once for each database.

    ``build`` filters by ``Statement.value("name")`` wherever a value is to come, so it is for columns of text; the rows
    come as the database gives them, which for text, numbers and bytes is as they are.
    """

    def __init__(self, build: Callable[[], models.QuerySet[Any, Any]]) -> None:
        self._build = build
        self._statements: dict[str, tuple[str, tuple[Any, ...]]] = {}

    @staticmethod
    def value(name: str) -> str:
        return f"\0{name}"  # which no column holds

    def rows(self, using: str, **values: str) -> list[tuple[Any, ...]]:
        statement = self._statements.get(using)
        if statement is None:
            sql, params = self._build().using(using).query.get_compiler(using).as_sql()
            statement = self._statements[using] = (sql, tuple(params))
        sql, params = statement
        given = {self.value(name): value for name, value in values.items()}
        with connections[using].cursor() as cursor:
            cursor.execute(sql, [given.get(param, param) for param in params])
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
