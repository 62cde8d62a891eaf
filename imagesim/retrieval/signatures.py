"""The signatures of the calls, for ``help()``, editors and type checkers; what the arguments mean is declared in
:mod:`imagesim.retrieval.params`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from imagesim.retrieval.params import Call, argument_defaults

if TYPE_CHECKING:
    from django.db import models

    from imagesim.retrieval.arguments import TermValues

F = TypeVar("F", bound=Callable[..., Any])


class _FilterArguments(TypedDict, total=False):
    """The arguments of all calls."""

    limit: int
    category: str | Iterable[str] | None
    in_stock: bool | None
    filters: Mapping[str, Any] | None


class SuggestArguments(_FilterArguments, total=False):
    """The arguments of ``suggest``."""

    model: type[models.Model] | str | Iterable[type[models.Model] | str] | None


class _EveryArgument(_FilterArguments, total=False):
    """The arguments of the calls that search by vectors."""

    min_score: float | None
    min_relevance: float | None
    collapse: bool
    exact: bool | None


class _PagedArguments(_EveryArgument, total=False):
    offset: int
    like: TermValues | None
    unlike: TermValues | None
    components: Mapping[str, float] | None
    diversity: float
    fallback: bool | Iterable[str]
    facets: bool | Iterable[str]


class LookArguments(_EveryArgument, total=False):
    """The arguments of ``shop_the_look``."""

    model: type[models.Model] | str | Iterable[type[models.Model] | str] | None


class SimilarArguments(_PagedArguments, total=False):
    """The arguments of ``similar_to``."""

    same_category: bool
    region_id: str | None


class SearchArguments(_PagedArguments, LookArguments, total=False):
    """The arguments of ``search``."""

    text: str | None
    region: str | None


def takes(call: Call) -> Callable[[F], F]:
    """Give a function the signature of its call in place of its ``**arguments``."""

    def decorate(function: F) -> F:
        parameters = signature(function).parameters
        own = [each for each in parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        declared = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            for name, default in argument_defaults(call).items()
            if name not in parameters
        ]
        filters = Parameter("filters", Parameter.KEYWORD_ONLY, default=None)
        function.__signature__ = Signature([*own, *declared, filters])  # type: ignore[attr-defined]
        return function

    return decorate
