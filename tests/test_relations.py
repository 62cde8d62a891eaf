"""Every kind of relation that a shop may have, from the change of a row to the answer of the index."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.db.models import F
from django.db.models.signals import m2m_changed
from django.test.utils import CaptureQueriesContext

from imagesim.exceptions import ConfigurationError
from imagesim.indexes import get_index
from imagesim.indexing import signals
from imagesim.indexing.outbox import touch
from imagesim.indexing.sync import sync
from imagesim.items import Items, paths
from imagesim.items.paths import in_languages, resolve
from imagesim.items.registry import registry
from imagesim.models import ItemState
from imagesim.retrieval.filters import categories_of
from imagesim.types import Condition, Filters
from tests.shop import EMBEDDER, encoded, picture, registered
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
    Shelf,
    Standing,
    Switch,
    Tag,
    Weight,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root", "lamps")]


class LampItems(Items[Lamp]):
    images = "pictures__file"
    category = "tags__label"
    in_stock = "bulb__watt"
    group = "maker"
    filters = {
        "maker": "maker__name",
        "code": "coded_maker__code",
        "box": "box__colour",
        "shelf": "shelves__name",
        "room": "rooms__name",
        "note": "notes__text",
        "size": "facts__size",
        "half": "half",
        "double": "double",
        "made": "made",
    }
    filter_kinds = {"size": "number", "half": "number"}


@pytest.fixture
def lamps(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}
    with registered(Lamp, LampItems):
        yield


@pytest.fixture
def lamp() -> Lamp:
    made = lit(Lamp.objects.create(name="Tall", lumen=90))
    sync()
    assert not ItemState.objects.filter(pending=True).exists()
    return made


def lit(lamp: Lamp, colour: str = "red") -> Lamp:
    Picture.objects.create(lamp=lamp, file=ContentFile(encoded(picture(colour)), name="lamp.png"))
    return lamp


def found(**asked: object) -> int:
    """Sync, and count the items that satisfy the question."""
    assert not sync().failed
    categories = (str(asked.pop("category")),) if "category" in asked else ()
    in_stock = asked.pop("in_stock", None)
    conditions = tuple(Condition(name, "eq", value) for name, value in asked.items())  # type: ignore[arg-type]
    return get_index().count(Filters(categories=categories, in_stock=in_stock, conditions=conditions))  # type: ignore[arg-type]


def test_a_foreign_key_and_the_row_it_points_to(lamp):
    lamp.maker = Maker.objects.create(name="Lux", code="lux")
    lamp.save()
    assert found(maker="Lux") == 1

    lamp.maker.name = "Nox"
    lamp.maker.save()
    assert (found(maker="Nox"), found(maker="Lux")) == (1, 0)

    lamp.maker.delete()
    assert (found(maker="Nox"), found()) == (0, 1)


def test_a_foreign_key_with_to_field(lamp):
    lamp.coded_maker = Maker.objects.create(name="Lux", code="lux")
    lamp.save()
    assert found(code="lux") == 1

    Maker.objects.get().delete()
    assert found(code="lux") == 0


def test_a_one_to_one_relation_from_the_other_side(lamp):
    box = Box.objects.create(lamp=lamp, colour="brown")
    assert found(box="brown") == 1

    box.colour = "white"
    box.save()
    assert (found(box="white"), found(box="brown")) == (1, 0)

    box.delete()
    assert found(box="white") == 0


def test_a_reverse_relation_without_related_name(lamp):
    assert found(in_stock=False) == 1
    bulb = Bulb.objects.create(lamp=lamp, watt=40)
    assert found(in_stock=True) == 1

    bulb.watt = 0
    bulb.save()
    assert found(in_stock=False) == 1


def test_a_many_to_many_relation_from_both_sides(lamp):
    new, old = Tag.objects.create(label="new"), Tag.objects.create(label="old")
    lamp.tags.add(new)
    assert found(category="new") == 1

    old.lamp_set.add(lamp)
    assert found(category="old") == 1

    new.label = "brand-new"
    new.save()
    assert (found(category="brand-new"), found(category="new")) == (1, 0)

    old.lamp_set.clear()
    assert found(category="old") == 0
    lamp.tags.set([old])
    assert (found(category="old"), found(category="brand-new")) == (1, 0)
    lamp.tags.clear()
    assert found(category="old") == 0


def test_a_many_to_many_relation_through_a_model_of_the_shop(lamp):
    shelf = Shelf.objects.create(name="top")
    row = Standing.objects.create(lamp=lamp, shelf=shelf)
    assert found(shelf="top") == 1

    row.shelf = Shelf.objects.create(name="low")
    row.save()
    assert (found(shelf="low"), found(shelf="top")) == (1, 0)

    row.delete()
    assert found(shelf="low") == 0
    lamp.shelves.add(shelf)
    assert found(shelf="top") == 1
    shelf.delete()
    assert found(shelf="top") == 0


@pytest.fixture
def not_of_django(monkeypatch):
    """A many-to-many relation as django-taggit makes it: not with a Django field."""
    relation = Lamp._meta.get_field("shelves")
    monkeypatch.delattr(relation, "m2m_field_name")
    monkeypatch.setattr(relation.remote_field, "symmetrical", True)  # the default of Django's ManyToManyRel
    resolve.cache_clear()
    signals.connect()
    yield
    resolve.cache_clear()


def test_a_many_to_many_relation_that_is_not_of_django(lamp, not_of_django):
    """It must not keep the project from starting, and the keys of tags must not be taken for those of items."""
    shelf = Shelf.objects.create(name="top")
    Standing.objects.bulk_create([Standing(lamp=lamp, shelf=shelf)])
    told = {"reverse": False, "model": Shelf, "pk_set": {shelf.pk}, "using": "default"}
    m2m_changed.send(Standing, instance=Maker(pk=lamp.pk), action="post_add", **told)
    assert changed() == set(), "the rows of tags can be of any model"
    m2m_changed.send(Standing, instance=lamp, action="post_add", **told)
    assert changed() == {("zoo.lamp", str(lamp.pk))}
    Standing.objects.get().save()
    assert changed() == {("zoo.lamp", str(lamp.pk))}


def test_a_through_model_without_a_reverse_name(lamp):
    """No query name leads from its rows to the item, so the shop's code goes through the relation."""
    lamp.rooms.add(Room.objects.create(name="hall"))

    assert found(room="hall") == 1


