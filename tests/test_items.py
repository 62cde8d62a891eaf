from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from unittest.mock import Mock

import pytest
from django.core.files.base import ContentFile
from django.db import models
from django.test.utils import isolate_apps

from demo_shop.shop.models import Category, Photo, Product
from imagesim.exceptions import ConfigurationError, NotIndexed
from imagesim.indexing.links import links
from imagesim.indexing.sync import sync
from imagesim.items import Items
from imagesim.items.keys import valid_pks
from imagesim.items.registry import registry
from imagesim.models import Scope
from imagesim.retrieval.filters import categories_of
from tests.shop import picture, product
from tests.zoo.models import Box, BrightLamp, Bulb, DeskLamp, Lamp, Maker, Picture, Standing, Tag


class Money:
    """Like the class in django-money and in Saleor's prices."""

    def __init__(self, amount: Decimal) -> None:
        self.amount, self.currency = amount, "EUR"

    def __str__(self) -> str:
        return f"€ {self.amount}"


def items(model=Lamp, **attributes) -> Items:
    return type("LampItems", (Items,), attributes)(model)


@isolate_apps("tests.zoo")
def test_valid_keys_have_the_form_of_the_database():
    class Sample(models.Model):  # noqa: DJ008
        key = models.DecimalField(primary_key=True, max_digits=8, decimal_places=1)

        class Meta:
            app_label = "zoo"

    class Shot(models.Model):  # noqa: DJ008
        key = models.DateTimeField(primary_key=True)

        class Meta:
            app_label = "zoo"

    assert list(map(str, valid_pks(Sample, ["1", "1.0", "1.00", "x", "NaN", "Infinity", "1e30"]))) == ["1.0"]
    noon = ["2024-06-01T12:00:00+00:00", "2024-06-01 14:00:00+02:00"]
    assert list(map(str, valid_pks(Shot, noon))) == ["2024-06-01 12:00:00+00:00"]


@pytest.fixture
def lamp(db):
    return Lamp.objects.create(name="Tall", lumen=90, maker=Maker.objects.create(name="Lux", code="lux"))


def test_the_category_tree_by_the_name_of_a_reverse_relation(lamp):
    """A query uses a different name for it: ``picture``."""
    Picture.objects.create(lamp=lamp, file="a.png", position=3)
    declared = items(category="pictures__file", category_parent="pictures__position")

    assert declared.get_category_parents() == {"a.png": {"3"}}
    assert categories_of(declared) == ["a.png"]


class TestDefaults:
    def test_defaults_without_a_declaration(self, lamp):
        plain = items()

        assert list(plain.get_images(lamp)) == []
        assert plain.get_categories(lamp) == []
        assert plain.get_in_stock(lamp) is True
        assert plain.get_group(lamp) == ""
        assert plain.get_filters(lamp) == {}
        assert plain.get_details(lamp) == {}
        assert plain.get_image_url(lamp, "x") == ""
        assert plain.should_index(lamp) is True
        assert list(plain.get_queryset()) == [lamp]
        assert plain.declared_paths() == ["name"]  # the model's own field, to search words in
        assert plain.get_texts(lamp) == {"name": (lamp.name,)}
        assert list(plain.for_reading(Lamp.objects.all())) == [lamp]
        assert plain.group_key_of(lamp) == plain.key_of(lamp) == f"zoo.lamp:{lamp.pk}"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<ul><li>red</li><li>blue</li></ul>", "red blue"),
        ("Two<br/>lines<P>and more", "Two lines and more"),
        ("20 m<sup>2</sup>, <b>w</b>aterproof", "20 m2, waterproof"),
        ("Umin<Umax &gt; 0 " * 60, " ".join(["Umin Umax > 0"] * 60)),  # so many that Django refuses to strip them
        ("<p>Gr&uuml;n&nbsp;&amp; wei&szlig;</p>", "Grün & weiß"),
        ("R&D, < 5 kg", "R&D, < 5 kg"),
    ],
)
def test_the_words_of_marked_up_texts(text, plain):
    found = items(text={"name": 1}).get_texts(Lamp(name=text))
    assert [" ".join(each.split()) for each in found["name"]] == [plain]


