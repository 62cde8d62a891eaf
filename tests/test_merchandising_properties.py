"""Whatever the rules and the size of a page: pins in place, nothing twice, nothing excluded, the rest in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imagesim
from demo_shop.shop.models import Product
from imagesim.items.registry import key_of
from imagesim.merchandising.engine import RuleSet
from imagesim.merchandising.models import Rule
from imagesim.retrieval import rerank
from imagesim.types import Hit, Hits
from tests import shop
from tests.examples import examples
from tests.shop import encoded, picture, product

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

BRANDS = ("acme", "zeta", "midi")
CATEGORIES = ("shoes", "hats", "bags", "coats")
SHADES = ("red", "darkred", "tomato", "orange", "blue", "navy", "green", "olive", "gold", "black")
COUNT = 60  # more than the window
EXAMPLES = {"local": 10, "elasticsearch": 5, "pgvector": 5}


@pytest.fixture(params=shop.TWO_DAILY)
def index_kind(request) -> str:
    return request.param


@pytest.fixture
def stock(index_kind, request, settings, media_root) -> Iterator[list[Product]]:
    settings.IMAGESIM = {
        "SYNC": "manual",
        "MIN_RELEVANCE": 0.0,
        "EMBEDDER": shop.EMBEDDER,
        "INDEX": shop.index_for(request, index_kind),
    }
    made = [
        product(
            f"{SHADES[n % 10]} thing {n}",
            picture(SHADES[n % 10], size=(32 + n, 32)),
            category=CATEGORIES[n % 4],
            brand=BRANDS[n % 3],
            price=str(10 + n),
            stock=n % 5,
            colour=SHADES[n % 7],
        )
        for n in range(COUNT)
    ]
    shop.index(with_texts=True)
    yield made
    shop.drop_index()


FILTERS = st.sampled_from(
    [
        "brand = acme",
        "brand = acme, zeta",
        "price >= 30",
        "price < 20\nbrand = midi",
        "category = hats",
        "in_stock = no",
    ]
)


@st.composite
def rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for _number in range(draw(st.integers(1, 5))):
        action = draw(st.sampled_from(["pin", "boost", "bury", "exclude", "limit"]))
        rule: dict[str, Any] = {"action": action, "priority": draw(st.integers(-2, 2))}
        if action == "pin":
            positions = draw(st.lists(st.integers(1, 48), min_size=1, max_size=4, unique=True))
            numbers = draw(st.permutations(range(COUNT)))
            rule["pins"] = list(zip(positions, numbers, strict=False))
        elif action == "limit":
            rule |= {"limit_field": "brand", "limit_count": draw(st.integers(1, 3))}
            rule["limit_first"] = draw(st.integers(rule["limit_count"] + 1, 20))
        else:
            rule["filters"] = draw(FILTERS)
            rule["factor"] = draw(st.floats(1.01, 100))
        found.append(rule)
    return found


QUESTIONS: dict[str, Callable[..., Hits]] = {
    "similar": lambda first, **page: imagesim.similar_to(first, **page),
    "words": lambda first, **page: imagesim.search(text="red thing", **page),
    "photo": lambda first, **page: imagesim.search(image=encoded(picture("tomato")), **page),
    "varied": lambda first, **page: imagesim.similar_to(first, diversity=0.6, **page),
    "fallback": lambda first, **page: imagesim.similar_to(first, same_category=True, fallback=True, **page),
    "relevant": lambda first, **page: imagesim.search(text="red thing", min_relevance=0.3, **page),
}


def read(made: Sequence[Product], drawn: Sequence[dict[str, Any]]) -> list[Rule]:
    read = []
    for number, fields in enumerate(drawn, 1):
        pins = "\n".join(f"{position}: {key_of(made[n])}" for position, n in fields.get("pins", ()))
        rule = Rule(pk=number, name=f"rule {number}", **(fields | {"pins": pins}))
        rule.clean()
        read.append(rule)
    return read


def everything(ask: Callable[..., Hits], first: Product, limit: int) -> list[Hit]:
    hits: list[Hit] = []
    offset = 0
    while True:
        page = ask(first, limit=limit, offset=offset)
        hits += page
        if not page.more:
            return hits
        assert len(page) == limit
        offset = page.next_offset


def is_excluded(shown: Product, filters: str) -> bool:
    return {
        "brand = acme": shown.brand == "acme",
        "brand = acme, zeta": shown.brand != "midi",
        "price >= 30": float(shown.price) >= 30,
        "price < 20\nbrand = midi": float(shown.price) < 20 and shown.brand == "midi",
        "category = hats": shown.category.slug == "hats",
        "in_stock = no": not shown.stock,
    }[filters]


def check(made: list[Product], drawn: list[dict[str, Any]], question: str, limit: int) -> None:
    ask, live = QUESTIONS[question], read(made, drawn)
    excluding = [rule for rule in live if rule.action == "exclude"]
    with rerank.replaced_by(RuleSet.of(excluding)):
        plain = [key_of(hit.item) for hit in everything(ask, made[0], 60)]
    with rerank.replaced_by(RuleSet.of(live)):
        hits = everything(ask, made[0], limit)
    found = [key_of(hit.item) for hit in hits]
    assert len(set(found)) == len(found)
    assert not any(is_excluded(hit.item, rule.filters) for hit in hits for rule in excluding)
    # Pins: the first one that can be shown gets the position, and a product the first of its positions.
    placed: dict[int, str] = {}
    gone = {key_of(shown) for shown in made if any(is_excluded(shown, rule.filters) for rule in excluding)}
    if question in ("similar", "varied", "fallback"):
        gone.add(key_of(made[0]))
    by_rank = sorted(zip(live, drawn, strict=True), key=lambda pair: (-pair[0].priority, pair[0].pk))
    for _rule, fields in by_rank:
        for position, n in fields.get("pins", ()):
            key = key_of(made[n])
            if position - 1 not in placed and key not in gone and key not in placed.values():
                placed[position - 1] = key
    others = [key for key in found if key not in placed.values()]
    expected = list(others)
    for position in sorted(placed):
        expected.insert(position, placed[position])
    assert found == expected
    assert set(found) == set(plain) | set(placed.values())
    # What no rule names keeps its order.
    unmoved = [key_of(hit.item) for hit in hits if not hit.rules]
    assert unmoved == [key for key in plain if key in set(unmoved)]
    limits = [rule for rule in live if rule.action == "limit"]
    if len(limits) == 1:
        check_limit(limits[0], hits, placed)


def check_limit(limit: Rule, hits: list[Hit], placed: dict[int, str]) -> None:
    pinned = set(placed.values())
    first = hits[: limit.limit_first]
    counts = Counter(hit.item.brand for n, hit in enumerate(hits) if n in placed and n < (limit.limit_first or 0))
    for position, hit in enumerate(first):
        if key_of(hit.item) in pinned:
            continue
        if counts[hit.item.brand] >= (limit.limit_count or 0):
            left = [each for each in hits[position:] if key_of(each.item) not in pinned]
            assert all(counts[each.item.brand] >= (limit.limit_count or 0) for each in left)
        counts[hit.item.brand] += 1


@pytest.mark.slow
def test_any_rules_and_any_pages(stock, index_kind):
    @settings(
        max_examples=examples(EXAMPLES[index_kind]),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(drawn=rules(), question=st.sampled_from(sorted(QUESTIONS)), limit=st.integers(3, 25))
    def holds(drawn: list[dict[str, Any]], question: str, limit: int) -> None:
        check(stock, drawn, question, limit)

    check(stock, [{"action": "pin", "pins": [(33, 49)]}, {"action": "pin", "pins": [(2, 49)]}], "fallback", 3)
    holds()