class TranslatedLamps(Items[Lamp]):
    images = "pictures__file"
    category = "translations__title_de"
    text = {"translations__title_pt_br": 3, "translations__title_de": 3}


def test_a_table_of_translations(lamp, settings):
    """Its rows are read by their language, as columns are, so each text is searched in its own language."""
    settings.LANGUAGES = [("de", "Deutsch"), ("fr", "Français"), ("pt-br", "Português")]
    german, _, _ = [lamp.translations.create(language_code=code, title=code) for code in ("de", "pt-BR", "fr")]
    with registered(Lamp, TranslatedLamps):
        items = registry.for_model(Lamp)
        assert items.get_texts(lamp) == {"translations__title_pt_br": ("pt-BR",), "translations__title_de": ("de",)}
        assert [spec.language for spec in items.text_specs.values()] == ["pt-br", "de"]
        assert items.get_categories(lamp) == categories_of(items) == ["de"]
        changed()
        german.save(update_fields=["title"])
        assert changed() == {("zoo.lamp", str(lamp.pk))}
        german.delete()
        assert changed() == {("zoo.lamp", str(lamp.pk))}
    with pytest.raises(ConfigurationError, match="LampTranslation has no 'title_xy'; it has 'id', 'language_code'"):
        resolve(Lamp, "translations__title_xy")
    with pytest.raises(ConfigurationError, match="LampTranslation has no 'master_de'"):
        resolve(Lamp, "translations__master_de")


def test_texts_of_every_language():
    assert in_languages(Lamp, "title") == ["translations__title_en", "translations__title_de"]
    assert in_languages(Lamp, "translations__title") == ["translations__title"]
    assert in_languages(Lamp, "name") == ["name"]
    assert in_languages(Lamp, "maker__name") == ["maker__name"]
    assert in_languages(Lamp, "brand__name") == in_languages(Lamp, "plan__name") == in_languages(Lamp, "sold") == []


