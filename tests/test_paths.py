from __future__ import annotations

import pytest
from django.db import models
from django.db.models import Prefetch
from django.db.models.sql import Query
from django.test.utils import isolate_apps

from imagesim.exceptions import ConfigurationError
from imagesim.items import paths
from tests.zoo.models import (
    Box,
    BrightLamp,
    Bulb,
    DeskLamp,
    Lamp,
    Maker,
    Note,
    Picture,
    Room,
    Seat,
    Shelf,
    Standing,
    Tag,
)


def resolved(path: str, model: type = Lamp) -> paths.ResolvedPath:
    return paths.resolve(model, path)


@pytest.mark.parametrize(
    ("path", "relations", "many", "load"),
    [
        ("name", [], False, ([], [])),
        ("pk", [], False, ([], [])),
        ("maker", [], False, ([], [])),  # the key is in the item's own row
        ("maker_id", [], False, ([], [])),
        ("maker__name", [("maker", Maker)], False, (["maker"], [])),
        ("maker__pk", [("maker", Maker)], False, (["maker"], [])),
        ("coded_maker", [("coded_maker", Maker)], False, (["coded_maker"], [])),
        ("coded_maker_id", [], False, ([], [])),
        ("box__colour", [("box", Box)], False, (["box"], [])),
        ("box", [("box", Box)], False, (["box"], [])),
        ("tags__label", [("tags", Tag)], True, ([], ["tags"])),
        ("tags", [("tags", Tag)], True, ([], ["tags"])),
        ("shelves__name", [("standing", Standing), ("shelves", Shelf)], True, ([], ["shelves"])),
        ("rooms__name", [("rooms", Room)], True, ([], ["rooms"])),
        ("standing__shelf__name", [("standing", Standing), ("standing__shelf", Shelf)], True, None),
        ("notes__text", [("notes", Note)], True, ([], ["notes"])),
        ("pictures__file", [("picture", Picture)], True, ([], ["pictures"])),
        ("picture__file", [("picture", Picture)], True, ([], ["pictures"])),
        ("bulb_set__watt", [("bulb", Bulb)], True, ([], ["bulb_set"])),
        ("bulb__watt", [("bulb", Bulb)], True, ([], ["bulb_set"])),
        ("facts__size__0", [], False, ([], [])),
        ("hues", [], False, ([], [])),
        ("half", [], False, ([], [])),
    ],
)
def test_relations_and_lookups_of_a_path(path, relations, many, load):
    found = resolved(path)

    assert list(found.relations) == relations
    assert bool(found.load_many) is many
    one, many = load or ([], ["standing_set__shelf"])
    assert (found.load_one, found.load_many) == ("".join(one), "".join(many))


def test_a_path_on_a_proxy_and_on_a_child():
    for model in (BrightLamp, DeskLamp):
        assert resolved("pictures__file", model).relations == (("picture", Picture),)
    assert resolved("pk", DeskLamp).field == DeskLamp._meta.pk


def test_the_through_model_is_known_from_both_sides():
    assert resolved("tags__label").through == (("", Lamp.tags.through),)
    assert resolved("shelves__name").through == (("", Standing),)
    back = resolved("lamp__name", Shelf)
    assert back.through == (("", Standing),)
    assert back.relations == (("standings", Standing), ("lamp", Lamp))
    assert resolved("lamp_set__tags__label", Maker).through == (("lamp", Lamp.tags.through),)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nam", "'nam' does not resolve: zoo.Lamp has no 'nam'; it has 'box', 'brightness', "),
        ("pictures__", "'pictures__' does not resolve: zoo.Picture has no ''; it has 'file', 'id', 'lamp' or"),
        ("pictures__fil", "'pictures__fil' does not resolve: zoo.Picture has no 'fil'; it has 'file', 'id',"),
        ("name__lower", "'name__lower' continues after 'name', which is not a relation."),
        ("maker__name__x", "'maker__name__x' continues after 'name', which is not a relation."),
        ("hues__x", "'hues__x' continues after 'hues', a property or method, which can only end it."),
        ("switch", "'switch' would call zoo.Lamp.switch(), which changes data."),
        ("delete", "'delete' would call zoo.Lamp.delete(), which changes data."),
        ("objects", "'objects' does not resolve"),
        ("maker.name", "'maker.name' does not resolve; write it as 'maker__name'."),
        ("DoesNotExist", "'DoesNotExist' does not resolve"),
        ("_meta", "'_meta' does not resolve"),
    ],
)
def test_unresolved_parts_are_named(path, message):
    with pytest.raises(ConfigurationError) as caught:
        resolved(path)

    assert str(caught.value).startswith(message.replace("'box', 'brightness', ", "'box', 'bulb_set', "))


