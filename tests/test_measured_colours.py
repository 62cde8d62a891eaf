"""Main colours measured in items' images: by the sync, as a filter of every index, and as a palette on a page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils import timezone, translation
from PIL import Image, ImageDraw

import imagesim
from demo_shop.shop.models import Product
from imagesim import images
from imagesim.checks.items import check_items
from imagesim.exceptions import ConfigurationError
from imagesim.images import colours
from imagesim.indexes import get_index
from imagesim.indexing.calibrate import calibrate
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync as sync_now
from imagesim.items.measured_colours import colours_by_stem
from imagesim.items.registry import registry
from imagesim.models import ImageColours, ItemState
from imagesim.pages.refinement import Refinement
from imagesim.pages.widgets import similar_hits
from imagesim.retrieval.words.colours import unlisted_colours
from imagesim.testing.embedders import PixelEmbedder
from tests import shop
from tests.shop import product

PLAIN = {
    "black": "#161616", "white": "#ffffff", "grey": "#8a8a8a", "red": "#d01c1c", "orange": "#f28c1b",
    "brown": "#6f4522", "yellow": "#f4dd2e", "green": "#2e8b3d", "blue": "#2548c0", "purple": "#6a2a9a",
    "pink": "#f59ac0",
}  # fmt: skip


def packshot(colour: str, *, ground: str = "#f2f2f2", spot: str = "") -> Image.Image:
    """A thing of one colour on a plain background, with a small spot of another colour."""
    image = Image.new("RGB", (200, 260), ground)
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 40, 170, 220), fill=PLAIN[colour])
    if spot:
        draw.rectangle((85, 115, 115, 145), fill=PLAIN[spot])
    return image


def scene(colour: str) -> Image.Image:
    """The same in front of stripes."""
    image = packshot(colour)
    for left in range(0, 200, 20):
        image.paste("teal", (left, 0, left + 10, 60))
        image.paste("teal", (left, 200, left + 10, 260))
    return image


@pytest.mark.parametrize("name", colours.COLOURS)
def test_a_thing_of_one_colour_is_named(name):
    assert colours.measure(packshot(name, ground="#3f6f72" if name in ("white", "grey") else "#f2f2f2")) == (name,)


def test_a_spot_is_no_main_colour_and_the_shares_sum_to_one():
    image = packshot("red", spot="blue")
    assert colours.measure(image) == ("red",)
    shares = colours.share_of_names(image)
    assert sum(shares.values()) == pytest.approx(1)
    assert 0 < shares["blue"] < shares["red"]


@pytest.mark.parametrize(
    "image",
    [scene("red"), Image.new("RGB", (64, 64), "red"), Image.new("RGB", (1, 1), "red")],
    ids=["a scene", "one colour", "one pixel"],
)
def test_without_a_thing_on_a_plain_ground_nothing_is_named(image):
    assert colours.measure(image) == ()


class CountingEmbedder(PixelEmbedder):
    embedded = 0

    def embed_prepared(self, inputs: Any) -> Any:
        type(self).embedded += len(inputs)
        return super().embed_prepared(inputs)


@pytest.fixture(params=shop.LOCAL_DAILY)
def index_kind(request: Any) -> str:
    return str(request.param)


@pytest.fixture
def shelf(index_kind: str, request: Any, settings: Any, media_root: Any, db: Any) -> Iterator[dict[str, Product]]:
    settings.IMAGESIM = {
        "SYNC": "manual",
        "EMBEDDER": {"BACKEND": "tests.test_measured_colours.CountingEmbedder"},
        "MIN_RELEVANCE": 0.0,
        "INDEX": shop.index_for(request, index_kind),
    }
    CountingEmbedder.embedded = 0
    yield {
        "red": product("red", packshot("red")),
        "both": product("both", packshot("red", spot="black"), packshot("blue")),
        "scene": product("scene", scene("red")),
        "rot": product("rot", packshot("red", spot="white"), colour="rot"),
    }
    shop.drop_index()


@pytest.fixture
def items() -> type[Any]:
    """The products without measured colours."""
    return type("Unmeasured", (type(registry.for_model(Product)),), {"measured_colours": ""})


@pytest.fixture
def measuring(items: type[Any]) -> Iterator[None]:
    """The products with a separate filter of measured colours."""
    with shop.registered(Product, type("Measured", (items,), {"measured_colours": "main_colour"})):
        yield


@pytest.fixture
def filling(items: type[Any]) -> Iterator[None]:
    """The products with measured colours where the shop states none."""
    with shop.registered(Product, type("Filled", (items,), {"measured_colours": "colour"})):
        yield


def sync() -> None:
    assert sync_now().interrupted == ""
    get_index().refresh(get_index().active())


def with_colour(name: str = "main_colour", **filters: Any) -> list[str]:
    hits = imagesim.search(image=shop.encoded(packshot("red")), model=Product, filters=filters, min_relevance=0)
    return sorted(hit.item.name for hit in hits)


def refined(query: str, facet: str = "main_colour", like: Product | None = None) -> Refinement:
    refinement = Refinement(Product, QueryDict(query), facets={facet: "Colour"}, like=like)
    arguments = refinement.arguments(min_relevance=0)
    if like:
        refinement.apply(imagesim.similar_to(like, **arguments))
    else:
        refinement.apply(imagesim.search(image=shop.encoded(packshot("red")), model=Product, **arguments))
    return refinement


def test_the_sync_measures_while_it_embeds(shelf, measuring):
    sync()
    assert CountingEmbedder.embedded == 5
    assert with_colour(main_colour="red") == ["both", "red", "rot"]
    assert with_colour(main_colour="blue") == ["both"]
    assert with_colour(main_colour__in=["green", "blue"]) == ["both"]
    assert with_colour() == ["both", "red", "rot", "scene"]
    hits = similar_hits(shelf["red"], main_colour="red", same_category=False, fallback=False, min_relevance=0)
    assert sorted(hit.item.name for hit in hits) == ["both", "rot"]


def test_a_second_look_opens_nothing(shelf, measuring):
    sync()
    assert reconcile().report["repaired"] == 0
    imagesim.touch(Product.objects.all(), scope=imagesim.Scope.METADATA)
    assert (sync_now().opened, CountingEmbedder.embedded) == (0, 5)


def test_a_value_of_the_shop_comes_first(shelf, filling):
    sync()
    assert with_colour(colour="rot") == ["rot"]
    assert with_colour(colour="red") == ["both", "red"]
    assert ImageColours.objects.count() == 4  # not for products that have a colour
    shelf["rot"].colour = ""
    shelf["rot"].save()
    sync()
    assert with_colour(colour="red") == ["both", "red", "rot"]
    assert CountingEmbedder.embedded == 5


def test_what_colours_are_called():
    assert colours.words_for("grey") == ("grey", "gray")
    assert colours.words_for("turquoise") == ("turquoise",)
    with translation.override("de"):
        assert colours.words_for("grey") == ("grau",)
    with translation.override("sv"):  # the pages are not translated into it
        assert colours.words_for("grey") == ("grå",)
        assert colours.words_for("Red") == ("röd",)
        assert colours.words_for("turquoise") == ("turquoise",)
    with translation.override("zh-hans"):
        assert colours.words_for("red") == ("红色",)
    with translation.override("vi"):
        assert colours.words_for("red") == ("red",)
    assert {len(names.split()) for names in colours.UNTRANSLATED.values()} == {len(colours.COLOURS)}


def test_a_colour_modifies_in_any_language_that_has_names_of_it():
    """ "Grön klänning" must show dresses even if none is green: the Swedish word for green is not a thing."""
    assert {"gron", "rod"} <= set(colours_by_stem(("sv",)))
    assert {"зелен", "yesil"} <= set(colours_by_stem(("ru", "tr")))


def first_by_words(text: str, count: int) -> list[str]:
    hits = imagesim.search(text=text, model=Product, min_relevance=0)
    return [hit.item.name for hit in hits[:count]]


def test_words_find_colours_that_no_text_names(shelf, measuring):
    sync()
    assert first_by_words("blue", 1) == first_by_words("blau", 1) == ["both"]
    assert first_by_words("something blue", 1) == ["both"]
    assert sorted(first_by_words("rot", 3)) == ["both", "red", "rot"]
    assert "scene" not in first_by_words("red", 3)


def test_a_description_that_mentions_a_colour_does_not_make_up_for_another_one(shelf, measuring):
    """ "White shoes" must not show a black pair first because its description mentions the white sole."""
    product("Knit shoe", packshot("black"), category="shoes", description="A black and white knit, and a white sole.")
    product("Plimsolls", packshot("white", ground="#8a8a8a"), category="shoes")
    sync()
    calibrate()
    assert first_by_words("white shoes", 1) == ["Plimsolls"]
    assert first_by_words("white", 2)[1] != "Knit shoe"
    assert first_by_words("black shoes", 1) == ["Knit shoe"]


def messages(text: str, **arguments: Any) -> list[str]:
    found = imagesim.search(text=text, model=Product, min_relevance=0, **arguments)
    assert found
    return [message.text for message in found.messages]


def test_a_colour_that_nothing_of_the_kind_is_listed_in_is_said(shelf, items):
    """ "Red shoes" must not show shoes of all colours except red as if they were an answer."""
    product("Knit shoe", packshot("black"), category="shoes")
    product("Plimsolls", packshot("white", ground="#8a8a8a"), category="shoes")
    product("Lime", packshot("green"), category="fruit")
    with shop.registered(Product, type("Measured", (items,), {"measured_colours": "main_colour"})):
        sync()
        calibrate()
        assert messages("green shoes") == ["Nothing of this kind is listed as “green”."]
        assert messages("Grüne shoes") == ["Nothing of this kind is listed as “Grüne”."]
        assert messages("pink, purple or white shoes") == [
            "Nothing of this kind is listed as “pink”.",
            "Nothing of this kind is listed as “purple”.",
        ]
        assert messages("white shoes", filters={"main_colour": "black"}) == [
            "Nothing of this kind is listed as “white”."
        ]
        for listed in ("white shoes", "weiße shoes", "green", "green fruit", "shoes"):
            assert messages(listed) == []
        assert messages("green shoes", offset=1) == []
    with shop.registered(Product, items):
        rebuild()
        assert messages("green shoes") == []  # no colour is recorded for any item


def test_the_index_is_not_asked_about_colours_if_a_hit_has_all_words(shelf, filling, monkeypatch):
    product("Red shoe", packshot("red"), category="shoes")
    sync()
    calibrate()
    matches = []

    def unlisted(colours: Any, text: Any, match: float, *others: Any) -> Any:
        matches.append((match, unlisted_colours(colours, text, match, None, None)))  # without an index to ask
        return ()

    monkeypatch.setattr("imagesim.retrieval.words.colours.unlisted_colours", unlisted)
    assert messages("red shoe") == []
    assert matches == [(1.0, ())]


@pytest.mark.parametrize("words", ["red thing but not blue", "rotes Ding, kein Blau"])
def test_a_colour_that_is_not_wanted_is_left_out(shelf, measuring, words):
    sync()
    calibrate()
    found = first_by_words(words, 4)
    assert "both" not in found
    assert {"red", "rot"} <= {*found}


def test_words_follow_the_shop_s_own_colours(shelf, filling):
    sync()
    shelf["scene"].colour = "blue"
    shelf["scene"].save()
    sync()
    assert sorted(first_by_words("blau", 2)) == ["both", "scene"]
    shelf["scene"].colour = "lime"
    shelf["scene"].save()
    sync()
    assert first_by_words("blau", 1) == ["both"]
    assert first_by_words("lime", 1) == ["scene"]


def test_declared_later_they_are_measured_without_the_model(shelf, items):
    with shop.registered(Product, items):
        sync()
        assert not ImageColours.objects.exists()
    with shop.registered(Product, type("Measured", (items,), {"measured_colours": "main_colour"})):
        rebuild()
        assert CountingEmbedder.embedded == 5
        assert with_colour(main_colour="red") == ["both", "red", "rot"]


def test_what_another_rule_measured_is_measured_again(shelf, measuring, monkeypatch):
    sync()
    monkeypatch.setattr(colours, "RULE", colours.RULE + 1)
    monkeypatch.setattr(colours, "measure", lambda image: ("green",))
    assert with_colour(main_colour="red") == ["both", "red", "rot"]  # until the index is repaired
    reconcile()
    get_index().refresh(get_index().active())
    assert with_colour(main_colour="green") == ["both", "red", "rot", "scene"]
    assert CountingEmbedder.embedded == 5
    assert set(ImageColours.objects.values_list("rule", flat=True)) == {colours.RULE}


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_picture_that_cannot_be_read_again_stays_in_the_index(shelf, measuring, monkeypatch, is_gone):
    sync()
    ImageColours.objects.all().delete()
    picture = shelf["red"].photos.get()
    read = images.read

    def read_others(file: Any) -> bytes:
        if file.name == picture.file.name:
            raise FileNotFoundError if is_gone else OSError("the storage is down")
        return read(file)

    monkeypatch.setattr(images, "read", read_others)
    reconcile()
    assert not ItemState.objects.exclude(outcome=ItemState.Outcome.INDEXED, error="", pending=False).exists()
    get_index().refresh(get_index().active())
    assert with_colour() == ["both", "red", "rot", "scene"]
    assert with_colour(main_colour="red") == ["both", "rot"]


def test_without_memory_no_colours_are_stored(shelf, measuring, monkeypatch):
    sync()
    ImageColours.objects.all().delete()

    def load(self):
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr("PIL.ImageFile.ImageFile.load", load)
        reconcile()
    assert not ImageColours.objects.exists()
    assert not ItemState.objects.exclude(outcome=ItemState.Outcome.INDEXED, error="", pending=False).exists()
    reconcile()
    get_index().refresh(get_index().active())
    assert with_colour(main_colour="red") == ["both", "red", "rot"]


def test_colours_of_unused_images_are_purged(shelf, measuring):
    sync()
    ImageColours.objects.update(created_at=timezone.now() - timedelta(days=2))
    shelf["red"].delete()
    sync()
    reconcile()
    assert ImageColours.objects.count() == 4


def test_the_palette_has_counts_and_can_be_left(shelf, measuring):
    sync()
    refinement = refined("q=x")
    (palette,) = refinement.palettes
    assert {choice.value: choice.count for choice in palette.choices} == {"red": 3, "blue": 1}
    refinement = refined("q=x&main_colour=blue")
    (palette,) = refinement.palettes
    assert palette.chosen is not None
    assert (palette.chosen.url, palette.chosen.count, refinement.total) == ("?q=x", 1, 1)
    assert refined("like=red&main_colour=red", like=shelf["red"]).total == 2
    with translation.override("de"):
        html = render_to_string("imagesim/refinement.html", {"refinement": refined("main_colour=blue")})
    assert 'data-colour="blue"' in html
    assert "<span>blau</span>" in html
    assert html.count('aria-current="true"') == 1


def test_the_palette_of_the_shops_own_colours(shelf, filling):
    sync()
    (palette,) = refined("", facet="colour").palettes
    assert {choice.value: choice.count for choice in palette.choices} == {"red": 2, "blue": 1, "rot": 1}


class TestDeclaration:
    def test_the_filter_must_be_a_keyword(self, items):
        with shop.registered(Product, type("Measured", (items,), {"measured_colours": "price"})):
            assert [message.id for message in check_items()] == ["imagesim.E105"]

    @pytest.mark.parametrize(("name", "id"), [("limit", "imagesim.E019"), ("main__colour", "imagesim.E015")])
    def test_the_name_must_be_that_of_a_filter(self, items, name, id):
        with shop.registered(Product, type("Measured", (items,), {"measured_colours": name})):
            assert [message.id for message in check_items()] == [id]

    def test_it_must_be_a_name(self, items):
        with pytest.raises(ConfigurationError, match="measured_colours"):
            type("Measured", (items,), {"measured_colours": True})(Product)


@pytest.mark.slow
def test_the_plan_says_how_long_it_takes(items, settings, capsys):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER}
    for name, is_said in (("main_colour", True), ("", False)):
        with shop.registered(Product, type("Measured", (items,), {"measured_colours": name})):
            call_command("imagesim_plan", items=10, verbosity=0)
        assert ("Colours, this machine" in capsys.readouterr().out) == is_said