def test_columns_of_every_language(monkeypatch, settings):
    """A bare name is German here; its values are known to be in the German column, if there is one."""
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("fr", "Français")]
    settings.LANGUAGE_CODE = "de-at"
    for columns, expected in (
        ({"name", "name_en", "name_de"}, ["name_en", "name_de"]),
        ({"name", "name_en"}, ["name", "name_en"]),
        ({"name_en", "name_de", "name_it"}, ["name_en", "name_de"]),
    ):
        monkeypatch.setattr(paths, "_texts", lambda model, columns=columns: columns)
        assert in_languages(Lamp, "name") == expected


def test_a_generic_relation(lamp):
    note = Note.objects.create(about=lamp, text="bright")
    assert found(note="bright") == 1

    note.text = "dim"
    note.save()
    assert (found(note="dim"), found(note="bright")) == (1, 0)

    note.delete()
    assert found(note="dim") == 0


def test_a_row_of_a_generic_relation_that_moves_concerns_both_items(lamp):
    other = lit(Lamp.objects.create(name="Low"))
    note = Note.objects.create(about=lamp, text="bright")
    assert found(note="bright") == 1

    note.about = other
    note.save()
    assert changed() == {("zoo.lamp", str(lamp.pk)), ("zoo.lamp", str(other.pk))}
    Note.objects.get(pk=note.pk).delete()
    assert changed() == {("zoo.lamp", str(other.pk))}


def test_a_generic_relation_of_a_child(lamp):
    """Its rows name the child's model, and are read when the queryset returns the child, as with django-polymorphic."""
    child = DeskLamp.objects.create(name="Desk")
    changed()
    note = Note.objects.create(about=child, text="bright")
    assert changed() == {("zoo.lamp", str(child.pk))}
    note.delete()
    assert changed() == {("zoo.lamp", str(child.pk))}


def test_a_generic_relation_of_another_model(lamp):
    changed()
    Note.objects.create(content_type=ContentType.objects.get_for_model(Maker), object_id=lamp.pk, text="bright")
    Note.objects.create(content_type=ContentType.objects.create(app_label="gone", model="lamp"), object_id=lamp.pk)
    assert changed() == set()


def test_fields_of_the_item_itself(lamp):
    from datetime import date

    lamp.facts, lamp.lumen, lamp.made = {"size": "12.5"}, 80, date(2024, 2, 29)
    lamp.save()

    assert found(size=12.5, half=40, double=160, made=date(2024, 2, 29)) == 1


def test_moving_a_picture_to_another_lamp(lamp):
    other = Lamp.objects.create(name="Bare")
    assert found() == 1  # without a picture there is nothing to find

    moved = lamp.pictures.get()
    moved.lamp = other
    moved.save()
    sync()

    assert [key for key, _ in get_index().scan()] == [f"zoo.lamp:{other.pk}"]


def test_a_row_behind_another_one_that_moves_concerns_both_items(lamp, django_capture_on_commit_callbacks):
    """For instance a stock record that moves to a variant of another product."""

    def makers() -> set[str]:
        return {pk for label, pk in changed() if label == "zoo.maker"}

    declared = {"images": "lamp__pictures__file", "in_stock": "lamp__bulb__watt"}
    with registered(Maker, type("Items", (Items,), declared)):
        lamps = [
            Lamp.objects.create(name=name, maker=Maker.objects.create(name=name, code=name)) for name in ("Lux", "Nox")
        ]
        former, own = (str(each.maker_id) for each in lamps)
        Bulb.objects.create(lamp=lamps[0], watt=40)
        makers()

        bulb = Bulb.objects.get(lamp=lamps[0])
        bulb.lamp = lamps[1]
        with django_capture_on_commit_callbacks(execute=True):
            bulb.save(update_fields=["lamp"])
        assert makers() == {former, own}
        bulb.watt = 60
        bulb.save()
        assert makers() == {own}
        bulb.delete()
        assert makers() == {own}


