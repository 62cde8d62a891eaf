from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models

from imagesim.database import AtomicSave


class Maker(models.Model):
    name = models.CharField(max_length=50)
    code = models.SlugField(unique=True)

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    label = models.CharField(max_length=50)
    narrower = models.ManyToManyField("self", symmetrical=False, related_name="wider", blank=True)
    alike = models.ManyToManyField("self", blank=True)

    def __str__(self) -> str:
        return self.label


class Note(models.Model):
    """A generic relation to any model with a UUID key."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.UUIDField()
    about = GenericForeignKey("content_type", "object_id")
    text = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.text


class Lamp(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)
    maker = models.ForeignKey(Maker, models.SET_NULL, null=True, blank=True)
    coded_maker = models.ForeignKey(Maker, models.SET_NULL, to_field="code", null=True, blank=True, related_name="+")
    tags = models.ManyToManyField(Tag, blank=True)
    shelves = models.ManyToManyField("Shelf", through="Standing")
    rooms = models.ManyToManyField("Room", through="Placing")
    notes = GenericRelation(Note)
    facts = models.JSONField(default=dict, blank=True)
    plan = models.FileField(blank=True)
    link = models.URLField(blank=True)
    lumen = models.IntegerField(default=0)
    lit = models.BooleanField(default=False)
    made = models.DateField(null=True, blank=True)
    burns = models.DurationField(null=True, blank=True)
    double = models.GeneratedField(
        expression=models.F("lumen") * 2, output_field=models.IntegerField(), db_persist=True
    )

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def hues(self) -> list[str]:
        return ["red", "", "blue"]

    @property
    def marks(self) -> models.Manager[Tag]:
        return self.tags

    def half(self) -> float:
        return self.lumen / 2

    def nothing(self) -> None:
        return None

    def switch(self) -> None:
        raise AssertionError("a path must not call this")

    switch.alters_data = True  # type: ignore[attr-defined]


class Shelf(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Standing(models.Model):
    lamp = models.ForeignKey(Lamp, models.CASCADE)
    shelf = models.ForeignKey(Shelf, models.CASCADE, related_name="standings")

    def __str__(self) -> str:
        return f"{self.lamp} on {self.shelf}"


class Room(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Placing(models.Model):
    """Cannot be reached from a lamp."""

    lamp = models.ForeignKey(Lamp, models.CASCADE, related_name="+")
    room = models.ForeignKey(Room, models.CASCADE)

    def __str__(self) -> str:
        return f"{self.lamp} in {self.room}"


class Picture(models.Model):
    """Found from a lamp as ``pictures`` in Python and as ``picture`` in queries."""

    lamp = models.ForeignKey(Lamp, models.CASCADE, related_name="pictures", related_query_name="picture")
    file = models.FileField()
    position = models.IntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["position"]

    def __str__(self) -> str:
        return self.file.name


class Bulb(models.Model):
    """Found from a lamp as ``bulb_set`` in Python and as ``bulb`` in queries, which are Django's defaults.

    Its manager hides broken ones, of negative power.
    """

    class Working(models.Manager["Bulb"]):
        def get_queryset(self) -> models.QuerySet[Any]:
            return super().get_queryset().filter(watt__gte=0)

    lamp = models.ForeignKey(Lamp, models.CASCADE)
    watt = models.IntegerField()

    objects = Working()

    def __str__(self) -> str:
        return f"{self.watt} W"


class Switch(models.Model):
    """Three steps away from a maker."""

    bulb = models.ForeignKey(Bulb, models.CASCADE)
    is_on = models.BooleanField(default=True)

    def __str__(self) -> str:
        return f"switch of {self.bulb}"


class LampTranslation(models.Model):
    """A row for each language, as django-parler makes it."""

    master = models.ForeignKey(Lamp, models.CASCADE, related_name="translations")
    language_code = models.CharField(max_length=15)
    title = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.title


class Box(models.Model):
    lamp = models.OneToOneField(Lamp, models.CASCADE, related_name="box")
    colour = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.colour


class BrightLamp(AtomicSave, Lamp):
    """A proxy with its own manager."""

    class Bright(models.Manager["BrightLamp"]):
        def get_queryset(self) -> models.QuerySet[Any]:
            return super().get_queryset().filter(lumen__gte=100)

    objects = Bright()

    class Meta:
        proxy = True

    def __str__(self) -> str:
        return self.name


class DeskLamp(Lamp):
    """A child by multi-table inheritance."""

    arm = models.IntegerField(default=30)

    def __str__(self) -> str:
        return self.name


class Weight(models.Model):
    """A key that can be written in several ways: 1.5 and 1.50 are the same."""

    grams = models.DecimalField(primary_key=True, max_digits=8, decimal_places=2)
    file = models.FileField()

    def __str__(self) -> str:
        return f"{self.grams} g"


class Seat(models.Model):
    """A model with a composite primary key."""

    pk = models.CompositePrimaryKey("row", "number")
    row = models.IntegerField()
    number = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.row}/{self.number}"


class Abstract(models.Model):
    class Meta:
        abstract = True


class Swappable(models.Model):
    class Meta:
        swappable = "ZOO_SWAPPABLE_MODEL"

    def __str__(self) -> str:
        return str(self.pk)
