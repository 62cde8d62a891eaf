"""Facets, sorting and steps over the hits of an answer, chosen in the URL of a page."""

from __future__ import annotations

import pytest
from django.http import QueryDict
from django.template import Context, Template
from django.urls import reverse
from django.utils.translation import override

import imagesim
from demo_shop.shop.models import Product
from imagesim.exceptions import BadQuery, ConfigurationError
from imagesim.items.registry import registry
from imagesim.pages.refinement import Choice, Refinement, _middle
from imagesim.types import Hits
from tests import shop
from tests.shop import picture, product

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settings(settings, media_root):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER}


@pytest.fixture
def shelf() -> dict[str, Product]:
    return shop.shelf()


def refined(query: str, *, like: Product | None = None, page_size: int = 12) -> tuple[Refinement, Hits]:
    refinement = Refinement(
        Product,
        QueryDict(query),
        facets={"brand": "Brand", "colour": "Colour"},
        sort={"price": "Price"},
        like=like,
        page_size=page_size,
    )
    if like is None:
        hits = imagesim.search(image=shop.encoded(picture("red")), model=Product, **refinement.arguments())
    else:
        hits = imagesim.similar_to(like, **refinement.arguments())
    return refinement, refinement.apply(hits)


def names(hits: Hits) -> list[str]:
    return [hit.item.name for hit in hits]


def choices(refinement: Refinement, name: str) -> list[tuple[str, int | None]]:
    return next(
        (
            [(choice.label, choice.count) for choice in group.choices]
            for group in refinement.groups
            if group.name == name
        ),
        [],
    )


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"facets": {"colr": "Colour"}},
            "'facets' of a refinement names 'colr'; it can name 'brand', 'colour' or 'price'.",
        ),
        ({"sort": {"brand": "Brand"}}, "'sort' of a refinement names 'brand'; it can name 'price'."),
    ],
)
def test_a_filter_that_is_not_declared_is_named(declared, message):
    """Otherwise, there would be no facet, and no order but an error about a number."""
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        Refinement(Product, QueryDict(""), **declared)


def test_facets_count_the_hits(shelf):
    refinement, hits = refined("")
    assert (len(hits), refinement.total, refinement.more) == (6, 6, False)
    assert choices(refinement, "brand") == [("acme", 5), ("zeta", 1)]
    assert choices(refinement, "colour") == [("red", 3), ("blue", 2), ("orange", 1)]


def test_a_value_with_space_around_it_can_be_chosen():
    """Spreadsheets have such values, and query strings lose the space: the choice found nothing."""
    for number, brand in enumerate(("Acme ", "Acme", "Zeta")):
        product(f"shoe {number}", picture("red"), brand=brand)
    shop.index()
    refinement, _hits = refined("")
    assert choices(refinement, "brand") == [("Acme", 2), ("Zeta", 1)]
    _refinement, hits = refined("brand=Acme+")
    assert sorted(names(hits)) == ["shoe 0", "shoe 1"]


def test_a_hit_on_which_the_shops_code_fails_is_in_no_facet(shelf, monkeypatch):
    items = registry.for_model(Product)
    asked = items.get_filters
    monkeypatch.setattr(items, "get_filters", lambda item: asked(item if item.name != "red" else item.nothing))
    refinement, hits = refined("sort=price")
    assert names(hits)[-1] == "red"
    assert choices(refinement, "brand") == [("acme", 4), ("zeta", 1)]


def test_a_step_of_an_item_on_which_the_shops_code_fails_is_that_of_the_results(shelf, monkeypatch):
    items = registry.for_model(Product)
    asked = items.get_filters
    monkeypatch.setattr(items, "get_filters", lambda item: asked(item if item.name != "red" else item.nothing))
    assert [step.label for step in refined("", like=shelf["red"])[0].steps] == ["Price below 40"]


def test_a_list_of_values_is_several_as_in_the_index(shelf, monkeypatch):
    """It must not be one value, whose link finds nothing."""
    items = registry.for_model(Product)
    asked = items.get_filters
    monkeypatch.setattr(items, "get_filters", lambda item: asked(item) | {"colour": [item.colour, "dotted"]})
    refinement, _hits = refined("")
    assert choices(refinement, "colour") == [("dotted", 6), ("red", 3), ("blue", 2), ("orange", 1)]