@pytest.fixture
def two_lamps(lamp) -> list[Lamp]:
    """Two lamps by two makers, each with a bulb and a switch."""
    lamps = [
        Lamp.objects.create(name=name, maker=Maker.objects.create(name=name, code=name)) for name in ("Lux", "Nox")
    ]
    for each in lamps:
        Switch.objects.create(bulb=Bulb.objects.create(lamp=each, watt=40))
    return lamps


def changed_makers() -> set[str]:
    return {pk for label, pk in changed() if label == "zoo.maker"}


def test_a_row_of_related_that_moves_concerns_both_items(two_lamps):
    """Its path to the items has two steps, or three."""
    both = {str(each.maker_id) for each in two_lamps}
    own = {str(two_lamps[1].maker_id)}
    related = {Bulb: "lamp__maker", "zoo.Switch": "bulb__lamp__maker"}
    with registered(Maker, type("Items", (Items,), {"images": "lamp__pictures__file", "related": related})):
        for row, name in ((Bulb.objects.first(), "lamp"), (Switch.objects.first(), "bulb")):
            changed()
            setattr(row, name, two_lamps[1] if name == "lamp" else Bulb.objects.create(lamp=two_lamps[0], watt=1))
            row.save()
            assert changed_makers() == both
        row.is_on = False
        row.save(update_fields=["is_on"])
        assert changed_makers() == both - own
        for each in (row, Bulb.objects.filter(lamp=two_lamps[1])):
            each.delete()
            assert changed_makers() == (both - own if each is row else own)


@pytest.mark.parametrize("declared", [{"in_stock": "lamp__bulb__watt"}, {"related": {Bulb: "lamp__maker"}}, None])
def test_a_row_is_deleted_from_its_item_in_the_database(two_lamps, declared):
    own = ("zoo.maker", str(two_lamps[1].maker_id)) if declared else ("zoo.lamp", str(two_lamps[1].pk))
    declared = {"images": "plan", "text": {}, **(declared or {"in_stock": "bulb__watt"})}
    with registered(Lamp if own[0] == "zoo.lamp" else Maker, type("Items", (Items,), declared)):
        bulb = Bulb.objects.first()
        Bulb.objects.filter(pk=bulb.pk).update(lamp=two_lamps[1])
        changed()
        bulb.delete()
        assert own in changed()
        for row in (Bulb.objects.create(lamp=two_lamps[1], watt=1), Bulb.objects.create(lamp=two_lamps[1], watt=2)):
            changed()
            rows = Bulb.objects.only("watt").filter(pk=row.pk)
            (rows if row.watt == 1 else rows.get()).delete()
            assert own in changed()


def test_the_states_of_items_are_locked_after_their_rows(two_lamps):
    """In the order in which a save locks them. If a delete first locked the states of the items that it takes along,
    because of the rows that refer to them, one of the two would end in a deadlock."""
    with registered(Lamp, type("Items", (Items,), {"images": "pictures__file", "in_stock": "bulb__switch__is_on"})):
        Picture.objects.create(lamp=two_lamps[0])
        changed()
        with CaptureQueriesContext(connection) as queries:
            Lamp.objects.get(pk=two_lamps[0].pk).delete()
        written = [each["sql"] for each in queries if not each["sql"].startswith("SELECT")]
        deleted = [number for number, sql in enumerate(written) if sql.startswith("DELETE")]
        recorded = [number for number, sql in enumerate(written) if "imagesim_itemstate" in sql]
        assert len(recorded) == 1
        assert recorded > deleted[-1:]
        assert changed() == {("zoo.lamp", str(two_lamps[0].pk))}


def test_what_is_between_a_row_of_related_and_its_item_can_move(two_lamps):
    """Changes to the other fields of the object between them do not concern an item."""
    both = {str(each.maker_id) for each in two_lamps}
    items = type("Items", (Items,), {"images": "plan", "text": {}, "related": {Switch: "bulb__lamp__maker"}})
    items.get_images = lambda self, maker: []
    with registered(Maker, items):
        bulb = Bulb.objects.first()
        changed()
        bulb.lamp = two_lamps[1]
        bulb.save()
        assert changed_makers() == both
        bulb.save(update_fields=["watt"])
        assert changed_makers() == set()
        two_lamps[0].maker = two_lamps[1].maker
        two_lamps[0].save()
        assert changed_makers() == both
        two_lamps[1].delete()
        assert changed_makers() == {str(two_lamps[1].maker_id)}