class TestImages:
    def test_files_in_order_without_the_empty_ones(self, lamp):
        for position, name in enumerate(["b.png", "", "a.png"]):
            Picture.objects.create(lamp=lamp, file=name, position=position)

        assert [file.name for file in items(images="pictures__file").get_images(lamp)] == ["b.png", "a.png"]

    def test_files_of_several_paths(self, lamp):
        lamp.plan = "main.png"
        Picture.objects.create(lamp=lamp, file="more.png")

        both = items(images=["plan", "pictures__file"])

        assert [file.name for file in both.get_images(lamp)] == ["main.png", "more.png"]
        assert both.relations_read == ((), ("pictures",))

        Picture.objects.create(lamp=lamp, file="main.png", position=3)
        found = [file.name for file in both.get_images(lamp)]
        assert found == ["main.png", "more.png"], "the main one is also one of the others"
        own, rows = links(both)
        assert own.scope_of(["plan"]) == rows.scope_of(["file"]) == Scope.ALL

    def test_an_empty_file_of_the_item_itself(self, lamp):
        assert list(items(images="plan").get_images(lamp)) == []

    def test_the_url_of_the_matching_image(self, lamp):
        for name in ("b.png", "a.png"):
            Picture.objects.create(lamp=lamp, file=name)
        pictures = items(images="pictures__file")

        assert pictures.get_image_url(lamp, "a.png") == "/media/a.png"
        assert pictures.get_image_url(lamp, "gone.png") == "/media/b.png"

    def test_a_file_without_a_url(self, lamp):
        class Drawn(Items[Lamp]):
            def get_images(self, item):
                return [ContentFile(b"", name="drawn.png")]

        assert Drawn(Lamp).get_image_url(lamp, "drawn.png") == ""


class TestCategories:
    def test_one_several_and_no_categories(self, lamp):
        lamp.tags.add(Tag.objects.create(label="new"), Tag.objects.create(label=""), Tag.objects.create(label="old"))

        assert items(category="maker__code").get_categories(lamp) == ["lux"]
        assert items(category="tags__label").get_categories(lamp) == ["new", "old"]
        assert items(category="hues").get_categories(lamp) == ["red", "blue"]
        assert items(category="box__colour").get_categories(lamp) == []

    def test_a_relation_gives_its_key(self, lamp):
        assert items(category="maker").get_categories(lamp) == [str(lamp.maker.pk)]
        assert items(category="coded_maker").get_categories(lamp) == []
        lamp.coded_maker = lamp.maker
        assert items(category="coded_maker").get_categories(lamp) == [str(lamp.maker.pk)]


class TestStock:
    @pytest.mark.parametrize(
        ("lumen", "lit", "numbers", "switches"),
        [(3, True, True, True), (0, False, False, False), (-2, True, False, True)],
    )
    def test_a_number_above_zero_is_in_stock(self, lumen, lit, numbers, switches):
        lamp = Lamp(lumen=lumen, lit=lit)

        assert items(in_stock="lumen").get_in_stock(lamp) is numbers
        assert items(in_stock="half").get_in_stock(lamp) is numbers
        assert items(in_stock="lit").get_in_stock(lamp) is switches

    def test_any_true_value_is_in_stock(self, lamp):
        shelved = items(in_stock="standing__shelf")
        assert shelved.get_in_stock(lamp) is False
        lamp.standing_set.create(shelf=lamp.shelves.model.objects.create(name="top"))
        assert shelved.get_in_stock(lamp) is True


