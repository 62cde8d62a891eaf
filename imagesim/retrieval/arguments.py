"""The types of the arguments of a query: how each is parsed from text, checked, and described in a schema."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from uuid import UUID

from django.db import models
from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.exceptions import BadQuery, local_choices
from imagesim.filter_types import FALSE, FILTER_TYPES, TRUE, is_finite
from imagesim.indexes.validation import MAX_VALUES
from imagesim.items.registry import registry

if TYPE_CHECKING:
    from imagesim.items import Items
    from imagesim.retrieval.query_image import Picture

    TermValue: TypeAlias = Picture | str | models.Model
    TermValues: TypeAlias = TermValue | tuple[TermValue, float] | Iterable[TermValue | tuple[TermValue, float]]

T = TypeVar("T")
JSONSchema = dict[str, Any]
Searched = Sequence["Items[Any]"]
"""The ``Items`` of the models that a query searches."""

MAX_WEIGHT = 10.0
"""The maximum weight of a term, or of a component of a vector."""

_WEIGHTED_COMPONENT = re.compile(r"(\w+)\^(-?\d{1,9}(?:\.\d{1,9})?)")


class ArgumentType(ABC):
    """One type of argument; its methods raise :class:`BadQuery`, naming the bad value and the good ones."""

    def __init__(self, description: str = "") -> None:
        self.description = description

    def parse(self, name: str, texts: list[str]) -> Any:
        """Parse the texts of a query string or a form, none of which is blank."""
        return only(name, texts)

    @abstractmethod
    def check(self, name: str, value: Any, searched: Searched) -> Any:
        """Check a value given in Python, and return it as the request keeps it."""

    @abstractmethod
    def schema(self) -> JSONSchema:
        """Return the JSON schema of what :meth:`parse` reads, without description and default."""


class Integer(ArgumentType):
    """A whole number from ``least`` to the setting named ``most``."""

    def __init__(self, least: int, most: str) -> None:
        super().__init__()
        self.least, self.most = least, most

    def parse(self, name: str, texts: list[str]) -> int:
        text = only(name, texts)
        try:
            return int(text if len(text) <= 40 else "")
        except ValueError:
            raise bad_value(name, text, _("a whole number")) from None

    def check(self, name: str, value: Any, searched: Searched) -> int:
        most = getattr(get_settings(), self.most)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= most:
            wanted = _("a whole number from %(least)d to %(most)d") % {"least": self.least, "most": most}
            raise bad_value(name, value, wanted)
        return value

    def schema(self) -> JSONSchema:
        return {"type": "integer", "minimum": self.least, "maximum": getattr(get_settings(), self.most)}


class Real(ArgumentType):
    """A number from ``least`` to ``most``, or None if ``optional``."""

    def __init__(self, least: float, most: float, description: str, *, optional: bool = False) -> None:
        super().__init__(description)
        self.least, self.most, self.optional = least, most, optional

    def parse(self, name: str, texts: list[str]) -> float:
        text = only(name, texts)
        if len(text) <= 40 and is_finite(text):
            return float(text)
        raise bad_value(name, text, self._wanted())

    def check(self, name: str, value: Any, searched: Searched) -> float | None:
        if value is None and self.optional:
            return None
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and is_finite(value):
            number = float(value)
            if self.least <= number <= self.most:
                return number
        raise bad_value(name, value, self._wanted())

    def schema(self) -> JSONSchema:
        return {"type": "number", "minimum": self.least, "maximum": self.most}

    def _wanted(self) -> str:
        return _("a number from %(least)g to %(most)g") % {"least": self.least, "most": self.most}


class Switch(ArgumentType):
    """True or False, or None if ``optional``."""

    def __init__(self, description: str, *, optional: bool = False) -> None:
        super().__init__(description)
        self.optional = optional

    def parse(self, name: str, texts: list[str]) -> bool:
        return read_boolean(name, only(name, texts))

    def check(self, name: str, value: Any, searched: Searched) -> bool | None:
        if isinstance(value, bool) or (self.optional and value is None):
            return value
        raise bad_value(name, value, _("True, False or None") if self.optional else _("True or False"))

    def schema(self) -> JSONSchema:
        return {"type": "boolean"}


class Text(ArgumentType):
    """A text with normalised spaces, or None."""

    def check(self, name: str, value: Any, searched: Searched) -> str | None:
        return None if value is None else check_text(value, field=name)

    def schema(self) -> JSONSchema:
        return {"type": "string", "maxLength": get_settings().MAX_TEXT_LENGTH}


class Categories(ArgumentType):
    """A category or several, any of which a hit may be in. Blank ones are skipped, as an empty field of a form is."""

    def parse(self, name: str, texts: list[str]) -> list[str]:
        return texts

    def check(self, name: str, value: Any, searched: Searched) -> tuple[str, ...]:
        if value is None:
            return ()
        each = [value] if isinstance(value, str | int) else value
        if not isinstance(each, Iterable) or isinstance(each, bytes | Mapping):
            raise self._refusal(name, value)
        values = []
        for one in each:
            if isinstance(one, bool) or not isinstance(one, str | int | UUID):
                raise self._refusal(name, one)
            check_characters(name, str(one))
            if len(str(one)) > get_settings().MAX_TEXT_LENGTH:
                raise self._refusal(name, one)
            values.append(str(one))
        values = [text for text in values if text.strip()]
        check_count(name, values)
        return tuple(dict.fromkeys(values))

    def schema(self) -> JSONSchema:
        return {"type": "array", "items": {"type": "string", "maxLength": get_settings().MAX_TEXT_LENGTH}}

    def _refusal(self, name: str, value: object) -> BadQuery:
        return bad_value(name, value, _("the text of a category, such as its slug, or a list of them"))


class ModelLabels(ArgumentType):
    """Registered models, kept as their labels. They are checked before other arguments, whose checks depend on them."""

    def check(self, name: str, value: Any, searched: Searched) -> tuple[str, ...]:
        return model_labels(value)

    def schema(self) -> JSONSchema:
        return {"type": "string", "example": "shop.product"}


class Terms(ArgumentType):
    """Pictures, words and items. They are kept unchanged: :func:`~imagesim.retrieval.query_vector.read_terms` checks
    their number before any picture is decoded."""

    def parse(self, name: str, texts: list[str]) -> list[str]:
        return texts

    def check(self, name: str, value: Any, searched: Searched) -> Any:
        return value

    def schema(self) -> JSONSchema:
        return {"type": "array", "items": {"type": "string"}}


class Choices(ArgumentType):
    """Some of the names that ``known`` returns for the searched models: all for True, none for False or None."""

    def __init__(self, known: Callable[[Searched], Collection[str]], description: str) -> None:
        super().__init__(description)
        self.known = known

    def parse(self, name: str, texts: list[str]) -> bool | list[str]:
        if len(texts) == 1 and texts[0].lower() in (*TRUE, *FALSE):
            return read_boolean(name, texts[0])
        return split_commas(texts)

    def check(self, name: str, value: Any, searched: Searched) -> tuple[str, ...]:
        if value is None or value is False:
            return ()
        known = self.known(searched)
        if value is True:
            return tuple(known)
        each = [value] if isinstance(value, str) else value
        if not isinstance(each, list | tuple | set | frozenset):
            raise bad_value(name, value, _("True, False or a list of %(known)s") % {"known": local_choices(known)})
        for one in each:
            if one not in known:
                raise BadQuery(
                    _("%(name)r has no %(value)s; it can have %(known)s.")
                    % {"name": name, "value": safe_repr(one), "known": local_choices(known)},
                    field=name,
                )
        return tuple(one for one in known if one in each)

    def schema(self) -> JSONSchema:
        return {"type": "array", "items": {"type": "string", "enum": [*self.known(tuple(registry)), "true"]}}


class OneOf(ArgumentType):
    """One of these names, or None."""

    def __init__(self, names: Sequence[str], description: str) -> None:
        super().__init__(description)
        self.names = names

    def check(self, name: str, value: Any, searched: Searched) -> str | None:
        if value is None or (isinstance(value, str) and value in self.names):
            return value
        raise bad_value(name, value, local_choices(self.names))

    def schema(self) -> JSONSchema:
        return {"type": "string", "enum": list(self.names)}


class Weights(ArgumentType):
    """The weights of the components of a vector: ``{"colour": 0}``, or as texts ``"colour^0"``.

    Whether the model has such components is checked by the embedder.
    """

    def parse(self, name: str, texts: list[str]) -> list[str]:
        return texts

    def check(self, name: str, value: Any, searched: Searched) -> dict[str, float]:
        if value is None:
            return {}
        wanted = _("weights such as {'colour': 0}, or 'colour^0'")
        if isinstance(value, Mapping):
            for component, weight in value.items():
                sound = isinstance(weight, int | float) and not isinstance(weight, bool) and is_finite(weight)
                if not isinstance(component, str) or not sound or abs(weight) > MAX_WEIGHT:
                    raise bad_value(name, f"{component}: {weight}", wanted)
            return {component: float(weight) for component, weight in value.items()}
        found = {}
        for text in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]:
            match = _WEIGHTED_COMPONENT.fullmatch(text) if isinstance(text, str) else None
            if match is None or abs(float(match[2])) > MAX_WEIGHT:
                raise bad_value(name, text, wanted)
            found[match[1]] = float(match[2])
        return found

    def schema(self) -> JSONSchema:
        return {"type": "array", "items": {"type": "string", "example": "colour^0"}}


def model_labels(model: object) -> tuple[str, ...]:
    """Return the labels of models, given as a model or a label, or several of these; empty for None.

    :raises BadQuery: if it is none of these.
    :raises NotRegistered: if it is not registered.
    """
    if model is None:
        return ()
    each: Iterable[Any]
    each = model if isinstance(model, Iterable) and not isinstance(model, str | bytes | type) else [model]
    found = []
    for one in each:
        if isinstance(one, str):
            found.append(registry.for_label(one).label)
        elif isinstance(one, type) and issubclass(one, models.Model):
            found.append(registry.for_model(one).label)
        else:
            raise BadQuery(
                _("'model' must be a model or its label, such as %(good)s.")
                % {"good": local_choices(items.label for items in registry)},
                field="model",
            )
    return tuple(dict.fromkeys(found))


def check_text(text: object, *, field: str = "text") -> str:
    """Return the text of a query with normalised spaces.

    :raises BadQuery: if it is not text, is empty or too long, or holds characters that no database keeps.
    """
    if not isinstance(text, str):
        raise bad_value(field, text, _("words"))
    limit = get_settings().MAX_TEXT_LENGTH
    if len(text) > limit:
        raise BadQuery(
            _("The text has %(length)d characters; send at most %(limit)d.") % {"length": len(text), "limit": limit},
            field=field,
        )
    check_characters(field, text)
    tidy = " ".join(text.split())
    if not tidy:
        raise BadQuery(_("The text is empty; describe what to look for."), field=field)
    return tidy


def check_characters(name: str, text: str) -> None:
    """Check that a database can keep the characters of a text.

    :raises BadQuery: if there are characters that no database keeps.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadQuery(
            _("%(name)r holds a character that no text can hold (NUL or half of a surrogate pair); remove it.")
            % {"name": name},
            field=name,
        )