def test_a_soft_deleted_row_of_related_can_move(two_lamps):
    both = {str(each.maker_id) for each in two_lamps}
    with registered(Maker, type("Items", (Items,), {"images": "plan", "related": {Bulb: "lamp__maker"}})):
        bulb = Bulb.objects.first()
        changed()
        bulb.watt, bulb.lamp = -1, two_lamps[1]  # its manager hides this one
        bulb.save()
        assert changed_makers() == both
        Bulb._base_manager.get(pk=bulb.pk).delete()
        assert changed_makers() == {str(two_lamps[1].maker_id)}


def test_a_path_of_related_by_a_foreign_key_from_the_item(lamp):
    """Named by its accessor, as where a template reads it. The save must not fail."""
    maker = lamp.maker = Maker.objects.create(name="Lux", code="lux")
    lamp.save()
    for path in ("lamp_set", "lamp"):
        with registered(Lamp, type("Items", (Items,), {"images": "plan", "text": {}, "related": {Maker: path}})):
            changed()
            maker.save()
            assert changed() == {("zoo.lamp", str(lamp.pk))}
            changed()


def test_a_path_of_related_by_a_foreign_key_to_another_field(lamp):
    """The code of the maker must not be taken for its primary key."""
    maker = Maker.objects.create(name="Lux", code="lux")
    lamp.coded_maker = maker
    with registered(Maker, type("Items", (Items,), {"images": "plan", "related": {Lamp: "coded_maker"}})):
        changed()
        lamp.save()
        assert changed_makers() == {str(maker.pk)}
        lamp.coded_maker = Maker.objects.create(name="Nox", code="nox")
        changed()
        lamp.save()
        assert changed_makers() == {str(maker.pk), str(lamp.coded_maker.pk)}


@pytest.mark.parametrize("declared", [{"in_stock": "lamp__bulb__watt"}, {"related": {Bulb: "lamp__maker"}}, None])
@pytest.mark.parametrize("how", ["refreshed", "partly refreshed", "deferred", "stale"])
def test_a_row_is_moved_from_its_item_in_the_database(two_lamps, declared, how):
    """What the instance says of its former item may be out of date. The item that the row is moved from must not keep
    it."""
    model, label = (Maker, "zoo.maker") if declared else (Lamp, "zoo.lamp")
    declared = {"images": "plan", "text": {}, **(declared or {"in_stock": "bulb__watt"})}
    third = Lamp.objects.create(name="Pax", maker=Maker.objects.create(name="Pax", code="pax"))
    with registered(model, type("Items", (Items,), declared)):
        bulb = Bulb.objects.first()
        Bulb.objects.filter(pk=bulb.pk).update(lamp=two_lamps[1])
        if how == "refreshed":
            bulb.refresh_from_db()
        elif how == "partly refreshed":
            bulb.refresh_from_db(fields=["lamp"])
        elif how == "deferred":
            bulb = Bulb.objects.only("watt").get(pk=bulb.pk)
        changed()
        bulb.lamp = third
        bulb.save()
        concerned = {pk for found, pk in changed() if found == label}
        assert concerned == {str(each.maker_id if model is Maker else each.pk) for each in (two_lamps[1], third)}
        bulb.save()
        assert len({pk for found, pk in changed() if found == label}) == 1


def test_a_row_that_moves_back_concerns_both_items(two_lamps):
    """Otherwise, the second item would be in stock until the next reconcile."""
    with registered(Lamp, type("Items", (Items,), {"images": "plan", "text": {}, "in_stock": "bulb__watt"})):
        bulb, both = Bulb.objects.first(), {("zoo.lamp", str(each.pk)) for each in two_lamps}
        changed()
        for lamp in reversed(two_lamps):
            bulb.lamp = lamp
            bulb.save()
            assert changed() == both


