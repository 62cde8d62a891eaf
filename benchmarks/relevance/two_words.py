"""Queries for a kind and what it should be like. For half of them no entry has both words: are the hits of the kind?

A hit is junk if it is in no category of the kind, such as paint for "yellow shoes". Shoes of another colour are not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.relevance.known_items import with_typo

FIRST = 8
"""The number of hits of a query that are judged: the first one or two rows of cards."""


class Question(NamedTuple):
    """``categories``: those of the kind; ``sold``: whether an entry has both words."""

    text: str
    categories: frozenset[str]
    sold: bool


def _questions(lines: str) -> tuple[Question, ...]:
    found = []
    for line in lines.strip().splitlines():
        text, categories, sold = (part.strip() for part in line.split("|"))
        found.append(Question(text, frozenset(categories.split()), sold == "yes"))
    return tuple(found)


DEMO = _questions("""
    red wine            | beer-wine                | yes
    dark beer           | beer-wine                | yes
    orange juice        | juices                   | yes
    green juice         | juices                   | yes
    vintage camera      | cameras                  | yes
    zoom lens           | cameras                  | yes
    wireless mouse      | computers                | yes
    curved monitor      | computers                | yes
    leather sofa        | sofas-tables             | yes
    grey sofa           | sofas-tables             | yes
    oak desk            | sofas-tables             | yes
    whitewashed stool   | chairs                   | yes
    pendant lamp        | decor                    | yes
    parrot cushion      | decor                    | yes
    yellow paint        | paints                   | yes
    red tulips          | plants                   | yes
    leather high-top    | sneakers                 | yes
    knit shoe           | running-shoes sneakers   | yes
    mechanical keyboard | computers                | yes
    road bike           | outdoor                  | yes
    yellow shoes        | sneakers running-shoes   | no
    green sofa          | sofas-tables             | no
    red sofa            | sofas-tables             | no
    purple camera       | cameras                  | no
    wooden keyboard     | computers                | no
    pink tent           | outdoor                  | no
    yellow hoodie       | hoodies                  | no
    leather hoodie      | hoodies                  | no
    green cushion       | decor                    | no
    orange chair        | chairs                   | no
    turquoise sneakers  | sneakers running-shoes   | no
    navy shoes          | sneakers running-shoes   | no
    red desk            | sofas-tables             | no
    blue tulips         | plants                   | no
    red bike            | outdoor                  | no
    yellow lamp         | decor                    | no
    oak monitor         | computers                | no
    green polo          | polo-shirts t-shirts     | no
    gelbe Schuhe        | sneakers running-shoes   | no
    grünes Sofa         | sofas-tables             | no
""")

GROCERY = _questions("""
    apple juice         | Juice                               | yes
    orange juice        | Juice                               | yes
    vanilla yoghurt     | Yoghurt Soyghurt                    | yes
    strawberry yoghurt  | Yoghurt                             | yes
    natural yoghurt     | Yoghurt Oatghurt                    | yes
    standard milk       | Milk                                | yes
    oat milk            | Oat-Milk                            | yes
    soy milk            | Soy-Milk                            | yes
    sour cream          | Sour-Cream                          | yes
    yellow onion        | Onion                               | yes
    green pepper        | Pepper                              | yes
    red pepper          | Pepper                              | yes
    sweet potato        | Potato                              | yes
    vine tomato         | Tomato                              | yes
    beef tomato         | Tomato                              | yes
    brown mushroom      | Mushroom                            | yes
    honeydew melon      | Melon                               | yes
    green apple         | Apple                               | yes
    blueberry soyghurt  | Soyghurt                            | yes
    passion fruit       | Passion-Fruit                       | yes
    red milk            | Milk Oat-Milk Soy-Milk Sour-Milk    | no
    orange tomato       | Tomato                              | no
    red onion           | Onion                               | no
    blueberry yoghurt   | Yoghurt Soyghurt Oatghurt           | no
    mango juice         | Juice                               | no
    tropicana milk      | Milk Oat-Milk Soy-Milk Sour-Milk    | no
    sweet leek          | Leek                                | no
    red cucumber        | Cucumber                            | no
    vanilla juice       | Juice                               | no
    red lemon           | Lemon                               | no
    sour banana         | Banana                              | no
    green carrots       | Carrots                             | no
    beef cabbage        | Cabbage                             | no
    brown garlic        | Garlic                              | no
    purple pear         | Pear                                | no
    strawberry milk     | Milk Oat-Milk Soy-Milk Sour-Milk    | no
    ecological ginger   | Ginger                              | no
    golden pineapple    | Pineapple                           | no
    sweet zucchini      | Zucchini                            | no
    vanilla melon       | Melon                               | no
""")


def fashion(labels: Sequence[dict[str, str]], rng: random.Random) -> tuple[Question, ...]:
    """Return forty questions of colour and type: pairs that are sold together, and pairs that no entry has both of."""
    both = Counter((label["articleType"], label["baseColour"]) for label in labels)
    types = sorted({kind for kind, _colour in both if sum(both[kind, other] for _, other in both) >= 5})
    colours = sorted({colour for _, colour in both if sum(both[other, colour] for other in types) >= 50})
    pairs = [(kind, colour) for kind in types for colour in colours]
    found = []
    for sold in (True, False):
        fitting = [pair for pair in pairs if (both[pair] >= 3 if sold else not both[pair])]
        for kind, colour in rng.sample(fitting, 20):
            # Types whose names contain the last word of this type are the same kind.
            same = {each.replace(" ", "-")[:50] for each in types if kind.split()[-1].lower() in each.lower()}
            found.append(Question(f"{colour} {kind}".lower(), frozenset({*same, kind.replace(" ", "-")[:50]}), sold))
    return tuple(found)


def misspelled(questions: Sequence[Question]) -> list[Question]:
    """Return the questions with a typing error in each word that is long enough for one."""
    rng = random.Random(0)
    return [
        question._replace(text=" ".join(with_typo(word, rng) for word in question.text.split()))
        for question in questions
    ]


class Row(NamedTuple):
    """For some questions, the share of the hits shown that are junk, the shares of the questions that show any hit and
    that show one of the kind among the first eight, and the mean number of hits of the kind."""

    junk: float
    answered: float
    right: float
    found: float


def measure(
    questions: Sequence[Question], search: Callable[[str], Sequence[Any]], category_of: Callable[[Any], str]
) -> dict[bool, tuple[Row, list[str]]]:
    """Return, by whether an entry has both words, the figures and the questions with junk among their hits."""
    found = {}
    for sold in (True, False):
        asked = [question for question in questions if question.sold == sold]
        shown, right, answered, fitting, bad = 0, 0, 0, 0, []
        for question in asked:
            hits = list(search(question.text))[:FIRST]
            good = sum(category_of(hit) in question.categories for hit in hits)
            shown, right = shown + len(hits), right + good
            answered, fitting = answered + bool(hits), fitting + bool(good)
            if good < len(hits):
                bad.append(f"{question.text} {len(hits) - good}/{len(hits)}")
        row = Row(1 - right / shown if shown else 0.0, answered / len(asked), fitting / len(asked), right / len(asked))
        found[sold] = (row, bad)
    return found
