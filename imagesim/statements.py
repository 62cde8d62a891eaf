"""Queries that are asked all the time: put together once, because that takes longer than to answer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from django.db import connections, models
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler

M = TypeVar("M", bound=models.Model)


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


class Prepared(Generic[M]):
    """A queryset of instances, turned into SQL once for the database it reads from; asked again, only its parameters
    change."""

    def __init__(self, queryset: models.QuerySet[M]) -> None:
        self._queryset = queryset.using(queryset.db)
        compiler = queryset.query.get_compiler(queryset.db)
        self._sql, params = compiler.as_sql()
        self.params: tuple[Any, ...] = tuple(params)
        """Those it was made with, in the order in which ``ask`` takes others."""
        names = ("select", "klass_info", "annotation_col_map", "col_count", "has_extra_select")
        self._found = {name: getattr(compiler, name) for name in names}

    def ask(self, params: Sequence[Any]) -> models.QuerySet[M]:
        """The queryset with these parameters, to be evaluated as it is."""
        queryset = self._queryset.all()
        query: Any = queryset.query.chain(_PreparedQuery)
        query.known = self._found | {"as_sql": lambda: (self._sql, tuple(params))}
        queryset.query = query
        return queryset


class _PreparedQuery(Query):
    """Its compiler need not look at it: what it would find out is known."""

    known: Mapping[str, Any]

    def get_compiler(self, *args: Any, **kwargs: Any) -> SQLCompiler:
        compiler: SQLCompiler = super().get_compiler(*args, **kwargs)
        vars(compiler).update(self.known)
        return compiler