@pytest.mark.django_db(transaction=True)
def test_a_move_that_is_saved_twice_and_tried_again_concerns_the_former_item(two_lamps):
    with registered(Lamp, type("Items", (Items,), {"images": "plan", "text": {}, "in_stock": "bulb__watt"})):
        bulb = Bulb.objects.first()
        bulb.lamp = two_lamps[1]
        with transaction.atomic():
            bulb.save()
            bulb.save()
            transaction.set_rollback(True)
        changed()
        bulb.save()
        assert changed() == {("zoo.lamp", str(each.pk)) for each in two_lamps}


@pytest.mark.parametrize("declared", [{"in_stock": "lamp__bulb__watt"}, {"related": {Bulb: "lamp__maker"}}])
def test_both_items_of_a_row_that_moves_are_found_by_an_index(two_lamps, declared):
    """If the conditions were joined by OR across two tables, the database would read these from beginning to end."""
    with registered(Maker, type("Items", (Items,), {"images": "plan", "text": {}, **declared})):
        bulb = Bulb.objects.first()
        bulb.lamp = two_lamps[1]
        with CaptureQueriesContext(connection) as queries:
            bulb.save()
    found = [each["sql"].upper() for each in queries if "ZOO_MAKER" in each["sql"].upper()]
    assert found
    assert not any(" OR " in sql or "OUTER JOIN" in sql for sql in found)


def test_pictures_in_the_order_of_an_expression(lamp, monkeypatch):
    monkeypatch.setattr(Picture._meta, "ordering", [F("position").asc(nulls_last=True)])
    signals.connect()
    changed()
    lamp.pictures.get().save(update_fields=["position"])
    assert changed() == {("zoo.lamp", str(lamp.pk))}


def test_lamps_of_one_maker_form_a_group(lamp):
    maker = Maker.objects.create(name="Lux", code="lux")
    items = registry.for_model(Lamp)
    assert items.group_key_of(lamp) == f"zoo.lamp:{lamp.pk}"
    lamp.maker = maker
    assert items.group_key_of(lamp) == f"zoo.maker:{maker.pk}"


def test_a_save_through_a_proxy(lamp):
    Lamp.objects.update(lumen=200)
    bright = BrightLamp.objects.get()
    bright.facts = {"size": 3}
    bright.save()

    assert found(size=3) == 1
    bright.delete()
    assert found() == 0


def test_multi_table_inheritance(lamp):
    child = DeskLamp.objects.create(name="Desk", lumen=10)
    lit(child, "blue")
    assert found(half=5) == 1

    child.lumen = 20
    child.save()
    assert (found(half=10), found(half=5)) == (1, 0)
    assert {key for key, _ in get_index().scan()} == {f"zoo.lamp:{lamp.pk}", f"zoo.lamp:{child.pk}"}

    child.delete()
    assert found() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["of the default", "none"])
def test_a_fixture_has_the_rows_of_a_parent_and_of_its_child(lamp, key):
    child = DeskLamp.objects.create(name="Desk")
    pk, rows = str(child.pk), serializers.serialize("json", [child.lamp_ptr, child])
    child.delete()
    ItemState.objects.all().delete()
    with transaction.atomic():  # as loaddata does
        for row in serializers.deserialize("json", rows):
            if key == "none" and isinstance(row.object, DeskLamp):
                row.object.id = None  # like a key that the database counts
            row.save()
    assert [state.object_pk for state in ItemState.objects.all()] == [pk]


@pytest.mark.django_db(transaction=True)
def test_a_fixture_with_many_to_many_relations_and_the_rows_of_imagesim(lamp):
    other, tag = Lamp.objects.create(name="Low"), Tag.objects.create(label="new")
    for each in (other, lamp):
        each.tags.add(tag)
    states = ItemState.objects.order_by("pk")
    rows = serializers.serialize("json", [tag, other, lamp, *states])
    recorded = [state.object_pk for state in states]
    assert recorded == [str(lamp.pk), str(other.pk)], "the fixture has the lamps in another order"
    for model in (Lamp, Tag, ItemState):
        model.objects.all().delete()
    with transaction.atomic():  # as loaddata does
        for row in serializers.deserialize("json", rows):
            row.save()
    assert [(state.object_pk, state.pending) for state in states.all()] == [(pk, True) for pk in recorded]