def test_a_choice_filters_the_search_and_can_be_removed(shelf):
    refinement, hits = refined("q=x&colour=red")
    assert sorted(names(hits)) == ["dark", "hat", "red"]
    assert choices(refinement, "brand") == [("acme", 2), ("zeta", 1)]
    (colour,) = [group for group in refinement.groups if group.name == "colour"]
    assert colour.chosen == Choice("red", "?q=x", True, 3, "red")
    (zeta,) = [choice for group in refinement.groups for choice in group.choices if choice.label == "zeta"]
    assert QueryDict(zeta.url[1:]).dict() == {"q": "x", "colour": "red", "brand": "zeta"}
    assert refinement.chosen == [("colour", "red")]


def test_values_that_would_replace_the_chosen_one_have_no_count(shelf, monkeypatch):
    """One thing is red and dotted, but the link to what is dotted leads to all that is."""
    items = registry.for_model(Product)
    asked = items.get_filters
    monkeypatch.setattr(items, "get_filters", lambda item: asked(item) | {"colour": [item.colour, "dotted"]})
    shop.index()
    refinement, _hits = refined("colour=red")
    assert choices(refinement, "colour") == [("red", 3), ("dotted", None)]
    assert choices(refined("colour=dotted")[0], "colour")[0] == ("dotted", 6)


def test_a_choice_without_results_can_be_removed(shelf):
    refinement, hits = refined("colour=none such")
    assert len(hits) == 0
    assert choices(refinement, "colour") == [("none such", 0)]


def test_a_facet_of_numbers_is_in_their_order_and_has_bounds(shelf):
    """Prices must not be in the order of their counts, and a range must be available."""
    facets = {"price": "Price"}

    def refine(query: str) -> tuple[Refinement, Hits]:
        refinement = Refinement(Product, QueryDict(query), facets=facets, sort=facets)
        hits = imagesim.search(image=shop.encoded(picture("red")), model=Product, **refinement.arguments())
        return refinement, refinement.apply(hits)

    refinement, hits = refine("q=red")
    prices = sorted({float(hit.item.price) for hit in hits})
    [group] = [group for group in refinement.groups if group.name == "price"]
    assert [float(choice.value) for choice in group.choices] == prices
    assert [(field.name, float(field.hint)) for field in group.bounds] == [
        ("price__gte", prices[0]),
        ("price__lte", prices[-1]),
    ]
    low, high = prices[1], prices[-2]
    refinement, hits = refine(f"q=red&price__gte={low}&price__lte={high}&sort=price&page=1")
    assert {float(hit.item.price) for hit in hits} == {price for price in prices if low <= price <= high}
    assert [step.is_chosen for step in refinement.steps[:2]] == [True, True]
    assert refinement.steps[0].label.startswith("Price from")
    assert "price__gte" not in refinement.steps[0].url
    assert "price__lte" in refinement.steps[0].url
    [group] = [group for group in refinement.groups if group.name == "price"]
    assert dict(group.others) == {"q": "red", "sort": "price"}
    html = Template("{% load imagesim %}{% refine refinement %}").render(Context({"refinement": refinement}))
    assert f'name="price__gte" value="{low}"' in html
    assert 'aria-label="Price, up to"' in html
    assert ("price__gte", str(low)) in refinement.chosen
    with pytest.raises(BadQuery, match="price__gte"):
        refine("price__gte=cheap")


def test_many_different_numbers_are_no_choices(shelf, monkeypatch):
    monkeypatch.setattr("imagesim.pages.refinement.MAX_CHOICES", 2)
    refinement = Refinement(Product, QueryDict(""), facets={"price": "Price"})
    hits = imagesim.search(image=shop.encoded(picture("red")), model=Product, **refinement.arguments())
    refinement.apply(hits)
    assert choices(refinement, "price") == []
    assert refinement.groups[0].bounds


def test_values_with_numbers_are_in_their_order(monkeypatch):
    """ "M10" must not stand before "M8", nor sizes be in an arbitrary order."""
    for number, size in enumerate(("M10", "M8", "M8", "M2.5", "M12")):
        product(f"Screw {number}", picture("red", mark=number), brand=size)
    shop.sync()
    refinement, _hits = refined("")
    assert [label for label, _count in choices(refinement, "brand")] == ["M2.5", "M8", "M10", "M12"]


def test_sorting_orders_all_results_and_then_pages(shelf):
    _refinement, hits = refined("")
    assert names(hits)[0] == "red"  # the most relevant
    refinement, hits = refined("sort=-price", page_size=4)
    assert names(hits) == ["navy", "blue", "hat", "orange"]
    assert (refinement.next_url, refinement.previous_url) == ("?sort=-price&page=2", "")
    refinement, hits = refined("sort=-price&page=2", page_size=4)
    assert names(hits) == ["dark", "red"]
    assert (refinement.next_url, hits.more) == ("", False)
    assert refinement.previous_url == "?sort=-price"
    refinement, hits = refined("sort=-price&page=9", page_size=4)
    assert (len(hits), refinement.previous_url) == (0, "?sort=-price&page=2")  # the last one
    assert names(refined("sort=price")[1])[0] == "red"
    assert names(refined("sort=name")[1]) == names(refined("")[1])  # there is no such order


