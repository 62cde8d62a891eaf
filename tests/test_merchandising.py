"""Rules: when they apply, what they do, how processes learn of them, and the admin."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from datetime import timezone as tz
from threading import Event
from typing import Any
from unicodedata import normalize

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import cache as default_cache
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import ProgrammingError, connection
from django.db.models.signals import post_save
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse
from django.utils import timezone, translation

import imagesim
from demo_shop.shop.models import Product
from imagesim import shared_cache
from imagesim.items.registry import key_of, registry
from imagesim.merchandising import engine, rule_form
from imagesim.merchandising.admin import RuleForm
from imagesim.merchandising.apps import check_cache
from imagesim.merchandising.conditions import read_filters
from imagesim.merchandising.engine import RuleSet
from imagesim.merchandising.models import LabelCategories, Rule
from imagesim.retrieval import rerank
from imagesim.retrieval.params import SearchRequest
from imagesim.retrieval.regions import is_sold, label_categories
from imagesim.types import Condition, Filters, Hits, IndexMeta, Message, Region
from tests import shop
from tests.shop import encoded, picture, product

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _index(settings, media_root) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": shop.EMBEDDER}
    apps.get_app_config("imagesim_merchandising").ready()


@pytest.fixture
def shelf() -> dict[str, Product]:
    return shop.shelf(with_texts=True)


def rule(**given: Any) -> Rule:
    made = Rule(**{"name": "a rule", "action": "boost", "filters": "colour = blue", "factor": 100} | given)
    made.full_clean()
    return made


def live(*rules: Rule) -> Any:
    return rerank.replaced_by(RuleSet.of(rules))


def question(text: str) -> rerank.Question:
    request = SearchRequest.create("search", {"text": text})
    return rerank.Question("words", request, IndexMeta("test", 3), text)


def names(hits: Hits) -> list[str]:
    return [hit.item.name for hit in hits]


def moved(hits: Hits) -> set[str]:
    return {hit.item.name for hit in hits if hit.rules}


BLUE = {"blue", "navy"}


class TestWhen:
    @pytest.mark.parametrize(
        ("when", "triggers", "text", "holds"),
        [
            ("always", "", "red", True),
            ("equal", "Red  hat!", "red hat", True),
            ("equal", "red hat", "red hat sale", False),
            ("contain", "red", "a RED hat", True),
            ("contain", "red hat\nred shoe", "my red shoe", True),
            ("contain", "red", "hundred", False),
            ("contain", "red shoe", "red hat shoe", False),
            ("synonym", "red", "red", True),
            ("synonym", "red", "crimson", True),
            ("synonym", "red", "blue", False),
            ("category", "hats", "red", False),
        ],
    )
    def test_words(self, shelf, when, triggers, text, holds):
        same = rule(action="replace", when="equal", triggers="crimson", replacement="red", both_ways=True)
        with live(rule(when=when, triggers=triggers), same):
            assert moved(imagesim.search(text=text)) == (BLUE if holds else set())

    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    def test_an_accent_is_one_character_or_two(self, form):
        met = rule(action="message", message="Coffee!", filters="", when="equal", triggers="Café")
        assert RuleSet.of([met]).plan(question(normalize(form, "café"))).messages

    @pytest.mark.parametrize(
        ("triggers", "replacement", "text", "expected"),
        [
            ("tee\nshirt", "t-shirt", "tee", "t shirt"),  # and not "t t shirt"
            ("tee\nshirt", "t-shirt", "blue shirt", "blue t shirt"),
            ("couch", "sofa", "couch couch red couch", "sofa sofa red sofa"),
            ("hat\nred hat", "cap", "my red hat", "my cap"),
            ("c++", "code", "c++ book", "code book"),
            ("spax", "chipboard screw", "Spax 4,5x50.", "chipboard screw 4,5x50"),  # and not "4 5x50"
            ("hose", "tube", 'hose, 1½" or 3/4"', "tube 1 1/2 or 3/4"),
        ],
    )
    def test_words_are_replaced_once(self, triggers, replacement, text, expected):
        other = rule(action="replace", when="contain", triggers=triggers, replacement=replacement, filters="")
        assert RuleSet.of([other]).plan(question(text)).text == expected

    def test_the_synonyms_of_a_long_query_are_bounded(self, monkeypatch):
        """In a shop with hundreds of synonyms, a query of a hundred words that all have some must not take seconds."""
        words = [f"w{number}" for number in range(100)]
        rules = [
            rule(
                action="replace",
                when="contain",
                triggers="\n".join([word, *(f"{word} same {n}" for n in range(47))]),
                replacement=f"{word} other",
                both_ways=True,
                filters="",
            )
            for word in words
        ]
        met = rule(action="message", when="synonym", triggers="w7 other", message="met", filters="")
        made: list[str] = []
        replaced = engine._replaced

        def count(*args: Any) -> str:
            made.append(replaced(*args))
            return made[-1]

        monkeypatch.setattr(engine, "_replaced", count)
        plan = RuleSet.of(rules).plan(question(" ".join(words)))
        assert len(plan.alternatives) == engine.MAX_ALTERNATIVES
        assert len(made) <= 48
        assert RuleSet.of([*rules, met]).plan(question("w7")).messages  # the last synonym of a rule

    def test_vowel_signs_are_part_of_their_words(self):
        red = rule(action="replace", when="contain", triggers="लाल", replacement="नीला", filters="")
        assert RuleSet.of([red]).plan(question("लाल कुर्ता")).text == "नीला कुर्ता"
        assert RuleSet.of([red]).plan(question("ल ल")) is None

    def test_a_product_or_its_category(self, shelf):
        with live(rule(when="product", triggers=str(shelf["red"].pk))):
            assert moved(imagesim.similar_to(shelf["red"])) == BLUE
            assert moved(imagesim.similar_to(shelf["dark"])) == set()
        with live(rule(when="category", triggers="hats")):
            assert moved(imagesim.similar_to(shelf["hat"])) == BLUE
            assert moved(imagesim.similar_to(shelf["red"])) == set()
            assert moved(imagesim.search(text="red", category="hats")) == {"navy"}

    def test_where(self, shelf):
        with live(rule(where=["photo"])):
            assert moved(imagesim.search(image=encoded(picture("red")))) == BLUE
            assert moved(imagesim.search(text="red")) == set()
            assert moved(imagesim.similar_to(shelf["red"])) == set()

    def test_dates_and_off(self, shelf):
        now = timezone.now()
        hour = timedelta(hours=1)
        for given, holds in [
            ({"starts": now - hour, "ends": now + hour}, True),
            ({"starts": now + hour}, False),
            ({"ends": now - hour}, False),
            ({"enabled": False}, False),
        ]:
            with live(rule(**given)):
                assert (moved(imagesim.search(text="red")) == BLUE) is holds, given


class TestWhat:
    def test_bury_divides_and_names(self, shelf):
        with live(rule(action="bury", filters="colour = red", name="No red")):
            hits = imagesim.similar_to(shelf["orange"])
        assert set(names(hits)[-3:]) == {"red", "dark", "hat"}
        assert [hit.rules for hit in hits] == [(), (), *[("No red",)] * 3]

    def test_same_as_the_product_viewed(self, shelf):
        with live(rule(filters="", same_field="colour")):
            assert names(imagesim.similar_to(shelf["blue"]))[0] == "navy"
            assert imagesim.search(text="red")[0].rules == ()
        with live(rule(action="exclude", filters="", same_field="colour")):
            assert set(names(imagesim.similar_to(shelf["red"]))) == {"orange", "blue", "navy"}

    def test_the_same_value_costs_no_query_where_the_product_is_loaded(self, shelf):
        product = Product.objects.select_related("category").get(pk=shelf["blue"].pk)

        def count() -> int:
            imagesim.similar_to(product)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                imagesim.similar_to(product)
            return len(queries)

        with live():
            usual = count()
        with live(rule(filters="", same_field="colour")):
            assert count() == usual

    def test_limit(self, shelf):
        with live(rule(action="limit", filters="", limit_field="colour", limit_count=1, limit_first=3, name="Mixed")):
            hits = imagesim.similar_to(shelf["red"])
        assert len({hit.item.colour for hit in hits[:3]}) == 3
        assert ("Mixed",) in {hit.rules for hit in hits}

    def test_limits_of_two_rules_with_one_name_are_counted_apart(self, shelf):
        limit = {"action": "limit", "filters": "", "limit_field": "colour", "limit_count": 2, "name": "Mixed"}
        with live(rule(**limit, limit_first=4)):
            alone = names(imagesim.similar_to(shelf["red"]))
        for first in (4, 5):
            with live(rule(**limit, limit_first=4), rule(**limit, limit_first=first)):
                assert names(imagesim.similar_to(shelf["red"])) == alone

    @pytest.mark.parametrize("when", ["equal", "contain", "synonym"])
    def test_replaced_words(self, shelf, when):
        with live(rule(action="replace", when=when, triggers="azure", replacement="blue", filters="")):
            assert names(imagesim.search(text="azure"))[0] == "blue"

    def test_replaced_words_are_no_longer_than_a_visitor_may_send(self, shelf, settings):
        settings.IMAGESIM = settings.IMAGESIM | {"MAX_TEXT_LENGTH": 50}
        with live(rule(action="replace", when="contain", triggers="b", replacement="blue " * 40, filters="")):
            plan = rerank.active().plan(question("b b b"))
        assert len(plan.text) == 50

    def test_synonyms_find_either(self, shelf):
        with live(rule(action="replace", when="contain", triggers="hat", replacement="orange", both_ways=True)):
            assert set(names(imagesim.search(text="hat"))[:2]) == {"hat", "orange"}
            assert set(names(imagesim.search(text="orange"))[:2]) == {"hat", "orange"}

    def test_message(self, shelf):
        with live(rule(action="message", message="Sale!", link="/sale/", when="equal", triggers="red")):
            assert imagesim.search(text="red").messages == (Message("Sale!", "/sale/"),)
            assert imagesim.search(text="blue").messages == ()

    def test_a_message_is_shown_with_the_rows_of_a_page(self, shelf):
        page = Template("{% load imagesim %}{% similar_products item %}{% image_search hits=hits %}")
        with live(rule(action="message", message="<Sale>", link="/sale/")):
            hits = imagesim.search(text="red")
            shown = page.render(Context({"item": shelf["red"], "hits": hits}))
        assert shown.count('<a href="/sale/">&lt;Sale&gt;</a>') == 2

    def test_excluded_wins_over_pinned_and_higher_priority_has_the_place(self, shelf):
        first = rule(action="pin", pins=f"1: {shelf['navy'].pk}", priority=5)
        second = rule(action="pin", pins=f"1: {shelf['blue'].pk}\n2: {shelf['orange'].pk}")
        with live(second, first):
            assert names(imagesim.similar_to(shelf["red"]))[:2] == ["navy", "orange"]
        with live(second, first, rule(action="exclude", filters="category = hats")):
            assert names(imagesim.similar_to(shelf["red"])) == ["blue", "orange", "dark"]

    def test_of_two_places_of_a_product_that_of_higher_priority_holds(self, shelf):
        first = rule(action="pin", pins=f"2: {shelf['navy'].pk}", priority=5)
        second = rule(action="pin", pins=f"1: {shelf['navy'].pk}")
        with live(second, first):
            assert names(imagesim.similar_to(shelf["red"]))[1] == "navy"

    def test_a_product_that_is_gone_leaves_its_place_to_the_next_rule(self, shelf):
        first = rule(action="pin", pins="1: 999999", priority=5)
        second = rule(action="pin", pins=f"1: {shelf['blue'].pk}")
        with live(second, first):
            assert names(imagesim.similar_to(shelf["red"]))[0] == "blue"

    def test_a_filter_that_the_index_does_not_know_yet_or_any_more(self, shelf, caplog):
        with live(rule()):
            made = RuleSet.of([Rule(name="old", action="boost", filters="size = 7")])
        assert made.by_trigger == {}
        assert "old" in caplog.text

    @pytest.mark.parametrize("action", ["boost", "bury", "exclude"])
    def test_a_filter_whose_values_are_of_another_kind_until_the_rebuild(self, shelf, monkeypatch, action):
        """Otherwise, no page of the shop would have similar products until then."""
        items = registry.for_model(Product)
        before = names(imagesim.similar_to(shelf["red"]))
        monkeypatch.setattr(type(items), "filters", {**items.filters, "price": "brand"})
        monkeypatch.delitem(vars(items), "kinds", raising=False)
        with live(rule(action=action, filters="price = acme")):
            assert names(imagesim.similar_to(shelf["red"])) == before


class TestTexts:
    def test_filters(self):
        read = read_filters("brand = Acme, Zeta\n\n price <= 50 \ncategory = shoes, hats\nin_stock = yes")
        conditions = (Condition("brand", "in", ("Acme", "Zeta")), Condition("price", "lte", read.conditions[1].value))
        assert read == Filters(categories=("shoes", "hats"), in_stock=True, conditions=conditions)
        assert float(conditions[1].value) == 50

    @pytest.mark.parametrize(
        ("given", "field", "words"),
        [
            ({"filters": "brand Acme"}, "filters", "not a condition"),
            ({"filters": "brnd = Acme"}, "filters", "there is no brnd"),
            ({"filters": "brand > Acme"}, "filters", "brand"),
            ({"filters": "price = cheap"}, "filters", "cheap"),
            ({"filters": "in_stock = perhaps"}, "filters", "neither yes nor no"),
            ({"filters": ""}, "filters", "which products"),
            ({"filters": "category = ,"}, "filters", "not a condition"),  # it would select every product
            ({"filters": "category = hats\ncategory = shoes"}, "filters", "one line"),  # the first would be ignored
            ({"filters": "in_stock = yes\nin_stock = no"}, "filters", "one line"),
            ({"filters": "\n".join(["brand = x"] * 49)}, "filters", "49"),
            ({"action": "pin", "pins": "first: 7"}, "pins", "not a position"),
            ({"action": "pin", "pins": "99: 7"}, "pins", "from 1 to 48"),
            ({"action": "pin", "pins": "1: 7\n1: 8"}, "pins", "already"),
            ({"action": "pin", "pins": "1: no.model:7"}, "pins", "not a product"),
            ({"action": "pin"}, "pins", "required"),
            ({"action": "limit"}, "limit_field", "required"),
            ({"action": "limit", "limit_count": 12, "limit_first": 12}, "limit_count", "nothing is limited"),
            ({"action": "message"}, "message", "required"),
            ({"action": "message", "message": "x", "link": "javascript:alert(1)"}, "link", "link"),
            ({"action": "message", "message": "x", "link": "//evil.example/"}, "link", "link"),
            ({"action": "message", "message": "x", "link": "/\\evil.example/"}, "link", "link"),
            ({"action": "message", "message": "x", "link": "/\t/evil.example/"}, "link", "link"),
            ({"action": "message", "message": "x", "link": "http://\\evil.example/"}, "link", "link"),
            ({"action": "replace", "replacement": "x"}, "replacement", "words"),
            ({"when": "equal"}, "triggers", "required"),
            ({"when": "equal", "triggers": "!!!"}, "triggers", "no words"),
            ({"when": "product", "triggers": "a.b:7"}, "triggers", "not a product"),
            ({"when": "product", "triggers": "7", "where": ["photo"]}, "where", "never"),
            ({"where": ["everywhere"]}, "where", "similar"),
            ({"same_field": "size"}, "same_field", "size"),
            ({"same_field": "brand", "where": ["words", "look"]}, "same_field", "No product is viewed"),
            ({"same_field": "brand", "when": "contain", "triggers": "hat"}, "same_field", "No product is viewed"),
            ({"factor": 0.5}, "factor", "1.01"),
            ({"starts": timezone.now(), "ends": timezone.now() - timedelta(days=1)}, "ends", "before"),
        ],
    )
    def test_errors_name_what_is_wrong(self, given, field, words):
        with pytest.raises(ValidationError) as raised:
            rule(**given)
        assert words in " ".join(raised.value.message_dict[field])

    def test_every_line_holds_though_it_compares_the_same_field(self, shelf):
        read = read_filters("price >= 5\nprice >= 3\ncolour = red\ncolour = blue").conditions
        assert [(each.field, each.value) for each in read] == [
            *(("price", 5), ("price", 3)),
            *(("colour", "red"), ("colour", "blue")),
        ]
        with live(rule(filters="price >= 5\nprice >= 3")):
            assert moved(imagesim.search(text="red"))
        with live(rule(filters="price >= 9999\nprice >= 3")):
            assert not moved(imagesim.search(text="red"))

    def test_a_refused_value_is_not_said_to_be_missing(self, shelf):
        form = RuleForm({"name": "x", "priority": 0, "when": "always", "action": "boost", "factor": "0"})
        assert {field: len(errors) for field, errors in form.errors.items()} == {"factor": 1, "filters": 1}
        assert "1.01" in form.errors["factor"][0]

    def test_a_rule_of_many_products_warns_of_those_that_are_missing_only(self, shelf):
        made = [product(f"p{number}") for number in range(48)]
        triggers = "\n".join(str(each.pk) for each in made[:47])
        pins = "\n".join(f"{position}: {each.pk}" for position, each in enumerate(made, 1))
        named = rule(action="pin", filters="", when="product", triggers=f"{triggers}\n999999", pins=pins)
        (warning,) = rule_form.warnings(named)
        assert warning.startswith("There is no product “shop.product:999999” at present")

    def test_a_key_is_known_however_it_is_written(self, shelf):
        pk = shelf["blue"].pk
        named = rule(
            action="pin", filters="", when="product", triggers=f"shop.product: {pk}", pins=f"1: shop.product:0{pk}"
        )
        assert not list(rule_form.warnings(named))
        with live(rule(when="product", triggers=f"shop.product:0{pk}")):
            assert moved(imagesim.similar_to(shelf["blue"]))

    def test_the_nearest_category_is_found_in_capitals(self):
        for name in ("SNEAKERS", "lamps", "bottles", "chairs", "kettles", "pencils"):
            product(name, category=name)
        (warning,) = rule_form.warnings(rule(filters="category = sneakres"))
        assert "Nearest: “SNEAKERS”" in warning

    def test_errors_and_warnings_are_in_one_language(self, shelf):
        with translation.override("de"):
            with pytest.raises(ValidationError) as raised:
                rule(filters="brnd = Acme")
            (warning,) = rule_form.warnings(rule(filters="category = nope"))
        assert "'in_stock' oder 'price'" in " ".join(raised.value.messages)
        assert warning.startswith("Zurzeit hat kein Produkt die Kategorie „nope“")


class TestCache:
    def test_a_search_costs_no_query_more(self, shelf, django_assert_num_queries):
        rule().save()
        imagesim.similar_to(shelf["red"])
        with CaptureQueriesContext(connection) as with_rules:
            assert moved(imagesim.similar_to(shelf["red"])) == BLUE
        rerank.register(None)
        with CaptureQueriesContext(connection) as without:
            imagesim.similar_to(shelf["red"])
        assert len(with_rules) == len(without)

    def test_a_change_takes_effect_here_at_once_and_elsewhere_within_seconds(
        self, shelf, monkeypatch, django_capture_on_commit_callbacks
    ):
        now = [1000.0]
        monkeypatch.setattr(shared_cache, "monotonic", lambda: now[0])
        with django_capture_on_commit_callbacks(execute=True):
            made = rule()
            made.save()
        assert moved(imagesim.search(text="red")) == BLUE
        version = rerank.active().version
        Rule.objects.update(enabled=False)  # without a signal, as another process sees it
        assert rerank.active().version == version
        default_cache.set(engine.rules.cache_key, "another")
        now[0] += shared_cache.CHECK_SECONDS
        assert moved(imagesim.search(text="red")) == set()
        assert rerank.active().version == "another"
        Rule.objects.update(enabled=True)
        now[0] += shared_cache.RELOAD_SECONDS
        assert moved(imagesim.search(text="red")) == BLUE
        with django_capture_on_commit_callbacks(execute=True):
            made.delete()
        assert moved(imagesim.search(text="red")) == set()

    def test_a_changed_rule_is_not_read_from_a_replica(self, settings):
        rule().save()
        settings.DATABASE_ROUTERS = [shop.LaggingReplica(Rule, LabelCategories)]
        assert [ready.rule.name for ready in engine._load("").by_trigger["similar", "always", ""]] == ["a rule"]

    def test_a_process_that_starts_answers_no_query_before_it_has_the_rules(self):
        begun, may_go = Event(), Event()

        def load(version: str) -> str:
            begun.set()
            assert may_go.wait(5)
            return "the rules"

        kept = shared_cache.Versioned("test", Rule, load, str)
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(kept.current)
            assert begun.wait(5)
            second = threads.submit(kept.current)
            wait([second], 0.1)
            may_go.set()
            assert [first.result(), second.result()] == ["the rules", "the rules"]

    def test_rules_that_cannot_be_loaded_break_no_page(self, monkeypatch, caplog):
        now, loaded = [1000.0], ["the rules"]
        monkeypatch.setattr(shared_cache, "monotonic", lambda: now[0])

        def load(version: str) -> str:
            if not loaded:
                raise ProgrammingError(
                    'column imagesim_merchandising_rule.new does not exist\nLINE 1: SELECT "id" FROM'
                )
            return loaded.pop()

        kept = shared_cache.Versioned("test", Rule, load, str)
        assert kept.current() == "the rules"
        now[0] += shared_cache.RELOAD_SECONDS
        assert kept.current() == "the rules"
        assert "run `manage.py migrate imagesim_merchandising` first" in caplog.text
        assert shared_cache.Versioned("other", Rule, load, str).current() == ""

    def test_a_kept_answer_is_asked_again_when_a_rule_begins_or_ends(self, shelf, monkeypatch):
        start = timezone.now()
        hour = timedelta(hours=1)
        rule(starts=start + hour, ends=start + 3 * hour).save()

        def boosted(hours: int) -> set[str]:
            monkeypatch.setattr(timezone, "now", lambda: start + hours * hour)
            return moved(imagesim.similar_to(shelf["red"], timeout=24 * 3600))

        assert [boosted(hours) for hours in range(5)] == [set(), BLUE, BLUE, set(), set()]

    def test_a_cache_that_is_down_leaves_the_rules_in_force(self, shelf, monkeypatch, caplog):
        rule().save()

        def down(*args: Any) -> None:
            raise ConnectionError("down")

        monkeypatch.setattr(shared_cache.cache, "get", down)
        monkeypatch.setattr(shared_cache, "CHECK_SECONDS", 0.0)
        for _search in range(3):
            assert moved(imagesim.search(text="red")) == BLUE
        assert len([message for message in caplog.messages if "version of the" in message]) == 1

    def test_check(self, settings):
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        assert [each.id for each in check_cache()] == ["imagesim.W020"]
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
        assert check_cache() == []


class TestLabels:
    """The categories that the shop has chosen for labels of regions."""

    TOP = Region(0, 0, 1, 1, "top", 0.9)

    def test_replace_what_names_suggest_within_seconds(self, shelf, django_capture_on_commit_callbacks):
        searched = tuple(registry)
        assert label_categories(searched, self.TOP) == ()
        assert not is_sold(searched, self.TOP)
        with django_capture_on_commit_callbacks(execute=True):
            made = LabelCategories.objects.create(label="top", categories=["hats"])
        assert label_categories(searched, self.TOP) == ("hats",)
        assert imagesim.shop_the_look(encoded(picture("red")), regions=[self.TOP]).regions[0].categories == ("hats",)
        with django_capture_on_commit_callbacks(execute=True):
            made.categories = []
            made.save()
        assert label_categories(searched, self.TOP) == ()
        assert is_sold(searched, self.TOP)  # by the nearest products
        with django_capture_on_commit_callbacks(execute=True):
            made.delete()
        assert not is_sold(searched, self.TOP)

    def test_replace_what_items_declare(self, shelf, monkeypatch):
        items = registry.for_label("shop.product")
        monkeypatch.setattr(items, "look_categories", {"top": ["shoes"]})
        with rerank.replaced_by(RuleSet.of([], labels=[LabelCategories(label="top", categories=["hats"])])):
            assert label_categories((items,), self.TOP) == ("hats",)
        assert label_categories((items,), self.TOP) == ("shoes",)


ADD = "admin:imagesim_merchandising_rule_add"
PRODUCTS = "admin:imagesim_merchandising_rule_products"
LABEL = "admin:imagesim_merchandising_labelcategories_add"
PREVIEW = "admin:imagesim_merchandising_rule_preview"
FORM = {"name": "Blue first", "enabled": "on", "priority": "0", "when": "always", "action": "boost", "factor": "100"}


class TestAdmin:
    @pytest.fixture
    def boss(self, client) -> Any:
        client.force_login(get_user_model().objects.create_superuser("boss"))
        return client

    @pytest.fixture
    def seller(self, client) -> Any:
        """A user who may only see rules."""
        user = get_user_model().objects.create_user("seller", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_rule"))
        client.force_login(user)
        return client

    def test_a_rule_that_no_form_has_checked_is_listed(self, boss):
        Rule.objects.create(name="imported", action="message", when="equal", triggers="\n".join(map(str, range(60))))
        page = boss.get(reverse("admin:imagesim_merchandising_rule_changelist"))
        assert "The words are: 0, 1, 2, 3, 4" in page.content.decode()

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"action": "boost", "filters": "material = wool"}, "“material = wool”: there is no material;"),
            ({"action": "bury", "same_field": "material"}, "There is no filter material;"),
            ({"action": "limit", "limit_field": "material", "limit_count": 1, "limit_first": 9}, "There is no filter"),
        ],
    )
    def test_a_rule_that_is_not_applied_says_so_and_why(self, boss, given, reason):
        """Such as a rule for a filter that the shop has since removed."""
        Rule.objects.create(name="former", **given)
        page = boss.get(reverse("admin:imagesim_merchandising_rule_changelist")).content.decode()
        assert f'data-tone="off" title="{reason}' in page
        assert ">invalid<" in page

    def test_a_rule_for_a_kind_of_query_of_a_later_version(self, boss):
        """After a return to a former version, the list of all rules must not fail with 500."""
        Rule.objects.create(name="later", action="message", message="x", where=["words", "sound"])
        page = boss.get(reverse("admin:imagesim_merchandising_rule_changelist")).content.decode()
        assert "Search by words, sound" in page

    def test_rules_are_filtered_by_their_state(self, boss):
        """A rule whose time is over must not be found as "on"."""
        day, now = timedelta(days=1), timezone.now()
        for name, given in {
            "live": {"starts": now - day, "ends": now + day},
            "idle": {"enabled": False},
            "next": {"starts": now + day},
            "past": {"ends": now - day},
            "former": {"filters": "material = wool"},
        }.items():
            Rule.objects.create(name=name, action="message", message="x", **given)
        address = reverse("admin:imagesim_merchandising_rule_changelist")
        page = boss.get(address)
        assert "By state" in page.content.decode()
        assert len(page.context["cl"].result_list) == 5
        states = {"on": "live", "off": "idle", "waiting": "next", "over": "past", "invalid": "former"}
        for state, name in states.items():
            found = boss.get(address, {"state": state})
            assert [rule.name for rule in found.context["cl"].result_list] == [name]

    @override_settings(TIME_ZONE="Europe/Berlin")
    def test_a_date_without_a_time_is_the_whole_day_of_the_shop(self, boss):
        """Otherwise, it would be refused: "Enter a valid time." The clocks are changed on 28 March 2027."""
        given = FORM | {"action": "message", "message": "x", "starts_0": "2027-03-27", "ends_0": "2027-03-28"}
        add = reverse("admin:imagesim_merchandising_rule_add")
        assert "In the time zone Europe/Berlin; without a time, until the end" in boss.get(add).content.decode()
        assert boss.post(add, given).status_code == 302
        made = Rule.objects.get()
        assert made.starts == datetime(2027, 3, 26, 23, 0, tzinfo=tz.utc)
        assert made.ends == datetime(2027, 3, 28, 21, 59, 59, tzinfo=tz.utc)
        answer = boss.post(add, given | {"starts_0": "", "starts_1": "10:00"})
        assert "Enter a valid date." in answer.content.decode()

    @pytest.mark.parametrize(
        ("zone", "field", "day"),
        [("America/New_York", "ends_0", "9999-12-31"), ("Asia/Tokyo", "starts_0", "0001-01-01")],
    )
    def test_a_time_that_cannot_be_stored_is_refused(self, boss, settings, zone, field, day):
        """In UTC it would be in the year 10000, or before the first year."""
        settings.TIME_ZONE = zone
        page = boss.post(reverse(ADD), FORM | {"action": "message", "message": "x", field: day})
        assert "Enter a valid date." in page.content.decode()

    def test_switching_rules_keeps_what_someone_else_saves_meanwhile(self, boss):
        first = Rule.objects.create(name="first", priority=1, action="message", message="x")
        second = Rule.objects.create(name="second", action="message", message="x")

        def meanwhile(instance: Rule, **_: Any) -> None:
            if instance == first:
                Rule.objects.filter(pk=second.pk).update(message="new")

        post_save.connect(meanwhile, Rule)
        boss.post(
            reverse("admin:imagesim_merchandising_rule_changelist"),
            {"action": "switch_off", "_selected_action": [first.pk, second.pk]},
        )
        post_save.disconnect(meanwhile, Rule)
        second.refresh_from_db()
        assert (second.enabled, second.message) == (False, "new")

    def test_a_field_that_the_shop_has_removed_is_named_and_not_dropped(self, boss):
        """Without it the rule would exclude more."""
        former = Rule.objects.create(name="former", action="exclude", filters="colour = red", same_field="material")
        change = reverse("admin:imagesim_merchandising_rule_change", args=[former.pk])
        given = FORM | {"action": "exclude", "filters": "colour = red"}
        offered = boss.get(change).context["adminform"].form["same_field"]
        assert offered.value() in dict(offered.field.choices)
        page = boss.post(change, given | {"same_field": "material"}).content.decode()
        assert "There is no filter material" in page

    def test_saved_with_history_and_listed(self, boss, shelf):
        answer = boss.post(reverse(ADD), FORM | {"filters": "colour = blue", "where": ["words", "photo"]})
        assert answer.status_code == 302, answer.context["errors"]
        made = Rule.objects.get()
        assert (made.where, made.factor) == (["words", "photo"], 100)
        page = boss.get(reverse("admin:imagesim_merchandising_rule_changelist")).content.decode()
        assert "Blue first" in page
        assert "Search by words, Search by photo" in page
        for expected in ("1 rule was switched off.", "0 rules were switched off."):
            page = boss.post(
                reverse("admin:imagesim_merchandising_rule_changelist"),
                {"action": "switch_off", "_selected_action": made.pk},
                follow=True,
            )
            assert expected in page.content.decode()
        assert not Rule.objects.get().enabled
        assert LogEntry.objects.count() == 2
        history = boss.get(reverse("admin:imagesim_merchandising_rule_history", args=[made.pk])).content.decode()
        assert "Switched off." in history

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"filters": "category = hats"}, []),
            ({"filters": "category = Hat", "action": "exclude"}, ["category “Hat”", "“hats”"]),
            ({"when": "category", "triggers": "hats\nHats", "filters": "colour = blue"}, ["category “Hats”", "“hats”"]),
            (
                {"when": "product", "triggers": "999999999", "filters": "colour = blue"},
                ["product “shop.product:999999999”"],
            ),
            ({"action": "pin", "pins": "1: 999999999"}, ["product “shop.product:999999999”"]),
            ({"filters": "colour = blue", "pins": "1: 999999999"}, []),  # what the action does not use
        ],
    )
    def test_a_warning_names_what_the_shop_does_not_have(self, boss, shelf, given, expected):
        page = boss.post(reverse(ADD), FORM | given, follow=True)
        assert Rule.objects.count() == 1
        told = [str(message) for message in page.context["messages"] if message.level_tag == "warning"]
        assert len(told) == bool(expected)
        assert all(part in told[0] for part in expected)

    def test_errors_stand_at_their_field(self, boss):
        answer = boss.post(reverse(ADD), FORM | {"filters": "brnd = x"})
        assert "there is no brnd" in answer.content.decode()
        assert not Rule.objects.exists()

    @pytest.mark.parametrize("question", ["preview_words", "preview_product", "preview_photo"])
    def test_preview(self, boss, shelf, question):
        photo = SimpleUploadedFile("red.png", encoded(picture("red")))
        asked = {"preview_words": "red", "preview_product": key_of(shelf["red"]), "preview_photo": photo}[question]
        pins = f"1: {shelf['navy'].pk}\n2: {shelf['blue'].pk}"
        answer = boss.post(reverse(PREVIEW), FORM | {"action": "pin", "pins": pins, question: asked})
        preview = answer.context["preview"]
        assert (answer.status_code, preview.error) == (200, "")
        assert {place.card.title for place in preview.after[:2]} == BLUE
        assert {place.card.title for place in preview.before[:2]} != BLUE
        assert "up" in preview.after[0].moved
        assert "by “Blue first”" in answer.content.decode()
        assert not Rule.objects.exists()
        assert moved(imagesim.search(text="red")) == set()

    def test_preview_of_a_saved_rule_is_without_its_former_self(self, boss, shelf):
        made = rule(name="Saved", enabled=False)
        made.save()
        other = rule(action="exclude", filters="category = hats", name="Other")
        other.save()
        given = FORM | {"name": "Saved", "filters": "colour = orange", "preview_product": "red"}
        preview = boss.post(f"{reverse(PREVIEW)}?rule={made.pk}", given).context["preview"]
        assert [place.card.title for place in preview.before] == ["dark", "orange", "blue"]
        assert [place.card.title for place in preview.after] == ["orange", "dark", "blue"]
        assert [place.moved for place in preview.after] == ["1 place up", "1 place down", ""]
        assert Rule.objects.get(pk=made.pk).filters == "colour = blue"

    def test_preview_of_a_new_rule_comes_after_those_of_its_priority(self, boss, shelf):
        rule(name="Older", action="pin", pins=f"1: {shelf['hat'].pk}", filters="").save()
        given = FORM | {"action": "pin", "pins": f"1: {shelf['navy'].pk}"}
        preview = boss.post(reverse(PREVIEW), given | {"preview_words": "red"}).context["preview"]
        assert boss.post(reverse(ADD), given).status_code == 302
        with live(*Rule.objects.all()):
            assert [place.card.title for place in preview.after] == names(imagesim.search(text="red"))

    def test_preview_says_that_a_rule_changes_nothing_whatever_others_do(self, boss, shelf):
        rule(name="Other", filters="colour = orange").save()
        rule(name="Greeting", action="message", message="Hello!", filters="").save()
        given = FORM | {"filters": "colour = violet", "preview_words": "red"}
        preview = boss.post(reverse(PREVIEW), given).context["preview"]
        assert preview.is_same
        assert preview.messages == (Message("Hello!"),)

    def test_preview_of_a_rule_that_only_takes_the_last_ones_away(self, boss, shelf):
        given = FORM | {"action": "exclude", "filters": "colour = blue", "preview_words": "red"}
        preview = boss.post(reverse(PREVIEW), given).context["preview"]
        assert [place.card.title for place in preview.before] == [
            *(place.card.title for place in preview.after),
            *preview.gone,
        ]
        assert set(preview.gone) == BLUE
        assert not preview.is_same

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"filters": "x"}, "not a condition"),
            ({"filters": "colour = blue"}, "Type words"),
            ({"filters": "colour = blue", "preview_product": "no such thing"}, "There is no product"),
            ({"filters": "colour = violet", "preview_words": "red"}, "changes nothing"),
        ],
    )
    def test_preview_says_what_is_missing(self, boss, shelf, given, words):
        answer = boss.post(reverse(PREVIEW), FORM | given)
        assert answer.status_code == 200
        assert words in answer.content.decode()

    def test_a_preview_after_a_login_in_between_leads_back_to_the_form(self, boss):
        made = rule(name="Saved")
        made.save()
        change = reverse("admin:imagesim_merchandising_rule_change", args=[made.pk])
        assert boss.get(f"{reverse(PREVIEW)}?rule={made.pk}").url == change
        assert boss.get(reverse(PREVIEW)).url == reverse(ADD)

    def test_permissions_of_its_own(self, seller, shelf):
        assert seller.get(reverse("admin:imagesim_merchandising_rule_changelist")).status_code == 200
        assert seller.get(reverse(ADD)).status_code == 403
        assert seller.post(reverse(PREVIEW), FORM | {"preview_words": "red"}).status_code == 403
        assert seller.get(reverse(PREVIEW), follow=True).status_code == 403

    def test_who_may_only_look_reads_names(self, client):
        user = get_user_model().objects.create_user("reader", is_staff=True)
        codenames = ("view_rule", "add_rule", "view_labelcategories")
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        seen = rule(where=["words", "look"])
        seen.save()
        label = LabelCategories.objects.create(label="top", categories=["hats", "shoes"])
        page = client.get(reverse("admin:imagesim_merchandising_rule_change", args=[seen.pk])).content.decode()
        assert "Search by words, Shop the look" in page
        rows = re.findall(r"form-row field-(\w+)", page)
        assert rows[5:] == ["where_shown", "when", "action", "filters", "same_field", "factor"]  # not those of others
        assert "rule-preview-button" not in page  # the button of a rule is for those who may change it
        assert "rule-preview-button" in client.get(reverse(ADD)).content.decode()
        page = client.get(reverse("admin:imagesim_merchandising_labelcategories_change", args=[label.pk]))
        assert "hats, shoes" in page.content.decode()
        assert ">Top<" in page.content.decode()

    def test_products_are_found_by_name_and_by_key(self, seller, shelf):
        def found(**given: Any) -> list[str]:
            answer = seller.get(reverse(PRODUCTS), given)
            assert answer.status_code == 200
            return [each["text"] for each in answer.json()["suggestions"]]

        rule(action="exclude", filters="colour = blue").save()
        assert found(q="navy") == ["navy"]  # excluded from answers, not from the form
        assert found(q=str(shelf["hat"].pk)) == ["hat"]
        assert found(q=key_of(shelf["hat"])) == ["hat"]
        assert found(key=[key_of(shelf["blue"]), "shop.product:999999", "x.y:1", "\0", str(shelf["red"].pk)]) == [
            "blue",
            "red",
        ]
        assert found(q="") == found(q="xyzzy") == []
        assert seller.get(reverse(PRODUCTS), {"q": "\0"}).status_code == 400
        (only,) = seller.get(reverse(PRODUCTS), {"q": "navy"}).json()["suggestions"]
        assert only["key"] == key_of(shelf["navy"])
        assert only["image"]["url"]

    def test_products_are_for_those_who_may_see_rules(self, client, shelf):
        client.force_login(get_user_model().objects.create_user("other", is_staff=True))
        assert client.get(reverse(PRODUCTS), {"q": "navy"}).status_code == 403

    def test_products_are_found_by_those_who_may_only_add_rules(self, client, shelf):
        user = get_user_model().objects.create_user("new", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="add_rule"))
        client.force_login(user)
        assert client.get(reverse(PRODUCTS), {"q": "navy"}).status_code == 200

    def test_categories_of_a_label(self, boss, shelf):
        page = boss.get(reverse(LABEL)).content.decode()
        assert 'value="hats"' in page
        answer = boss.post(reverse(LABEL), {"label": "top", "categories": ["hats", "shoes"]})
        assert answer.status_code == 302, answer.context["errors"]
        assert LabelCategories.objects.get().categories == ["hats", "shoes"]
        assert boss.post(reverse(LABEL), {"label": "top", "categories": ["hats"]}).status_code == 200
        assert boss.post(reverse(LABEL), {"label": "bag", "categories": ["no such"]}).status_code == 200
        assert LabelCategories.objects.count() == 1
        listed = boss.get(reverse("admin:imagesim_merchandising_labelcategories_changelist")).content.decode()
        assert "hats, shoes" in listed