def test_all_forms_of_a_uuid_are_one_key(lamp):
    again = Lamp(pk=lamp.pk.hex, name="Tall", lumen=2)
    again._state.adding = False
    again.save()

    assert found(half=1) == 1
    assert ItemState.objects.filter(model="zoo.lamp").count() == 1


def test_all_forms_of_a_decimal_are_one_key(lamp):
    """Otherwise, a new item would be in the index only after the next reconcile, and a deleted one would stay until
    then."""
    with registered(Weight, type("Items", (Items,), {"images": "file", "text": {}})):
        made = Weight.objects.create(grams=Decimal("1.5"), file=ContentFile(encoded(picture("red")), name="weight.png"))
        sync()
        assert "zoo.weight:1.50" in [key for key, _ in get_index().scan()]
        Weight.objects.get().save()
        touch(made)
        touch(Weight.objects.all())
        assert ItemState.objects.filter(model="zoo.weight").count() == 1
        made.delete()
        sync()
        assert "zoo.weight:1.50" not in [key for key, _ in get_index().scan()]


@pytest.mark.parametrize("form", [lambda key: key.hex, lambda key: str(key).upper()])
def test_rows_may_name_an_item_by_any_form_of_its_key(lamp, form):
    """For instance in an import, from another system's text. The change must not be recorded for an item that does not
    exist."""
    states, new = ItemState.objects.filter(model="zoo.lamp"), Tag.objects.create(label="new")
    Picture.objects.create(lamp_id=form(lamp.pk), file=ContentFile(encoded(picture("blue")), name="again.png"))
    assert changed() == {("zoo.lamp", str(lamp.pk))}
    again = Lamp(pk=form(lamp.pk), name="Tall")
    again.save(force_update=True)
    changed()
    again.tags.add(new)
    assert changed() == {("zoo.lamp", str(lamp.pk))}
    assert states.count() == 1


class SomeLamps(Items[Lamp]):
    images = "pictures__file"
    category = "tags__label"


def changed() -> set[tuple[str, str]]:
    """The items with a change since the last call."""
    waiting = ItemState.objects.filter(pending=True)
    found = set(waiting.values_list("model", "object_pk"))
    waiting.update(pending=False)
    return found


def test_a_registered_proxy_knows_the_changes_of_its_model():
    registry.unregister(Lamp)
    with registered(BrightLamp, SomeLamps):
        lamp, new = Lamp.objects.create(name="Tall", lumen=200), Tag.objects.create(label="new")
        its = {("zoo.lamp", str(lamp.pk))}
        assert changed() == its
        lamp.tags.add(new)
        assert changed() == its
        new.lamp_set.remove(lamp)
        assert changed() == its
        lamp.tags.clear()
        assert changed() == its
        lamp.delete()
        assert changed() == its


def test_what_a_default_manager_leaves_out_can_depend_on_any_field():
    """For instance with soft deletion: the dimmed lamp must not stay in the index."""
    registry.unregister(Lamp)
    with registered(BrightLamp, SomeLamps):
        lamp = Lamp.objects.create(name="Tall", lumen=200)
        changed()
        lamp.lumen = 10
        lamp.save(update_fields=["lumen"])
        assert changed() == {("zoo.lamp", str(lamp.pk))}


def test_what_the_manager_of_a_related_model_leaves_out_can_depend_on_any_field(lamp):
    """For instance with soft deletion: a deleted picture must not stay in the index."""
    with registered(Lamp, type("Items", (Items,), {"images": "pictures__file", "in_stock": "bulb__id"})):
        bulb = Bulb.objects.create(lamp=lamp, watt=60)
        assert found(in_stock=True) == 1
        bulb.watt = -1
        bulb.save(update_fields=["watt"])
        assert found(in_stock=True) == 0
        bulb.watt = 60
        bulb.save(update_fields=["watt"])
        assert found(in_stock=True) == 1

    limited = {"images": "pictures__file", "in_stock": "bulb__id", "depends_on": ()}
    with registered(Lamp, type("Items", (Items,), limited)):
        changed()
        bulb.save(update_fields=["watt"])
        assert changed() == set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("paths", [{"images": "lamp__pictures__file", "in_stock": "lamp__bulb__watt"}, None])
