"""What is recorded, and the daily figures that the reports read."""

from __future__ import annotations

import re
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from imagesim.conf import require_app
from imagesim.models import ItemState

require_app("imagesim.insight")

MAX_TEXT = 200


class Search(models.Model):
    """An answer that a visitor got. Nothing identifies the visitor.

    ``request`` is the id that the events of its hits carry (:class:`imagesim.models.Event`). ``best`` is the highest of
    the hits' relevances. Each region of a look is a separate row.
    """

    class Where(models.TextChoices):
        SIMILAR = "similar", _("Similar products")
        WORDS = "words", _("Search by words")
        PHOTO = "photo", _("Search by photo")
        LOOK = "look", _("Shop the look")
        REGION = "region", _("Part of a look")

    request = models.CharField(max_length=32, unique=True)
    where = models.CharField(max_length=10, choices=Where.choices)
    text = models.CharField(max_length=MAX_TEXT, blank=True)
    query_key = models.CharField(max_length=400, blank=True)
    category = models.CharField(max_length=200, blank=True)
    offset = models.PositiveIntegerField(default=0)
    page = models.PositiveIntegerField(default=1)
    found = models.PositiveIntegerField(default=0)
    best = models.FloatField(null=True, blank=True)
    keys = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["created_at"], name="imagesim_insight_searched")]

    def __str__(self) -> str:
        return self.text or self.request


class Purchase(models.Model):
    """An item of an order. ``order`` is a keyed hash of the order's id; ``request`` is the answer that it came from, if
    the shop knows it."""

    order = models.CharField(max_length=64)
    item_key = models.CharField(max_length=400)
    quantity = models.PositiveIntegerField()
    value = models.DecimalField(max_digits=14, decimal_places=2)
    request = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "item_key"], name="imagesim_insight_one_line_an_order")
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="imagesim_insight_bought")]

    def __str__(self) -> str:
        return self.item_key


class DailyCount(models.Model):
    """The figures of one day and one name: of all answers, or of words, an item, a position, a page or a category.

    ``answers``: answers given (for an item: those that contained it); ``empty``: those without hits; ``weak``: those
    with no hit that is probably relevant; ``clicked_answers``: those with a click. ``seen``, ``clicks`` and ``carts``
    count hits.

    There is one row of each, but no constraint ensures it: many collations of MySQL treat “cafe” as equal to “café”, or
    “a ” to “a”, and would refuse the second name that a visitor typed.
    """

    class Kind(models.TextChoices):
        TOTAL = "total"
        WORDS = "words"
        ITEM = "item"
        POSITION = "position"
        PAGE = "page"
        CATEGORY = "category"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    day = models.DateField()
    where = models.CharField(max_length=10, blank=True)
    name = models.CharField(max_length=400, blank=True)
    answers = models.PositiveIntegerField(default=0)
    empty = models.PositiveIntegerField(default=0)
    weak = models.PositiveIntegerField(default=0)
    clicked_answers = models.PositiveIntegerField(default=0)
    seen = models.PositiveIntegerField(default=0)
    clicks = models.PositiveIntegerField(default=0)
    carts = models.PositiveIntegerField(default=0)
    bought = models.PositiveIntegerField(default=0)
    value = models.DecimalField(max_digits=16, decimal_places=2, default=0)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["kind", "day", "where", "name"], name="imagesim_insight_counted")]

    def __str__(self) -> str:
        return f"{self.day} {self.kind} {self.name}"


class RolledDay(models.Model):
    """A day whose figures were computed, when, and how many seconds that took."""

    day = models.DateField(primary_key=True)
    rolled_at = models.DateTimeField()
    seconds = models.FloatField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.day)


class SearchReport(DailyCount):
    """A proxy that provides the admin entry and the permission of the reports."""

    class Meta:
        proxy = True
        verbose_name = _("search report")
        verbose_name_plural = _("search reports")
        default_permissions: ClassVar = ["view"]


class PictureFacts(models.Model):
    """The measurements of the image with this digest: width and height in pixels, and ``blur`` from 0 (sharp) to 1."""

    digest = models.CharField(max_length=64, primary_key=True)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    blur = models.FloatField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.digest[:12]


class Finding(models.Model):
    """An entry of the work list: something about an item that its shop may want to change.

    ``detail`` is the same in all languages: the size of a tiny picture (``120×90``), the category that an outlier looks
    like, the cosine of a duplicate; otherwise a reason, in English if it is this app's.
    """

    class Kind(models.TextChoices):
        NO_PICTURE = "none", _("no picture")
        BROKEN = "broken", _("broken picture")
        TINY = "tiny", _("tiny picture")
        BLURRED = "blurred", _("blurred picture")
        NOT_INDEXED = "unindexed", _("not indexed")
        SHARED = "shared", _("picture of several products")
        DUPLICATE = "duplicate", _("almost the same picture")
        OUTLIER = "outlier", _("unlike its category")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    state = models.ForeignKey(ItemState, models.CASCADE, related_name="+", verbose_name=_("product"))
    picture = models.CharField(_("picture"), max_length=500, blank=True)
    detail = models.TextField(_("detail"), blank=True)
    other_key = models.CharField(_("other product"), max_length=400, blank=True)
    found_at = models.DateTimeField(_("found"), default=timezone.now)

    class Meta:
        verbose_name = _("entry of the work list")
        verbose_name_plural = _("entries of the work list")
        default_permissions: ClassVar = ["view"]
        permissions: ClassVar = [("scan_finding", _("Can look for entries of the work list"))]
        ordering: ClassVar = ["state_id", "pk"]
        indexes: ClassVar = [models.Index(fields=["kind", "state"], name="imagesim_insight_entry_kind")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.state}"

    @property
    def explanation(self) -> str:
        """Return the detail in the current language."""
        if self.kind == self.Kind.TINY and (size := re.fullmatch(r"(\d+)×(\d+)", self.detail)):
            return gettext("%(width)d × %(height)d pixels") % {"width": int(size[1]), "height": int(size[2])}
        if self.kind == self.Kind.OUTLIER:
            return gettext("It looks like %(category)s.") % {"category": self.detail}
        return gettext(self.detail) if self.detail else ""


class CatalogueScan(models.Model):
    """The progress of the only scan of the catalogue: the last state that was looked at."""

    cursor = models.BigIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.done}"
