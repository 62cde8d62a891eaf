"""The rules of a shop."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from imagesim.conf import require_app
from imagesim.merchandising import conditions
from imagesim.models import Placed
from imagesim.regions.labels import name_of

require_app("imagesim.merchandising")

OTHERS = "!"
"""The prefix of a variant's key that means all visitors except those in it."""

FIELDS_OF_ACTION = {
    "pin": ("pins",),
    "boost": ("factor",),
    "bury": ("factor",),
    "exclude": (),
    "limit": ("limit_field", "limit_count", "limit_first"),
    "replace": ("replacement",),
    "message": ("message",),
}
"""The required fields of each action."""

SELECTING = ("boost", "bury", "exclude")
"""The actions on products that match conditions."""


class Rule(Placed):
    """A rule: one action for the answers to certain queries. Rules of higher priority come first, then older ones."""

    class When(models.TextChoices):
        ALWAYS = "always", _("Always")
        EQUAL = "equal", _("The words are")
        CONTAIN = "contain", _("The words contain")
        SYNONYM = "synonym", _("The words are, or mean the same as")
        PRODUCT = "product", _("The product is")
        CATEGORY = "category", _("The category is")

    class Action(models.TextChoices):
        PIN = "pin", _("Pin products to positions")
        BOOST = "boost", _("Boost products")
        BURY = "bury", _("Bury products")
        EXCLUDE = "exclude", _("Exclude products")
        LIMIT = "limit", _("Limit how many share a value")
        REPLACE = "replace", _("Replace words, or synonyms")
        MESSAGE = "message", _("Show a message")

    name = models.CharField(_("name"), max_length=100)
    enabled = models.BooleanField(_("on"), default=True)
    starts = models.DateTimeField(_("from"), null=True, blank=True)
    ends = models.DateTimeField(_("until"), null=True, blank=True)
    priority = models.SmallIntegerField(_("priority"), default=0, help_text=_("Higher ones come first."))
    when = models.CharField(_("when"), max_length=10, choices=When.choices, default=When.ALWAYS)
    triggers = models.TextField(
        _("words, products or categories"),
        blank=True,
        help_text=_("One per line; any of them will do. A product is written as shop.product:7."),
    )
    variant = models.CharField(
        _("experiment"),
        max_length=24,
        blank=True,
        default="",
        db_default="",
        help_text=_("Only for the visitors in this variant of an experiment, or for all others."),
    )
    action = models.CharField(_("what"), max_length=10, choices=Action.choices)
    pins = models.TextField(
        _("products"), blank=True, help_text=_("Position and product, one per line: 1: shop.product:7")
    )
    filters = models.TextField(
        _("which products"),
        blank=True,
        help_text=_("Conditions, one per line; all have to hold: brand = Acme, Zeta — price <= 50 — in_stock = no"),
    )
    same_field = models.CharField(
        _("same as the product viewed"), max_length=100, blank=True, help_text=_("Those with the same value.")
    )
    factor = models.FloatField(
        _("factor"),
        default=2.0,
        validators=[MinValueValidator(1.01), MaxValueValidator(100)],
        help_text=_("Relevance is multiplied by it, or divided if buried."),
    )
    limit_count = models.PositiveSmallIntegerField(
        _("at most"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(48)]
    )
    limit_field = models.CharField(_("of one"), max_length=100, blank=True)
    limit_first = models.PositiveSmallIntegerField(
        _("among the first"), null=True, blank=True, validators=[MinValueValidator(2), MaxValueValidator(48)]
    )
    replacement = models.CharField(_("by the words"), max_length=200, blank=True)
    both_ways = models.BooleanField(
        _("both mean the same"), default=False, help_text=_("Find either, whichever was asked for.")
    )
    message = models.CharField(_("message"), max_length=200, blank=True)
    link = models.CharField(_("link"), max_length=500, blank=True)
    created = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("rule")
        verbose_name_plural = _("rules")
        ordering: ClassVar = ["-priority", "pk"]

    def __str__(self) -> str:
        return self.name

    def is_active(self, now: datetime) -> bool:
        """Return whether it is active at this time."""
        return self.enabled and (self.starts is None or self.starts <= now) and (self.ends is None or now < self.ends)

    def concerns(self, variant: str) -> bool:
        """Return whether it applies to visitors in this variant; ``variant`` is the variant's key, empty for all
        others."""
        if self.variant.startswith(OTHERS):
            return variant != self.variant.removeprefix(OTHERS)
        return self.variant in ("", variant)

    @property
    def is_by_words(self) -> bool:
        return self.when in (self.When.EQUAL, self.When.CONTAIN, self.When.SYNONYM)

    def clean(self) -> None:
        errors: dict[str, list[str]] = {}
        checks = {
            "triggers": self._check_triggers,
            "pins": lambda: list(conditions.read_pins(self.pins)),
            "filters": self._check_filters,
            "same_field": self._check_same_field,
            "limit_count": self._check_limit,
            "limit_field": lambda: conditions.check_field(self.limit_field),
            "replacement": self._check_replacement,
            "link": lambda: conditions.check_link(self.link),
            "ends": self._check_dates,
            "where": self._check_where,
        }
        for field, check in checks.items():
            try:
                check()
            except ValidationError as error:
                errors[field] = error.messages
        for field in FIELDS_OF_ACTION.get(self.action, ()):
            if getattr(self, field) in (None, "") and field not in errors:
                errors[field] = [str(_("This field is required."))]
        if errors:
            raise ValidationError(errors)

    def _check_triggers(self) -> None:
        lines = conditions.lines_of(self.triggers)
        if self.when == self.When.ALWAYS and self.action != self.Action.REPLACE:
            return
        if not lines:
            raise ValidationError(_("This field is required."))
        if self.when == self.When.PRODUCT:
            for line in lines:
                conditions.read_key(line)
        elif self.when != self.When.CATEGORY and not all(map(conditions.words_of, lines)):
            raise ValidationError(_("A line has no words."))

    def _check_filters(self) -> None:
        conditions.read_filters(self.filters)
        if self.is_selecting and not self.filters.strip() and not self.same_field:
            raise ValidationError(_("Say which products."))

    def _check_same_field(self) -> None:
        conditions.check_field(self.same_field)
        has_product = not self.is_by_words and self.Where.SIMILAR in self.places
        if self.is_selecting and self.same_field and not has_product:
            raise ValidationError(_("No product is viewed where this rule holds, so it would do nothing."))

    def _check_limit(self) -> None:
        count, first = self.limit_count, self.limit_first
        if self.action == self.Action.LIMIT and count is not None and first is not None and count >= first:
            raise ValidationError(_("This has to be less than how many come first, or nothing is limited."))

    @property
    def is_selecting(self) -> bool:
        """Whether it acts on the products that match conditions."""
        return self.action in SELECTING

    def _check_replacement(self) -> None:
        if self.action == self.Action.REPLACE and not (self.is_by_words and conditions.words_of(self.replacement)):
            raise ValidationError(_("Give words, and choose under “when” which words they stand for."))

    def _check_dates(self) -> None:
        if self.starts and self.ends and self.ends <= self.starts:
            raise ValidationError(_("It ends before it starts."))

    def _check_where(self) -> None:
        self.check_where()
        answers = {self.Where.WORDS.value, self.Where.PHOTO.value} if self.is_by_words else {self.Where.SIMILAR.value}
        if self.where and (self.is_by_words or self.when == self.When.PRODUCT) and not answers & set(self.where):
            raise ValidationError(_("The condition never holds there."))


class LabelCategories(models.Model):
    """The categories that are searched for a region with a label; if there are none, the nearest items decide.

    Takes the place of :attr:`imagesim.Items.look_categories` and of the categories' names for this label.
    """

    label = models.CharField(_("label"), max_length=100, unique=True)
    categories = models.JSONField(_("categories"), default=list, blank=True)

    class Meta:
        verbose_name = _("label of a region")
        verbose_name_plural = _("labels of regions")
        ordering: ClassVar = ["label"]

    def __str__(self) -> str:
        return name_of(self.label)

    def clean(self) -> None:
        if not isinstance(self.categories, list) or not all(isinstance(each, str) for each in self.categories):
            raise ValidationError({"categories": _("This must be a list of categories.")})