class TestGroups:
    def test_a_parent_shares_the_group_of_its_variants(self):
        shop = registry.for_model(Product)
        parent, variant = Product(pk=7), Product(pk=8, parent_id=7)

        assert shop.get_group(variant) == "7"
        assert shop.group_key_of(variant) == shop.group_key_of(parent) == "shop.product:7"

    def test_a_group_of_another_model(self, lamp):
        assert items(group="maker").group_key_of(lamp) == f"zoo.maker:{lamp.maker.pk}"
        assert items(group="name").group_key_of(lamp) == "zoo.lamp.name:Tall"
        assert items(group="half").group_key_of(lamp) == "zoo.lamp.half:45.0"
        assert items(group="pk").group_key_of(lamp) == f"zoo.lamp:{lamp.pk}"

    def test_an_overridden_group(self, lamp):
        class Own(Items[Lamp]):
            def get_group(self, item):
                return "x"

        assert Own(Lamp).group_key_of(lamp) == "zoo.lamp:x"

    def test_a_group_that_is_given_as_its_main_item(self, lamp):
        """Otherwise, its text would be the group, which the main item itself is not in."""

        class Own(Items[Lamp]):
            def get_group(self, item):
                return None if item == lamp else lamp

        own = Own(Lamp)
        assert own.group_key_of(Lamp()) == own.group_key_of(lamp) == own.key_of(lamp)


class TestFilters:
    def test_values_by_kind(self, lamp):
        lamp.tags.add(Tag.objects.create(label="new"), Tag.objects.create(label="old"))
        lamp.lit, lamp.made, lamp.facts = True, date(2024, 2, 29), {"sizes": ["1.5", 2]}
        declared = items(
            filters={
                "name": "name",
                "id": "pk",
                "maker": "maker",
                "tags": "tags__label",
                "tag": "tags",
                "lumen": "lumen",
                "half": "half",
                "double": "double",
                "lit": "lit",
                "made": "made",
                "sizes": "facts__sizes",
                "colour": "box__colour",
                "plan": "plan",
            },
            filter_kinds={"half": "number", "sizes": "number", "plan": "keyword"},
        )

        assert declared.get_filters(Lamp.objects.get() and lamp) == {
            "name": "Tall",
            "id": str(lamp.pk),
            "maker": str(lamp.maker.pk),
            "tags": ("new", "old"),
            "tag": tuple(str(tag.pk) for tag in lamp.tags.order_by("pk")),
            "lumen": 90,
            "half": 45.0,
            "double": 180,
            "lit": True,
            "made": date(2024, 2, 29),
            "sizes": (Decimal("1.5"), 2),
            "colour": None,
            "plan": None,
        }
        assert declared.kinds == {
            **dict.fromkeys(["name", "id", "maker", "tags", "tag", "colour", "plan"], "keyword"),
            **dict.fromkeys(["lumen", "half", "double", "sizes"], "number"),
            "lit": "boolean",
            "made": "date",
        }

    @pytest.mark.parametrize(
        ("kind", "given", "value"),
        [
            ("keyword", 7, "7"),
            ("keyword", " Acme\n", "Acme"),
            ("keyword", timedelta(1), "1 day, 0:00:00"),
            ("number", True, 1),
            ("number", "2.50", Decimal("2.50")),
            ("boolean", 0, False),
            ("boolean", Decimal(2), True),
            ("date", "2024-02-29", date(2024, 2, 29)),
            ("date", "2024-02-29T10:00", datetime(2024, 2, 29, 10)),
            ("date", datetime(2024, 2, 29, 10), datetime(2024, 2, 29, 10)),
        ],
    )
    def test_conversion_of_values(self, kind, given, value):
        declared = items(filters={"fact": "facts__it"}, filter_kinds={"fact": kind})

        found = declared.get_filters(Lamp(facts={"it": given}))["fact"]

        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        ("kind", "given"),
        [
            ("number", "many"),
            ("number", float("nan")),
            ("number", float("inf")),
            ("number", date(2024, 1, 1)),
            ("boolean", "false"),
            ("date", "soon"),
            ("date", "2024-02-31"),
            ("date", 7),
        ],
    )
    def test_a_value_of_another_kind_is_named(self, kind, given):
        declared = items(filters={"fact": "facts__it"}, filter_kinds={"fact": kind})

        with pytest.raises(ConfigurationError) as caught:
            declared.get_filters(Lamp(facts={"it": given}))

        assert str(caught.value) == (
            f"LampItems.filters['fact'] is of kind {kind!r}, but gives {given!r}. "
            "Override get_filters() to convert it, or name another kind in filter_kinds."
        )

    @pytest.mark.parametrize(("kind", "value"), [("number", Decimal("2.50")), ("keyword", "€ 2.50")])
    def test_money(self, kind, value):
        declared = items(filters={"price": "lumen"}, filter_kinds={"price": kind})

        assert declared.get_filters(Lamp(lumen=Money(Decimal("2.50")))) == {"price": value}

    @pytest.mark.django_db
    @pytest.mark.parametrize(("error", "traced"), [(ConfigurationError("no number"), False), (KeyError("id"), True)])
    def test_an_error_in_the_shop_s_code_is_logged_once_for_all_items(self, error, traced, monkeypatch, caplog):
        """With a traceback, unless it explains itself."""
        declared = registry.for_model(Product)
        product("shoe", picture("red"))
        product("boot", picture("blue"))
        monkeypatch.setattr(declared, "get_filters", Mock(side_effect=error))

        assert sync().retried == 2

        [record] = [each for each in caplog.records if "cannot be prepared" in each.getMessage()]
        assert (record.levelname, bool(record.exc_info)) == (("ERROR", True) if traced else ("WARNING", False))

    def test_a_filter_of_unknown_kind(self):
        with pytest.raises(
            ConfigurationError, match=r"LampItems.filters\['burns'\] \('burns'\) does not end in a model"
        ):
            items(filters={"burns": "burns"}).kind_of("burns")
        with pytest.raises(ConfigurationError, match=r"filter_kinds\['burns'\] is 'text'; it can be 'boolean', 'date'"):
            items(filters={"burns": "burns"}, filter_kinds={"burns": "text"}).kind_of("burns")

    def test_the_kind_of_an_array_is_that_of_its_elements(self):
        postgres = pytest.importorskip("django.contrib.postgres.fields")
        from django.db import models

        from imagesim.filter_types import kind_of_field

        assert kind_of_field(postgres.ArrayField(models.IntegerField())) == "number"