def check_count(name: str, values: Collection[object], most: int = MAX_VALUES) -> None:
    """Check the number of values of an argument.

    :raises BadQuery: if there are more than ``most``.
    """
    if len(values) > most:
        raise BadQuery(
            _("%(name)r has %(count)d values; send at most %(most)d.")
            % {"name": name, "count": len(values), "most": most},
            field=name,
        )


def only(name: str, given: Sequence[T]) -> T:
    """Return the only value.

    :raises BadQuery: if there are several.
    """
    if len(given) > 1:
        raise BadQuery(_("%(name)r is given more than once; send it once.") % {"name": name}, field=name)
    return given[0]


def split_commas(texts: Iterable[str]) -> list[str]:
    """Return the parts of texts between commas, without blank ones."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def read_boolean(name: str, text: str) -> bool:
    """Return the truth value that a text stands for.

    :raises BadQuery: if the text is neither true nor false.
    """
    try:
        return bool(FILTER_TYPES["boolean"].parse(text))
    except ValueError:
        raise bad_value(name, text, FILTER_TYPES["boolean"].expected_text) from None


def bad_value(name: str, value: object, wanted: str) -> BadQuery:
    """Return the error for a bad value; ``wanted`` says what it must be."""
    return BadQuery(
        _("%(name)r is %(value)s; it must be %(wanted)s.")
        % {"name": name, "value": safe_repr(value), "wanted": wanted},
        field=name[:100],
    )


def safe_repr(value: object) -> str:
    """Return the ``repr`` of a value, short enough for a sentence, or only its type if it might be large or secret."""
    if value is None or isinstance(value, str | bool | int | float | Decimal | date):
        try:
            text = repr(value)
        except ValueError:  # an int of thousands of digits
            return _("a number too large")
        return text if len(text) <= 60 else f"{text[:57]}…"
    return _("of type %(type)s") % {"type": type(value).__name__}
