"""Parse and check the fields of a rule: filters, pins, products and links."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace

from django.core.exceptions import ValidationError
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from imagesim.exceptions import BadQuery, NotRegistered, local_choices
from imagesim.items import make_key, split_key
from imagesim.items.keys import valid_pks
from imagesim.items.registry import registry
from imagesim.language.codes import plain_numbers
from imagesim.retrieval.filters import build_conditions, filter_names, parse_filter, split_lookup
from imagesim.types import Condition, Filters

MAX_LINES = 48
"""The maximum number of lines of a field, and the last position of a pin."""

CATEGORY, IN_STOCK = "category", "in_stock"
YES, NO = ("yes", "true", "1"), ("no", "false", "0")

_LOOKUPS = {"=": "", "<": "__lt", "<=": "__lte", ">": "__gt", ">=": "__gte"}
_CONDITION = re.compile(r"(\w+)\s*(<=|>=|=|<|>)\s*(\S.*)")
_WITHIN_NUMBER = re.compile(r"(?<=\d)[.,/](?=\d)")
_PIN = re.compile(r"(\d{1,4})\s*:\s*(\S.*)")


def words_of(text: str) -> str:
    """Return the words of a text for comparison: in lower case, in one form of Unicode, and without punctuation except
    within numbers ("4,5x50", "1/2"), which are searched for as they are if other words are replaced."""
    text = plain_numbers(text).casefold()
    kept = {match.start() for match in _WITHIN_NUMBER.finditer(text)}
    return " ".join("".join(c if _is_of_word(c) or at in kept else " " for at, c in enumerate(text)).split())


def _is_of_word(character: str) -> bool:
    """Return whether a character is part of a word. A regular expression of Python would exclude the vowel signs of
    Hindi and Thai."""
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")


def all_lines(text: str) -> list[str]:
    """Return the lines that are not blank, however many: a form may not have checked them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def lines_of(text: str) -> list[str]:
    """Return the lines that are not blank.

    :raises ValidationError: if there are more than :data:`MAX_LINES`.
    """
    lines = all_lines(text)
    if len(lines) > MAX_LINES:
        raise ValidationError(
            _("There are %(count)d lines; write at most %(most)d.") % {"count": len(lines), "most": MAX_LINES}
        )
    return lines


def read_filters(text: str) -> Filters:
    """Parse filters from lines such as ``brand = Acme, Zeta``, ``price <= 50``, ``category = shoes`` or ``in_stock =
    no``.

    All lines have to hold; of several values after ``=``, any one.

    :raises ValidationError: naming the bad line, and what would be right.
    """
    filters = Filters()
    once = {CATEGORY, IN_STOCK}
    for line in lines_of(text):
        match = _CONDITION.fullmatch(line)
        values = [part.strip() for part in match[3].split(",") if part.strip()] if match else []
        if match is None or not values:
            raise ValidationError(
                _("“%(line)s” is not a condition; write it as “brand = Acme” or “price <= 50”.") % {"line": line[:100]}
            )
        name, sign, value = match.groups()
        if name in (CATEGORY, IN_STOCK):
            if sign != "=":
                raise ValidationError(
                    _("“%(line)s”: only “=” compares with %(name)s.") % {"line": line[:100], "name": name}
                )
            if name not in once:
                raise ValidationError(
                    _("“%(line)s”: %(name)s can be compared in one line only.") % {"line": line[:100], "name": name}
                )
            once.remove(name)
        if name == CATEGORY:
            filters = replace(filters, categories=tuple(values))
        elif name == IN_STOCK:
            filters = replace(filters, in_stock=_yes_or_no(value))
        else:
            lookup = name + (_LOOKUPS[sign] or ("__in" if len(values) > 1 else ""))
            given = _value(name, lookup, values if len(values) > 1 else [value], line)
            filters = replace(filters, conditions=(*filters.conditions, *_conditions(lookup, given)))
    return filters


def _conditions(lookup: str, value: object) -> tuple[Condition, ...]:
    try:
        return build_conditions({lookup: value}, tuple(registry))
    except BadQuery as error:
        raise ValidationError(str(error)) from None


def _value(name: str, lookup: str, values: list[str], line: str) -> object:
    searched = tuple(registry)
    known = [*filter_names(searched), CATEGORY, IN_STOCK]
    if name not in known:
        raise ValidationError(
            _("“%(line)s”: there is no %(name)s; a rule can compare %(known)s.")
            % {"line": line[:100], "name": name, "known": local_choices(known)}
        )
    try:
        split_lookup(lookup, searched)
        return parse_filter(lookup, values, searched, ())
    except BadQuery as error:
        raise ValidationError(str(error)) from None


def _yes_or_no(text: str) -> bool:
    if text.lower() in (*YES, _("yes")):
        return True
    if text.lower() in (*NO, _("no")):
        return False
    raise ValidationError(_("“%(text)s” is neither yes nor no.") % {"text": text[:100]})


def read_key(text: str) -> str:
    """Return the key of an item, as the index has it; the primary key alone suffices if only one model is registered.

    :raises ValidationError: if no such model is registered.
    """
    label, pk = split_key(text)
    every = [items.label for items in registry]
    if not pk and len(every) == 1:
        label, pk = every[0], text
    try:
        items = registry.for_label(label)
    except NotRegistered:
        raise _no_key(text, every) from None
    if not pk:
        raise _no_key(text, every)
    return make_key(items.label, next(iter(valid_pks(items.model, [pk])), pk))


def _no_key(text: str, every: list[str]) -> ValidationError:
    return ValidationError(
        _("“%(text)s” is not a product; write it as %(example)s.")
        % {"text": text[:100], "example": local_choices(f"{label}:7" for label in every)}
    )


def read_pins(text: str) -> Iterator[tuple[int, str]]:
    """Yield (position from 1, key) for lines such as ``1: shop.product:7``.

    :raises ValidationError: naming the bad line.
    """
    positions, keys = set[int](), set[str]()
    for line in lines_of(text):
        match = _PIN.fullmatch(line)
        if match is None:
            raise ValidationError(
                _("“%(line)s” is not a position and a product; write it as “1: shop.product:7”.") % {"line": line[:100]}
            )
        position, key = int(match[1]), read_key(match[2])
        if not 1 <= position <= MAX_LINES:
            raise ValidationError(_("A position is a number from 1 to %(most)d.") % {"most": MAX_LINES})
        if position in positions or key in keys:
            raise ValidationError(_("“%(line)s”: this position or product is pinned already.") % {"line": line[:100]})
        positions.add(position)
        keys.add(key)
        yield position, key


def check_link(link: str) -> None:
    """:raises ValidationError: if it is neither a path of the shop nor a web URL."""
    is_path = re.fullmatch(r"/\S*", link) and url_has_allowed_host_and_scheme(link, allowed_hosts=None)
    if link and not is_path and not re.fullmatch(r"https?://[^\s/\\]\S*", link):
        raise ValidationError(_("Write the link as /sale/ or https://example.com/sale/."))


def check_field(name: str) -> None:
    """:raises ValidationError: if the shop has no filter of this name."""
    known = [*filter_names(tuple(registry)), IN_STOCK]
    if name and name not in known:
        names = {"name": name, "known": local_choices(known)}
        raise ValidationError(_("There is no filter %(name)s; it can be %(known)s.") % names)