def test_a_generic_relation_can_only_end_a_path():
    assert resolved("about", Note).field is not None
    with pytest.raises(ConfigurationError, match="a generic relation that leads to any model"):
        resolved("about__name", Note)


@isolate_apps("tests")
def test_keys_of_an_hstore():
    postgres = pytest.importorskip("django.contrib.postgres.fields")

    class Ware(models.Model):  # noqa: DJ008
        facts = postgres.HStoreField()

        class Meta:
            app_label = "tests"

    assert resolved("facts__colour", Ware).field is None
    assert list(paths.read(Ware(facts={"colour": "red"}), "facts__colour")) == ["red"]
    assert list(paths.read(Ware(facts={}), "facts__colour")) == []


def test_the_target_model_of_a_path():
    assert paths.target(Picture, "lamp") is Lamp
    assert paths.target(Shelf, "lamp") is Lamp
    assert paths.target(Bulb, "lamp__pictures") is Picture
    assert paths.target(Bulb, "watt") is None
    assert paths.target(Lamp, "hues") is None
    assert paths.target(Seat, "row") is None


def test_what_a_method_generates_is_read(monkeypatch):
    monkeypatch.setattr(Lamp, "half", lambda self: (hue for hue in ("red", "blue")))
    assert list(paths.read(Lamp(), "half")) == ["red", "blue"]


def test_an_open_file_is_one_value(monkeypatch, tmp_path):
    (tmp_path / "lamp.png").write_bytes(b"two\nlines")
    with (tmp_path / "lamp.png").open("rb") as file:
        monkeypatch.setattr(Lamp, "half", lambda self: file)
        assert list(paths.read(Lamp(), "half")) == [file]


def test_a_set_is_read_in_one_order(monkeypatch):
    """Texts in a set have a different order in each process, so the item would seem changed."""
    monkeypatch.setattr(Lamp, "hues", property(lambda self: set("hgfedcba")))
    assert list(paths.read(Lamp(), "hues")) == list("abcdefgh")


