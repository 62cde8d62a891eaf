from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import get_language, gettext_noop
from django.utils.translation import gettext_lazy as _

COLOURS = (
    gettext_noop("black"), gettext_noop("blue"), gettext_noop("brown"), gettext_noop("green"), gettext_noop("grey"),
    gettext_noop("orange"), gettext_noop("pink"), gettext_noop("purple"), gettext_noop("red"), gettext_noop("silver"),
    gettext_noop("turquoise"), gettext_noop("white"), gettext_noop("yellow"),
)  # fmt: skip
"""The colours of the catalogue, which pages translate."""


def _local(instance: models.Model, field: str) -> str:
    """Return a text in the visitor's language if there is one, else in English."""
    language = (get_language() or "").partition("-")[0]
    return str(getattr(instance, f"{field}_{language}", "") or getattr(instance, field))


class Category(models.Model):
    name = models.CharField(_("name"), max_length=100)
    name_de = models.CharField(_("name in German"), max_length=100, blank=True)
    slug = models.SlugField(_("slug"), unique=True)
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="children", verbose_name=_("department")
    )
    banner = models.ImageField(_("banner"), upload_to="banners/", max_length=255, blank=True)
    position = models.PositiveIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("category")
        verbose_name_plural = _("categories")
        ordering: ClassVar = ["position", "name"]

    def __str__(self) -> str:
        return self.local_name

    @property
    def local_name(self) -> str:
        return _local(self, "name")

    def get_absolute_url(self) -> str:
        return reverse("shop:category", args=[self.slug])


class Product(models.Model):
    """A product, or a variant of one (``parent``)."""

    name = models.CharField(_("name"), max_length=200)
    name_de = models.CharField(_("name in German"), max_length=200, blank=True)
    slug = models.SlugField(_("slug"), max_length=200, unique=True)
    description = models.TextField(_("description"), blank=True)
    description_de = models.TextField(_("description in German"), blank=True)
    category = models.ForeignKey(Category, models.PROTECT, related_name="products", verbose_name=_("category"))
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="variants", verbose_name=_("variant of")
    )
    brand = models.CharField(_("brand"), max_length=100, blank=True)
    colour = models.CharField(_("colour"), max_length=50, blank=True)
    price = models.DecimalField(_("price"), max_digits=10, decimal_places=2)
    stock = models.PositiveIntegerField(_("in stock"), default=0)
    active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("product")
        verbose_name_plural = _("products")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.local_name

    @property
    def local_name(self) -> str:
        return _local(self, "name")

    @property
    def local_description(self) -> str:
        return _local(self, "description")

    def get_absolute_url(self) -> str:
        return reverse("shop:product", args=[self.slug])

    @property
    def in_stock(self) -> bool:
        return self.stock > 0

    @property
    def shown_price(self) -> str:
        """The price as pages show it, in the visitor's language: "€ 1,299.00" or "€ 1.299,00"."""
        return f"€ {number_format(self.price, 2, force_grouping=True)}"

    @property
    def main_photo(self) -> Photo | None:
        return next(iter(self.photos.all()), None)


class Photo(models.Model):
    class Focus(models.TextChoices):
        """The part that remains visible if a card crops the picture to a square."""

        CENTER = "center", _("centre")
        TOP = "top", _("top")
        BOTTOM = "bottom", _("bottom")
        LEFT = "left", _("left")
        RIGHT = "right", _("right")

    product = models.ForeignKey(Product, models.CASCADE, related_name="photos", verbose_name=_("product"))
    file = models.ImageField(_("file"), upload_to="products/", max_length=255)
    alt = models.CharField(_("description"), max_length=200, blank=True)
    focus = models.CharField(_("focus"), max_length=10, choices=Focus.choices, default=Focus.CENTER)
    position = models.PositiveIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("photo")
        verbose_name_plural = _("photos")
        ordering: ClassVar = ["position", "id"]

    def __str__(self) -> str:
        return self.alt or self.file.name

    @property
    def size(self) -> tuple[int, int] | None:
        """Return (width, height) in pixels; None if the file is missing."""
        try:
            return self.file.width, self.file.height
        except OSError:
            return None