def test_cheaper_than_half_of_the_results(shelf):
    refinement, _hits = refined("q=x")
    assert refinement.steps == [Choice("Price below 35", "?q=x&price__lt=35")]
    refinement, hits = refined("price__lt=35")
    assert sorted(names(hits)) == ["dark", "orange", "red"]
    assert refinement.steps == [Choice("Price below 35", "?", True)]


@pytest.mark.parametrize(
    ("prices", "limit"),
    [
        ((59.0, 82.47, 82.47, 99.99), 80),
        ((10.0, 12.34, 12.34, 15.0), 12),
        ((900, 1_234, 1_234, 5_000), 1_200),
        ((0.2, 0.49, 0.49, 0.9), 0.5),
        ((82.1, 82.2, 82.3, 82.4), 82.25),  # nothing costs less than 80
        ((0, 0, 0, 0), 0),
        ((1, 2, 3), None),
    ],
)
def test_the_middle_is_a_round_number(prices, limit):
    assert _middle(prices) == limit


def test_cheaper_than_an_item(shelf):
    refinement, _hits = refined("like=hat", like=shelf["hat"])
    assert refinement.steps == [Choice("Price below 40", "?like=hat&price__lt=40")]
    assert refined("", like=shelf["red"])[0].steps == []  # nothing costs less


@pytest.mark.parametrize("page", ["0", "-1", "x", "99999999999", "²"])
def test_an_invalid_page_is_the_first(shelf, page):
    assert len(refined(f"page={page}")[1]) == 6


def test_an_invalid_bound_is_named(shelf):
    with pytest.raises(BadQuery) as refusal:
        refined("price__lt=cheap")
    assert refusal.value.field == "price__lt"


def test_in_another_colour_with_a_colour_component(shelf, monkeypatch):
    assert [step.label for step in refined("", like=shelf["blue"])[0].steps] == ["Price below 50"]
    monkeypatch.setattr("imagesim.testing.embedders.PixelEmbedder.components", {"colour": slice(0, 4)})
    refinement, _hits = refined("", like=shelf["blue"])
    assert refinement.steps[-1] == Choice("In another colour", "?components=colour%5E-0.5")
    refinement, _hits = refined("components=colour^-0.5", like=shelf["blue"])
    assert refinement.steps[-1] == Choice("In another colour", "?", True)
    assert "components" in refinement.arguments()
    assert "components" not in refined("components=colour^-0.5")[0].arguments()  # of words and photos


def test_what_the_tag_renders(shelf):
    refinement, _hits = refined("q=<b>&colour=red")
    html = Template("{% load imagesim %}{% refine refinement form_id='find' %}").render(
        Context({"refinement": refinement})
    )
    assert 'href="?q=%3Cb%3E"' in html
    assert '<input type="hidden" name="colour" value="red" form="find">' in html
    assert "Order: Most relevant first" in html
    with override("fr"):
        refinement, _hits = refined("q=b&colour=red")
        french = Template("{% load imagesim %}{% refine refinement %}").render(Context({"refinement": refinement}))
    assert "Tri\N{NO-BREAK SPACE}: Les plus pertinents d’abord" in french
    refinement, _hits = refined("colour=orange&brand=zeta&price__lt=1")
    assert "remove" in Template("{% load imagesim %}{% refine refinement %}").render(
        Context({"refinement": refinement})
    )


def test_find_similar_links_from_a_card_to_similar_products(shelf, client):
    page = client.get(reverse("shop:search"), {"like": "hat", "min_relevance": "0"})
    assert page.status_code == 200
    assert page.context["like"] == shelf["hat"]
    assert "hat" not in [hit.item.name for hit in page.context["hits"]]
    html = Template("{% load imagesim %}{% find_similar item %}").render(Context({"item": shelf["hat"]}))
    assert f'href="{reverse("shop:search")}?like=hat"' in html
    assert 'Find similar: <span data-imagesim-slot="title">hat</span>' in html


def test_inactive_products_cannot_be_examples(client, media_root):
    product("gone", picture("red"), active=False)
    answer = client.get(reverse("shop:search"), {"like": "gone"})
    assert answer.status_code == 404
    assert "no longer in the shop" in answer.content.decode()