@pytest.mark.django_db
class TestReading:
    def make(self) -> Lamp:
        maker = Maker.objects.create(name="Lux", code="lux")
        lamp = Lamp.objects.create(
            name="Tall",
            lumen=90,
            maker=maker,
            coded_maker=maker,
            facts={
                "size": [3, {"deep": "er"}],
                "hue": None,
                "gaps": [1, None],
                "media": [{"url": "a", "sizes": [{"w": 1}, {"w": 2}]}, {"url": ["b", "c"]}, {"url": None}, "d"],
            },
        )
        lamp.tags.add(Tag.objects.create(label="new"), Tag.objects.create(label="old"))
        Standing.objects.create(lamp=lamp, shelf=Shelf.objects.create(name="top"))
        Note.objects.create(about=lamp, text="bright")
        Picture.objects.create(lamp=lamp, file="second.png", position=2)
        Picture.objects.create(lamp=lamp, file="first.png", position=1)
        Bulb.objects.create(lamp=lamp, watt=60)
        Box.objects.create(lamp=lamp, colour="brown")
        return Lamp.objects.get()

    @pytest.mark.parametrize(
        ("path", "values"),
        [
            ("name", ["Tall"]),
            ("maker__name", ["Lux"]),
            ("coded_maker_id", ["lux"]),
            ("box__colour", ["brown"]),
            ("tags__label", ["new", "old"]),
            ("shelves__name", ["top"]),
            ("standing__shelf__name", ["top"]),
            ("notes__text", ["bright"]),
            ("pictures__file", ["first.png", "second.png"]),  # in the order defined by the model
            ("bulb__watt", [60]),
            ("bulb_set__watt", [60]),
            ("facts__size__0", [3]),
            ("facts__size__1__deep", ["er"]),
            ("facts__size", [3, {"deep": "er"}]),
            ("facts__gaps", [1]),
            ("facts__size__9", []),
            ("facts__size__x", []),
            ("facts__size__deep", ["er"]),
            ("facts__media__url", ["a", "b", "c"]),
            ("facts__media__sizes__w", [1, 2]),
            ("facts__hue", []),
            ("facts__hue__further", []),
            ("facts__absent", []),
            ("hues", ["red", "", "blue"]),
            ("half", [45.0]),
            ("marks", ["new", "old"]),
            ("nothing", []),
            ("made", []),
        ],
    )
    def test_values(self, path, values):
        found = list(paths.read(self.make(), path))

        assert [str(value) if isinstance(value, Tag) else value for value in found] == values

    def test_rows_without_an_order_are_read_by_their_key(self):
        lamp = self.make()
        lamp.tags.add(*(Tag.objects.create(label=label) for label in "zay"))
        by_label = Lamp.objects.prefetch_related(Prefetch("tags", Tag.objects.order_by("label")))
        by_key = Lamp.objects.prefetch_related("tags")

        assert list(paths.read(by_label.get(), "tags__label")) == ["a", "new", "old", "y", "z"]  # the shop's own order
        shuffled = by_key.get()
        shuffled._prefetched_objects_cache["tags"]._result_cache.reverse()  # a database may return them like this
        assert list(paths.read(shuffled, "tags__label")) == ["new", "old", "z", "a", "y"]
        assert [tag.label for tag in paths.read(shuffled, "marks")] == ["new", "old", "z", "a", "y"]  # of a manager

    def test_values_that_a_property_selects_are_read(self, monkeypatch):
        monkeypatch.setattr(Lamp, "marks", property(lambda self: self.tags.values_list("label", flat=True)))

        assert {*paths.read(self.make(), "marks")} == {"new", "old"}

    def test_the_filter_of_prefetched_rows_is_not_built_to_know_their_order(self, monkeypatch):
        """Otherwise, it would take as long as a query, for each hit of a page."""
        self.make()
        lamp = Lamp.objects.prefetch_related("pictures").get()
        monkeypatch.setattr(Query, "build_filter", None)

        assert list(paths.read(lamp, "pictures__file")) == ["first.png", "second.png"]

    def test_a_relation_gives_its_key_or_its_instances(self):
        lamp = self.make()

        assert list(paths.read(lamp, "maker")) == [lamp.maker.pk]
        assert list(paths.read(lamp, "coded_maker")) == [lamp.maker]
        assert list(paths.read(lamp, "box")) == [lamp.box]
        assert list(paths.read(lamp, "tags")) == list(lamp.tags.order_by("pk"))
        assert list(paths.read(Note.objects.get(), "about")) == [lamp]

    def test_an_empty_relation_gives_nothing(self):
        lamp = Lamp.objects.create(name="Bare")

        for path in ("maker", "maker__name", "coded_maker__name", "box__colour", "tags__label", "pictures__file"):
            assert list(paths.read(lamp, path)) == []

    def test_an_unsaved_item(self):
        fresh = Maker(name="Lux")

        assert list(paths.read(fresh, "lamp__pictures__file")) == []
        assert list(paths.read(fresh, "name")) == ["Lux"]

    def test_reading_a_child_and_a_proxy(self):
        self.make()
        child = DeskLamp.objects.create(name="Desk", lumen=150)
        Picture.objects.create(lamp=child, file="desk.png")

        assert list(paths.read(child, "pictures__file")) == ["desk.png"]
        assert list(paths.read(BrightLamp.objects.get(), "pictures__file")) == ["desk.png"]

    def test_reading_the_child_of_a_parent_and_of_itself(self, django_assert_num_queries):
        """A queryset that returns children, as with django-polymorphic, can prefetch their rows but not join them."""
        self.make()
        DeskLamp.objects.create(name="Desk", arm=45)
        resolved = paths.resolve(Lamp, "desklamp__arm")

        assert (resolved.load_one, resolved.load_many) == ("", "desklamp")
        for lamps in (Lamp.objects.all(), DeskLamp.objects.all()):
            with django_assert_num_queries(2):
                every = lamps.prefetch_related("desklamp")
                assert [arm for lamp in every for arm in paths.read(lamp, "desklamp__arm")] == [45]

    @pytest.mark.parametrize("path", ["maker__name", "box__colour", "tags__label", "standing__shelf__name"])
    def test_no_query_per_item(self, path, django_assert_max_num_queries):
        for number in range(5):
            lamp = Lamp.objects.create(name=f"Lamp {number}", maker=Maker.objects.create(name="M", code=f"m{number}"))
            lamp.tags.add(Tag.objects.create(label="t"))
            Standing.objects.create(lamp=lamp, shelf=Shelf.objects.create(name="s"))
            Box.objects.create(lamp=lamp, colour="c")
        found = resolved(path)

        with django_assert_max_num_queries(3):
            lamps = Lamp.objects.all()
            lamps = lamps.select_related(found.load_one) if found.load_one else lamps.prefetch_related(found.load_many)
            assert len([value for lamp in lamps for value in paths.read(lamp, path)]) == 5

    @pytest.mark.parametrize(
        ("path", "load"),
        [
            ("lumen", Lamp.objects.all),
            ("maker_id", Lamp.objects.all),
            ("maker__name", lambda: Lamp.objects.select_related("maker")),
            ("box__colour", lambda: Lamp.objects.select_related("box")),
            ("bulb__watt", lambda: Lamp.objects.prefetch_related("bulb_set")),
            ("tags__label", lambda: Lamp.objects.prefetch_related("tags")),
            ("standing__shelf__name", lambda: Lamp.objects.prefetch_related("standing_set__shelf")),
        ],
    )
    def test_what_is_loaded_is_read_without_a_query(self, path, load, django_assert_num_queries):
        self.make()
        Lamp.objects.create(name="Bare")
        loaded, bare = list(load()), list(Lamp.objects.only("name"))
        with django_assert_num_queries(0):
            assert [paths.is_loaded(lamp, path) for lamp in loaded] == [True, True]
            assert [paths.is_loaded(lamp, path) for lamp in bare] == [False, False]
            for lamp in loaded:
                list(paths.read(lamp, path))

    @pytest.mark.parametrize("path", ["hues", "half", "marks", "facts__size"])
    def test_nobody_knows_what_a_property_or_a_method_reads(self, path):
        assert not paths.is_loaded(self.make(), path)


@isolate_apps()
def test_a_row_for_each_language_that_refers_to_its_language():
    """Like Wagtail's pages: ``title_de`` is the title of German rows."""

    class Locale(models.Model):  # noqa: DJ008
        class Meta:
            app_label = "zoo"

        language_code = models.CharField(max_length=100)

    class Shelved(models.Model):  # noqa: DJ008
        class Meta:
            app_label = "zoo"

        title = models.CharField(max_length=100)
        locale = models.ForeignKey(Locale, models.PROTECT, null=True)
        language = models.ForeignKey("self", models.CASCADE, null=True)  # does not refer to a language

    found = paths.resolve(Shelved, "title_de")
    assert (found.load_one, found.conditions) == ("locale", {"locale__language_code__iexact": "de"})
    german, english = (Shelved(title=code, locale=Locale(language_code=code)) for code in ("de", "en"))
    assert [list(paths.read(each, "title_de")) for each in (german, english, Shelved())] == [["de"], [], []]
    assert paths.is_loaded(german, "title_de")
    assert not paths.is_loaded(Shelved(title="de", locale_id=1), "title_de")
