"""Say which products and categories of a rule the shop does not have: the rule is valid, but has no effect there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from django.utils.translation import gettext as _

from imagesim.merchandising.conditions import lines_of, read_filters, read_key, read_pins
from imagesim.merchandising.models import Rule
from imagesim.registry import registry
from imagesim.retrieval.filters import categories_of
from imagesim.retrieval.hydrate import load_items

SELECTING = (Rule.Action.BOOST, Rule.Action.BURY, Rule.Action.EXCLUDE)
NEAREST = 5


def warnings(rule: Rule) -> Iterator[str]:
    """Yield a text for the products of a valid rule that do not exist, and one for its categories without products."""
    if missing := _missing_products(rule):
        yield _("There is no product %(names)s at present; the rule has no effect there.") % {"names": _join(missing)}
    known = [category for items in registry for category in categories_of(items)]
    missing = [each for each in _categories(rule) if each not in known]
    if known and missing:  # categories that a method computes are not known
        folded = {each.casefold(): each for each in known}
        nearest = [folded[near] for each in missing for near in get_close_matches(each.casefold(), folded, NEAREST, 0)]
        yield _(
            "No product has the category %(names)s at present; the rule has no effect there. Nearest: %(nearest)s."
        ) % {
            "names": _join(missing),
            "nearest": _join(dict.fromkeys(nearest)),
        }


def _missing_products(rule: Rule) -> list[str]:
    keys = [read_key(line) for line in lines_of(rule.triggers)] if rule.when == Rule.When.PRODUCT else []
    if rule.action == Rule.Action.PIN:
        keys += [key for _position, key in read_pins(rule.pins)]
    found = load_items(key for key in keys if "\0" not in key)
    return [key for key in keys if key not in found]


def _categories(rule: Rule) -> list[str]:
    found = lines_of(rule.triggers) if rule.when == Rule.When.CATEGORY else []
    return [*found, *read_filters(rule.filters).categories] if rule.action in SELECTING else list(found)


def _join(names: Iterable[str]) -> str:
    return ", ".join(_("“%(name)s”") % {"name": name[:100]} for name in names)