def test_a_move_that_is_tried_again_concerns_the_former_item(paths):
    """For instance after the first transaction ended in a deadlock. The former item must not keep the row until the
    next reconcile."""
    label, declared = ("zoo.maker", paths) if paths else ("zoo.lamp", {"images": "pictures__file"})
    with registered(Maker if paths else Lamp, type("Items", (Items,), declared)):
        lamps = [
            Lamp.objects.create(name=name, maker=Maker.objects.create(name=name, code=name)) for name in ("Lux", "Nox")
        ]
        row = Bulb.objects.create(lamp=lamps[0], watt=40) if paths else Picture.objects.create(lamp=lamps[0])
        both = {str(each.maker_id if paths else each.pk) for each in lamps}
        row.lamp = lamps[1]
        with transaction.atomic():
            row.save()
            transaction.set_rollback(True)
        changed()
        row.save()
        assert {pk for found, pk in changed() if found == label} == both
        row.save()
        assert {pk for found, pk in changed() if found == label} < both


def test_a_save_of_what_a_generated_field_is_computed_from(lamp):
    """``update_or_create()`` saves the fields that it is given, and a generated field cannot be among them."""
    with registered(Lamp, type("Items", (Items,), {"images": "pictures__file", "filters": {"double": "double"}})):
        changed()
        Lamp.objects.update_or_create(pk=lamp.pk, defaults={"lumen": 70})
        assert found(double=140) == 1
        Lamp.objects.update_or_create(pk=lamp.pk, defaults={"lit": True})
        assert changed() == set()


def test_a_registered_child_knows_the_changes_of_its_parents_row():
    registry.unregister(Lamp)
    with registered(DeskLamp, SomeLamps):
        child, new = DeskLamp.objects.create(name="Desk", lumen=10), Tag.objects.create(label="new")
        parent, other = Lamp.objects.get(), Lamp.objects.create(name="Tall")
        its = {("zoo.desklamp", str(child.pk))}
        assert changed() == its
        parent.save()
        assert changed() == its
        parent.tags.add(new)
        assert changed() == its
        new.lamp_set.set([other])
        assert changed() == its
        other.tags.clear()  # it is not an item
        other.save()
        other.delete()
        assert changed() == set()
        parent.delete()
        assert changed() == its


@pytest.mark.parametrize("path", ["tags__wider__label", "tags__narrower__label", "tags__alike__label"])
def test_a_many_to_many_relation_of_a_model_with_itself(lamp, path):
    own, other = Tag.objects.create(label="own"), Tag.objects.create(label="other")
    lamp.tags.add(own)
    with registered(Lamp, type("Items", (Items,), {"images": "pictures__file", "category": path})):
        side = path.split("__")[1]
        back = {"wider": "narrower", "narrower": "wider", "alike": "alike"}[side]
        for relation, values in ((getattr(own, side), [other]), (getattr(other, back), [own])):
            relation.add(*values)
            assert found(category="other") == 1
            relation.remove(*values)
            assert found(category="other") == 0
            relation.add(*values)
            relation.clear()
            assert found(category="other") == 0


@pytest.mark.parametrize("path", ["maker", "coded_maker_id", "tags", "tags__wider__label", "rooms"])
def test_the_end_of_a_relation_with_the_row_it_points_to(lamp, path):
    """Django empties the foreign key, or deletes the rows between, without a signal."""
    maker, tag, wider = Maker.objects.create(name="acme", code="acme"), Tag.objects.create(), Tag.objects.create()
    room = Room.objects.create()
    lamp.maker = lamp.coded_maker = maker
    lamp.save()
    lamp.tags.add(tag)
    tag.wider.add(wider)
    lamp.rooms.add(room)
    row = {"maker": maker, "coded_maker_id": maker, "tags": tag, "tags__wider__label": tag, "rooms": room}[path]
    with registered(Lamp, type("Items", (Items,), {"images": "pictures__file", "category": path})):
        assert not changed().difference({("zoo.lamp", str(lamp.pk))})
        row.save()
        assert changed() == set()
        row.delete()
        assert changed() == {("zoo.lamp", str(lamp.pk))}
