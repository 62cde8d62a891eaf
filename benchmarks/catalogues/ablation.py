"""What each rule for reading words is worth: ``python -m benchmarks.catalogues.ablation sports dutch``.

Runs the queries of the catalogues with all rules, and again without each of them, or without each of those that
``--without`` names and without all of these together. A rule acts on a query if its result differs from what stands
in its place when it is left out; only these queries are run again. Prints on how many queries each rule acts; how many
answers change without it, are spoiled (right with the rule, wrong without it), and mended (the reverse); and how many
more right hits, and other hits, are then shown. ``--queries`` prints which queries are spoiled and mended.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks.catalogues.__main__ import CACHE, SHOPS, Answer, answer, opened

Rule = Callable[..., Any]
TOGETHER = "all of these"


def _gives(value: Any) -> Callable[[Rule], Rule]:
    """Replace a rule by a function that always returns this value."""
    return lambda _rule: lambda *_arguments, **_options: value


def _as_given(_rule: Rule) -> Rule:
    """Replace a rule by a function that returns its first argument."""
    return lambda first, *_arguments, **_options: first


def _except(option: str) -> Callable[[Rule], Rule]:
    """Replace a rule by a function that returns an empty list if this option is set."""
    return lambda rule: lambda *arguments, **options: [] if options.get(option) else rule(*arguments, **options)


def _names_or_calls(_rule: Rule) -> Rule:
    """Replace ``Phrase.is_sought`` by its answer for a word on its own."""

    def is_sought(phrase: Any, number: int, head: int, _named: Collection[int]) -> bool:
        return bool(phrase.kinds[number]) or (number == head and phrase.roles.calls(phrase.stems[number]))

    return is_sought


_READER, _TEXT = "imagesim.retrieval.words.reader", "imagesim.retrieval.words.with_text"
_PHRASE, _ROLES = "imagesim.retrieval.words.syntax.Phrase", "imagesim.language.word_roles.Roles"

RULES: Mapping[str, tuple[str, Callable[[Rule], Rule]]] = {
    "spaced": (f"{_READER}.spaced", _as_given),
    "with_divided_units": (f"{_READER}.with_divided_units", _gives([])),
    "without_negated_colours": (
        f"{_READER}.without_negated_colours",
        lambda _rule: lambda text, *_arguments: (text, frozenset()),
    ),
    "foreign_to": (f"{_READER}.foreign_to", _gives(frozenset())),
    "words_not_of": (f"{_READER}.words_not_of", _gives(frozenset())),
    "stems_of (misspellings)": (f"{_ROLES}.stems_of", lambda _rule: lambda _roles, _word, stems: stems),
    "divided_compound": (f"{_READER}.divided_compound", _gives("")),
    "kinds_of_ending": (f"{_READER}.kinds_of_ending", _gives(frozenset())),
    "known_words": (f"{_READER}.known_words", _gives("")),
    "replace_with_synonyms": (f"{_READER}.replace_with_synonyms", _gives([])),
    "replace_with_synonyms beside": (f"{_READER}.replace_with_synonyms", _except("beside")),
    "replace_with_synonyms even_if_known": (f"{_READER}.replace_with_synonyms", _except("even_if_known")),
    "excluded_categories": (f"{_READER}.excluded_categories", _gives(frozenset())),
    "called_for": (f"{_READER}.called_for", _gives(((), ()))),
    "requirements": (f"{_READER}.requirements", _gives({})),
    "required_numbers": (f"{_READER}.required_numbers", _gives(())),
    "is_sought": (f"{_PHRASE}.is_sought", _names_or_calls),
    "departments": (f"{_PHRASE}.departments", _gives(set())),
    "in_compounds": (f"{_PHRASE}.in_compounds", _gives(frozenset())),
    "are_of_another": (f"{_ROLES}._are_of_another", _gives(False)),
    "in_full": (f"{_ROLES}._in_full", _gives(([], frozenset()))),
    "lower_mentions": (f"{_TEXT}.lower_mentions", _as_given),
    "prefer_kinds": (f"{_TEXT}.prefer_kinds", _as_given),
    "raise_heads": (f"{_TEXT}.raise_heads", _as_given),
    "lower_other_categories": (f"{_TEXT}.lower_other_categories", _as_given),
    "lower_other_departments": (f"{_TEXT}.lower_other_departments", _as_given),
    "names_entries": (f"{_TEXT}.names_entries", _gives(False)),
    "capped_if_unmet": (f"{_TEXT}.capped_if_unmet", _as_given),
    "evidence": (f"{_TEXT}.WithText._evidence", _gives(({}, 1.0))),
    "feedback": (f"{_TEXT}.WithText._understands", _gives(True)),
    "without_unrelated": (
        "imagesim.retrieval.category_names.CategoryNames.without_unrelated",
        lambda _rule: lambda _names, _vector, looks, _calibration: looks,
    ),
}
"""By name, the function or method, as its caller sees it, and what makes its replacement."""


class Change(NamedTuple):
    """The answers to a query with a rule (``kept``) and without it."""

    text: str
    kept: Answer
    left_out: Answer

    @property
    def is_spoiled(self) -> bool:
        return bool(self.left_out.fault and not self.kept.fault)

    @property
    def is_mended(self) -> bool:
        return bool(self.kept.fault and not self.left_out.fault)


class Worth(NamedTuple):
    """On how many queries a rule acts, and what changes without it."""

    acts: int
    changes: list[Change]

    def __str__(self) -> str:
        spoiled, mended = sum(each.is_spoiled for each in self.changes), sum(each.is_mended for each in self.changes)
        right = sum(sum(each.left_out.right) - sum(each.kept.right) for each in self.changes)
        shown = sum(len(each.left_out.right) - len(each.kept.right) for each in self.changes)
        counts = f"{self.acts:5} {len(self.changes):8} {spoiled:8} {mended:7}"
        return f"{counts} {right:+6} {shown - right:+6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shops", nargs="+", help=f"{', '.join(SHOPS)}, or files in the same format", metavar="SHOP")
    parser.add_argument("--without", action="append", choices=RULES, metavar="RULE", help=f"all by default: {[*RULES]}")
    parser.add_argument("--queries", action="store_true", help="print which queries are spoiled and mended")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    rules = options.without or [*RULES]
    sets = {name: [name] for name in rules}
    if options.without:
        sets[TOGETHER] = rules
    total, asked = {name: Worth(0, []) for name in sets}, 0
    # A process has the settings and the index of one shop.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for count, worth in pool.imap(partial(measured, sets=sets, cache=options.cache), options.shops, chunksize=1):
            asked += count
            total = {
                name: Worth(own.acts + worth[name].acts, own.changes + worth[name].changes)
                for name, own in total.items()
            }
    print(f"{asked} queries; without           acts  changes  spoiled  mended  right  other")
    for name, own in total.items():
        print(f"{name:35} {own}")
        for each in own.changes if options.queries else ():
            if each.is_spoiled or each.is_mended:
                shown = ", ".join(each.left_out.found[:2]) or "nothing"
                print(f"    {'spoiled' if each.is_spoiled else 'mended'} {each.text!r}: {shown}")


def measured(shop: str, sets: Mapping[str, Sequence[str]], cache: Path) -> tuple[int, dict[str, Worth]]:
    """Return the number of queries of a shop, and what each set of rules is worth for them."""
    patterns = dict(opened(shop, cache))
    rules = dict.fromkeys(name for names in sets.values() for name in names)
    acts: dict[str, set[str]] = {name: set() for name in rules}
    kept = {}
    for text, pattern in patterns.items():
        with ExitStack() as stack:
            for name in rules:
                stack.enter_context(_replaced(name, partial(_noting, partial(acts[name].add, text))))
            kept[text] = answer(text, pattern)

    def worth(left_out: Sequence[str]) -> Worth:
        _forget()
        again = [text for text in patterns if any(text in acts[name] for name in left_out)]
        with ExitStack() as stack:
            for name in left_out:
                stack.enter_context(_replaced(name, lambda _rule, without: without))
            changes = [Change(text, kept[text], answer(text, patterns[text])) for text in again]
        return Worth(len(again), [each for each in changes if each.kept != each.left_out])

    return len(patterns), {name: worth(left_out) for name, left_out in sets.items()}


def _replaced(name: str, by: Callable[[Rule, Rule], Rule]) -> AbstractContextManager[Any]:
    """Replace a rule by ``by(rule, without)``, where ``without`` is what stands there if the rule is left out."""
    path, made = RULES[name]
    target, _dot, attribute = path.rpartition(".")
    owner = resolve_name(target)
    rule = getattr(owner, attribute)
    return patch.object(owner, attribute, by(rule, made(rule)))


def _noting(note: Callable[[], None], rule: Rule, without: Rule) -> Rule:
    """Return a rule that calls ``note`` if its result differs from that of ``without``."""

    def noting(*arguments: Any, **options: Any) -> Any:
        found, other = rule(*arguments, **options), without(*arguments, **options)
        found = [*found] if isinstance(found, Iterator) else found
        if found != other and not (isinstance(found, list) and found == [*other]):
            note()
        return found

    return noting


def _forget() -> None:
    """Forget everything that the process has kept from earlier answers, except the model."""
    from imagesim.embedders import get_embedder
    from imagesim.runtime import runtime

    embedder = get_embedder()
    runtime.reset(keep=lambda value: value is embedder)


if __name__ == "__main__":
    main()