class TestReading:
    @pytest.mark.django_db
    def test_many_items_take_few_queries(self, django_assert_num_queries):
        category = Category.objects.create(name="Shoes", slug="shoes")
        for number in range(20):
            product = Product.objects.create(name=f"P{number}", slug=f"p{number}", category=category, price=1)
            Photo.objects.create(product=product, file="b.jpg", position=2)
            Photo.objects.create(product=product, file="a.jpg", position=1)
        shop = registry.for_model(Product)

        with django_assert_num_queries(2):
            for product in shop.for_reading(shop.get_queryset()):
                assert [file.name for file in shop.get_images(product)] == ["a.jpg", "b.jpg"]
                assert shop.get_categories(product) == ["shoes"]
                shop.get_filters(product)
                shop.group_key_of(product)
                shop.get_in_stock(product)

    @pytest.mark.django_db
    def test_the_prefetch_of_the_shop_is_kept(self, lamp):
        from django.db.models import Prefetch

        Picture.objects.create(lamp=lamp, file="a.png")
        own = Lamp.objects.prefetch_related(Prefetch("pictures", Picture.objects.none()))

        (read,) = items(images="pictures__file").for_reading(own)

        assert list(items(images="pictures__file").get_images(read)) == []

    def test_unresolved_paths_are_reported_by_checks_only(self):
        declared = items(text={}, images="pictures__file", category="nonsense", group="pictures__file")

        assert [resolved.path for resolved in declared.resolved_paths()] == ["pictures__file"]

    def test_related_models(self):
        assert items(related={Box: "lamp", "zoo.Standing": "lamp"}).related_models() == [
            (Box, "lamp"),
            (Standing, "lamp"),
        ]
        for wrong in ("zoo.Stand", "Standing", "a.b.c"):
            declared = items(related={wrong: "lamp"})
            assert declared.related_models() == []
            with pytest.raises(ConfigurationError, match=rf"LampItems.related names '{wrong}', which is not a model"):
                declared.related_model(wrong, "lamp")

    @pytest.mark.django_db
    def test_a_proxy_keeps_its_manager(self, lamp):
        bright = Lamp.objects.create(name="Bright", lumen=200)

        assert list(items(BrightLamp).get_queryset()) == [bright]

    @pytest.mark.django_db
    def test_a_child_has_the_key_of_its_parent(self):
        child = DeskLamp.objects.create(name="Desk")

        assert items().key_of(child) == items().key_of(Lamp.objects.get())


