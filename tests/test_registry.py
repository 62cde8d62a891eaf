from __future__ import annotations

import uuid

import pytest
from django.apps import apps
from django.db.migrations.state import ProjectState
from django.test import override_settings

import imagesim
from demo_shop.shop.models import Product
from imagesim.exceptions import ConfigurationError, NotIndexed, NotRegistered
from imagesim.indexing.outbox import touch
from imagesim.items import Items
from imagesim.items.registry import Registry, get_items, key_of, make_key, register, registry, split_key
from tests.zoo.models import Abstract, BrightLamp, DeskLamp, Lamp, Maker, Seat, Swappable


class LampItems(Items[Lamp]):
    images = "pictures__file"


@pytest.fixture
def lamps():
    register(Lamp)(LampItems)
    yield registry.for_model(Lamp)
    registry.unregister(Lamp)


def test_similarity_modules_are_autodiscovered():
    assert Product in registry
    assert registry.for_model(Product).label == "shop.product"
    assert imagesim.register is register
    assert imagesim.Items is Items


def test_an_unknown_attribute_of_the_package():
    with pytest.raises(AttributeError, match="module 'imagesim' has no attribute 'nonsense'"):
        imagesim.nonsense  # noqa: B018


def test_the_model_is_forgotten():
    with pytest.raises(ConfigurationError, match=r"write @imagesim.register\(Product\) above LampItems\."):
        register(LampItems)


def test_looking_up(lamps):
    assert registry.for_item(Lamp()) is lamps
    assert registry.for_label("ZOO.Lamp") is lamps
    assert Lamp in [items.model for items in registry]
    assert len(registry) == 2
    assert Maker not in registry
    assert "zoo.lamp" not in registry
    assert int not in registry


def test_an_app_may_have_a_label_in_upper_case(lamps, monkeypatch):
    monkeypatch.setattr(lamps, "label", "Zoo.lamp")  # as ``label_lower``, which is lower-case behind the point only
    assert registry.for_label("Zoo.lamp") is registry.for_label("zoo.lamp") is lamps


def test_an_unregistered_model_is_reported_with_the_registered_ones(lamps):
    with pytest.raises(NotRegistered, match=r"zoo.Maker is not registered; the registered ones are 'shop.product' or"):
        registry.for_model(Maker)
    with pytest.raises(NotRegistered, match=r"'zoo.maker' is not a registered model; the registered ones are"):
        registry.for_label("zoo.maker")
    with pytest.raises(NotRegistered, match=r"zoo.Maker is not registered; none is\."):
        Registry().for_model(Maker)


def test_an_instance_of_the_parent_of_a_registered_model_is_reported_with_its_child():
    """Like the pages that Wagtail's ``get_children()`` returns."""
    own = Registry()
    own.register(DeskLamp, Items)
    with pytest.raises(NotRegistered, match=r"ones are 'zoo.desklamp'\. Use an object of the child instead"):
        own.for_model(Lamp)


def test_a_model_of_a_migration_is_reported_as_such():
    """ "shop.Product is not registered; the registered ones are 'shop.product'" would help nobody."""
    historical = ProjectState.from_apps(apps).apps.get_model("shop", "Product")
    with pytest.raises(NotRegistered, match=r"This shop\.Product is a model of a migration.*imagesim_sync --reconcile"):
        touch(historical(pk=1))
    with pytest.raises(NotRegistered, match=r"This shop\.Product is a model of a migration"):
        touch(historical.objects.all())


def test_the_items_of_a_label_or_the_only_ones(monkeypatch):
    assert get_items() is get_items("shop.product") is registry.for_model(Product)
    own = Registry()
    monkeypatch.setattr("imagesim.items.registry.registry", own)
    with pytest.raises(NotRegistered, match=r"No model is registered; register one in a similarity\.py"):
        get_items()
    own.register(Lamp, LampItems)
    own.register(Maker, LampItems)
    with pytest.raises(NotRegistered, match=r"Several models are registered; name one: 'zoo.lamp' or 'zoo.maker'\."):
        get_items()


def test_a_proxy_belongs_to_its_model_and_keeps_its_manager():
    own = Registry()
    own.register(BrightLamp, LampItems)

    assert own.for_model(Lamp) is own.for_model(BrightLamp)
    assert own.for_model(Lamp).label == "zoo.lamp"
    assert own.for_model(Lamp).model is BrightLamp
    assert [items.model for items in own] == [BrightLamp]
    with pytest.raises(ConfigurationError, match=r"zoo.Lamp is registered twice"):
        own.register(Lamp, LampItems)
    own.unregister(Lamp)
    assert len(own) == 0
    own.unregister(Lamp)


def test_a_child_belongs_to_its_nearest_registered_ancestor():
    own = Registry()
    own.register(Lamp, LampItems)
    assert own.for_model(DeskLamp).label == "zoo.lamp"
    own.register(DeskLamp, LampItems)
    assert own.for_model(DeskLamp).label == "zoo.desklamp"
    assert own.for_model(Lamp).label == "zoo.lamp"


def test_keys(lamps):
    pk = uuid.uuid4()

    assert key_of(Lamp(pk=pk)) == f"zoo.lamp:{pk}"
    assert key_of(Lamp(pk=pk.hex)) == f"zoo.lamp:{pk}"  # as the database will store it
    assert key_of(DeskLamp(pk=pk, id=pk)) == f"zoo.lamp:{pk}"
    assert key_of(BrightLamp(pk=pk)) == f"zoo.lamp:{pk}"
    assert key_of(Product(pk="7")) == "shop.product:7"
    assert make_key("a.b", "c:d") == "a.b:c:d"
    assert split_key("a.b:c:d") == ("a.b", "c:d")


def test_an_unsaved_item_has_no_key():
    with pytest.raises(NotIndexed, match="This product is not saved yet"):
        key_of(Product())


@pytest.mark.parametrize(
    ("model", "items", "message"),
    [
        ("shop.Product", LampItems, "register() takes a concrete model class, not 'shop.Product'."),
        (int, LampItems, "register() takes a concrete model class, not <class 'int'>."),
        (Abstract, LampItems, "register() takes a concrete model class, not <class 'tests.zoo.models.Abstract'>."),
        (Lamp, Lamp, "<class 'tests.zoo.models.Lamp'> is not a subclass of imagesim.Items."),
        (Lamp, "Items", "'Items' is not a subclass of imagesim.Items."),
        (Seat, LampItems, "zoo.Seat has a composite primary key; only models with a single one can be registered."),
        (Product, LampItems, "shop.Product is registered twice."),
    ],
)
def test_invalid_registrations_are_rejected(model, items, message):
    with pytest.raises(ConfigurationError) as caught:
        registry.register(model, items)

    assert str(caught.value) == message


def test_a_swapped_model_is_rejected():
    with (
        override_settings(ZOO_SWAPPABLE_MODEL="zoo.Lamp"),
        pytest.raises(ConfigurationError, match=r"zoo.Swappable is swapped out and has no table; register zoo.Lamp"),
    ):
        Registry().register(Swappable, LampItems)


@pytest.mark.parametrize("wrong", [7, "shop.product", None, int])
def test_other_objects_are_not_registered(wrong):
    with pytest.raises(NotRegistered, match="is not registered"):
        registry.for_model(wrong)