def test_an_unsaved_item():
    with pytest.raises(NotIndexed, match="This product is not saved yet, so the index cannot know it"):
        items(Product).key_of(Product())


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"images": 5}, "LampItems.images must be a path such as 'photos__file', or a list of paths, not 5."),
        (
            {"images": ["a", 5]},
            "LampItems.images must be a path such as 'photos__file', or a list of paths, not ['a', 5].",
        ),
        ({"should_index": True}, "LampItems.should_index must be a method, not of type bool."),
        ({"get_queryset": Lamp.objects.all()}, "LampItems.get_queryset must be a method, not of type QuerySet."),
        ({"in_stock": True}, "LampItems.in_stock must be a path such as 'photos__file', not True."),
        (
            {"filters": ["brand"]},
            "LampItems.filters must be a dict of strings such as {'brand': 'brand__name'}, not ['brand'].",
        ),
        (
            {"filters": {"brand": None}},
            "LampItems.filters must be a dict of strings such as {'brand': 'brand__name'}, not {'brand': None}.",
        ),
        ({"depends_on": "active"}, "LampItems.depends_on must be a list of paths, not 'active'."),
        ({"depends_on": 5}, "LampItems.depends_on must be a list of paths, not 5."),
        ({"related": "x"}, "LampItems.related must be a dict of strings such as {'stock.Record': 'product'}, not 'x'."),
    ],
)
def test_invalid_paths_are_rejected_on_registration(attributes, message):
    with pytest.raises(ConfigurationError) as caught:
        items(**attributes)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("model", "category", "names", "others"),
    [
        (Product, "category", ["category__name", "category__parent__name"], ["name", "brand__name"]),
        (Product, "category_id", ["category__name_de"], ["name"]),
        (Bulb, "lamp__translations__title_de", ["lamp__translations__title_en", "lamp__name"], ["switch__is_on"]),
        (Bulb, "lamp__maker__name", ["lamp__maker__name"], ["lamp__name"]),
        (Lamp, "tags__name", ["tags__name"], ["name"]),
        (Lamp, "tags", ["tags__name"], ["name"]),
        (Lamp, "nothing__name", [], ["name"]),
        (Lamp, "", [], ["name"]),
    ],
)
def test_the_texts_of_a_category(model, category, names, others):
    """Whatever of it, or of its table of translations, is declared: what the category is called depends on it."""
    items = type("Own", (Items,), {"category": category})(model)
    assert [path for path in (*names, *others) if items.is_of_category(path)] == names


@pytest.mark.parametrize("group", ["lamp", "lamp_id"])
def test_the_name_of_a_product_does_not_name_the_category_of_its_variants(group):
    """Where the category is a plain field of the product, the product is not the model of the category."""
    variants = items(Bulb, category="lamp__link", group=group)
    texts = ("lamp__link", "lamp__name", "lamp__maker__name")
    assert [path for path in texts if variants.is_of_category(path)] == ["lamp__link"]
