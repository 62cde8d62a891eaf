"""The app's own tables: the state of each item, embeddings, jobs and events."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from imagesim.exceptions import local_choices
from imagesim.indexes.tables import (  # noqa: F401  # Django looks for models here
    FittedProjection,
    LocalEntry,
    LocalGeneration,
)
from imagesim.types import Region


class Scope(models.IntegerChoices):
    """The parts of an item that a change can concern. The wider scope wins while a change waits."""

    METADATA = 1, _("metadata only")
    ALL = 2, _("images and metadata")


class ItemState(models.Model):
    """The state of one item: a change waits while ``pending`` is true.

    One row per item, kept as long as the item (and for a day after it is deleted, as a tombstone). ``version`` rises
    with every change, in the transaction of the change itself, and is the external version of the index entry;
    ``synced_version`` is the last version that the index is known to hold. A version is the time of the change in
    milliseconds, or one more than the last version if that is greater, so it also rises past a restored backup or a
    purged tombstone.

    ``checksum`` is that of the entry last written or refused, empty if unknown. ``not_before`` of a failed item is the
    time of its next retry; None means never.
    """

    class Outcome(models.TextChoices):
        NEW = "new", _("never indexed")
        INDEXED = "indexed", _("indexed")
        SKIPPED = "skipped", _("skipped")  # should_index() is false, or it has no images
        REMOVED = "removed", _("removed")
        FAILED = "failed", _("failed")

    model = models.CharField(_("model"), max_length=100)
    object_pk = models.CharField(_("primary key"), max_length=255)
    version = models.BigIntegerField(_("version"), default=1)
    synced_version = models.BigIntegerField(_("synced version"), default=0)
    pending = models.BooleanField(_("pending"), default=True)
    scope = models.SmallIntegerField(_("scope"), choices=Scope.choices, default=Scope.ALL)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, default=Outcome.NEW)
    error = models.TextField(_("error"), blank=True, default="")
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    not_before = models.DateTimeField(_("not before"), null=True, blank=True, default=timezone.now)
    lease = models.CharField(_("leased by"), max_length=64, blank=True, default="")
    leased_until = models.DateTimeField(_("leased until"), null=True, blank=True)
    changed_at = models.DateTimeField(_("changed"), default=timezone.now)
    synced_at = models.DateTimeField(_("synced"), null=True, blank=True)
    checksum = models.CharField(_("checksum"), max_length=64, blank=True, default="")
    stored_images: list[ItemImage]
    """Its images as of the last sync, if they were loaded together with it."""

    class Meta:
        verbose_name = _("item")
        verbose_name_plural = _("items")
        default_permissions: ClassVar = ["view"]
        permissions: ClassVar = [("reindex_itemstate", _("Can reindex items"))]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "object_pk"], name="imagesim_one_state_an_item")
        ]
        indexes: ClassVar = [
            models.Index(fields=["pending", "scope", "not_before", "id"], name="imagesim_pending"),
            models.Index(fields=["outcome"], name="imagesim_outcome"),
        ]

    def __str__(self) -> str:
        return f"{self.model}:{self.object_pk}"


MAX_IMAGE_NAME = 500


def stored_name(name: str) -> str:
    """Return the name of an image file as :class:`ItemImage` holds it."""
    return name[:MAX_IMAGE_NAME]


class ItemImage(models.Model):
    """One image of an item as of the last sync: its name in the storage, its digest, or the error."""

    state = models.ForeignKey(ItemState, models.CASCADE, related_name="images", verbose_name=_("item"))
    position = models.PositiveIntegerField(_("position"))
    name = models.CharField(_("name"), max_length=MAX_IMAGE_NAME)
    digest = models.CharField(_("digest"), max_length=64, blank=True, default="", db_index=True)
    error = models.TextField(_("error"), blank=True, default="")
    permanent = models.BooleanField(_("permanent error"), default=False)

    class Meta:
        verbose_name = _("image")
        verbose_name_plural = _("images")
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["state", "position"], name="imagesim_one_image_a_position")
        ]
        # To find the former owner of an image. Not db_index, for which PostgreSQL creates two indexes.
        indexes: ClassVar = [models.Index(fields=["name"], name="imagesim_image_name")]

    def __str__(self) -> str:
        return self.name


class Embedding(models.Model):
    """A model's vector of the image with this digest: little-endian float32, unit length."""

    digest = models.CharField(_("digest"), max_length=64)
    fingerprint = models.CharField(_("model fingerprint"), max_length=64)
    vector = models.BinaryField(_("vector"))
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("embedding")
        verbose_name_plural = _("embeddings")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["digest", "fingerprint"], name="imagesim_one_embedding_a_model")
        ]

    def __str__(self) -> str:
        return f"{self.digest[:12]} ({self.fingerprint})"


class ImageRegions(models.Model):
    """What the region finder with this fingerprint found in the image with this digest.

    ``regions`` is a list of objects with x, y, width and height (0..1 of the upright image), label, score and
    alternatives. It is empty if nothing was found, or only one thing that fills the image.
    """

    digest = models.CharField(_("digest"), max_length=64)
    finder = models.CharField(_("finder fingerprint"), max_length=64)
    regions = models.JSONField(_("regions"), default=list)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("regions of an image")
        verbose_name_plural = _("regions of images")
        default_permissions: ClassVar = ["view"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["digest", "finder"], name="imagesim_one_regions_a_finder")
        ]

    def __str__(self) -> str:
        return f"{self.digest[:12]} ({self.finder})"

    @property
    def boxes(self) -> list[Region]:
        """The regions as :class:`~imagesim.types.Region` objects."""
        return [Region(**{**each, "alternatives": tuple(each["alternatives"])}) for each in self.regions]


class RegionVectors(models.Model):
    """A model's vectors of the regions of an image, in their order: little-endian float32, each of unit length."""

    image = models.ForeignKey(ImageRegions, models.CASCADE, related_name="vectors", verbose_name=_("regions"))
    fingerprint = models.CharField(_("model fingerprint"), max_length=64)
    vectors = models.BinaryField(_("vectors"))

    class Meta:
        verbose_name = _("vectors of regions")
        verbose_name_plural = _("vectors of regions")
        default_permissions: ClassVar = ["view"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["image", "fingerprint"], name="imagesim_one_region_vectors_a_model")
        ]

    def __str__(self) -> str:
        return f"{self.image_id} ({self.fingerprint})"


class ImageColours(models.Model):
    """The main colours that a version of the rule measured in the image with this digest, the largest first."""

    digest = models.CharField(_("digest"), max_length=64, unique=True)
    rule = models.PositiveSmallIntegerField(_("version of the rule"))
    colours = models.JSONField(_("colours"), default=list)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("colours of an image")
        verbose_name_plural = _("colours of images")
        default_permissions: ClassVar = ["view"]

    def __str__(self) -> str:
        return self.digest[:12]


class EmbeddingLease(models.Model):
    """A worker's lease to embed this image; other workers that need the vector wait for it."""

    digest = models.CharField(_("digest"), max_length=64)
    fingerprint = models.CharField(_("model fingerprint"), max_length=64)
    worker = models.CharField(_("worker"), max_length=32)
    until = models.DateTimeField(_("until"))

    class Meta:
        verbose_name = _("embedding under way")
        verbose_name_plural = _("embeddings under way")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["digest", "fingerprint"], name="imagesim_one_lease_per_embedding")
        ]

    def __str__(self) -> str:
        return self.digest[:12]


class Job(models.Model):
    """A rebuild or a reconcile, with its progress."""

    class Kind(models.TextChoices):
        REBUILD = "rebuild", _("rebuild")
        RECONCILE = "reconcile", _("reconcile")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        PAUSED = "paused", _("paused")
        STANDBY = "standby", _("on standby")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    class Request(models.TextChoices):
        PAUSE = "pause", _("pause")
        CANCEL = "cancel", _("cancel")
        SWAP = "swap", _("swap")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.WAITING)
    total = models.PositiveBigIntegerField(_("total"), default=0)
    done = models.PositiveBigIntegerField(_("done"), default=0)
    failed = models.PositiveBigIntegerField(_("failed"), default=0)
    target = models.CharField(_("target index"), max_length=255, blank=True, default="")
    cursor = models.CharField(_("cursor"), max_length=400, blank=True, default="")
    report = models.JSONField(_("report"), default=dict, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    """Why the job failed; if it is not finished, what it waits for or why its process gave up."""
    slot = models.CharField(_("slot"), max_length=20, unique=True, null=True, blank=True)
    """The job's kind while it runs, is paused or stands by, else None. The unique constraint lets at most one job of a
    kind run."""
    requested = models.CharField(
        _("requested"), max_length=10, choices=Request.choices, blank=True, default="", db_default=""
    )
    """What the job's process is to do at its next batch; with ``swap``, an index that stands by is to become active."""
    hold = models.BooleanField(_("hold"), default=False, db_default=False)
    """Whether a rebuild stops before the swap, so that its index stands by."""
    message = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    """The id of the Celery message that started it, so that a redelivery of this message starts no other."""
    owner = models.CharField(_("owner"), max_length=255, blank=True, default="")
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    heartbeat_at = models.DateTimeField(_("last heartbeat"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    process_died = False
    """Whether this process took the job over from one that died. Not stored."""

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering: ClassVar = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.started_at:%Y-%m-%d %H:%M}"


class VisualIndex(Job):
    """A proxy that provides the admin entry and the permissions of the "visual index" page."""

    class Meta:
        proxy = True
        verbose_name = _("visual index")
        verbose_name_plural = _("visual index")
        default_permissions: ClassVar = ["view"]
        permissions: ClassVar = [("rebuild_visualindex", _("Can rebuild and reconcile the index"))]


class Event(models.Model):
    """A view, a click or a cart addition of a hit by a visitor, who is not identified."""

    class Kind(models.TextChoices):
        VIEW = "view", _("view")
        CLICK = "click", _("click")
        CART = "cart", _("cart")

    request = models.CharField(_("request"), max_length=32)
    kind = models.CharField(_("kind"), max_length=5, choices=Kind.choices)
    source = models.CharField(_("source"), max_length=10)
    query_key = models.CharField(_("query item"), max_length=400, blank=True, default="")
    item_key = models.CharField(_("item"), max_length=400)
    category = models.CharField(_("category"), max_length=200, blank=True, default="")
    position = models.PositiveIntegerField(_("position"))
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "kind", "item_key"], name="imagesim_one_event_a_result")
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="imagesim_event_created")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.item_key}"


class Placed(models.Model):
    """The base of models that apply to some or all kinds of queries: rules and experiments."""

    class Where(models.TextChoices):
        SIMILAR = "similar", _("Similar products")
        WORDS = "words", _("Search by words")
        PHOTO = "photo", _("Search by photo")
        LOOK = "look", _("Shop the look")

    where = models.JSONField(_("where"), default=list, blank=True)

    class Meta:
        abstract = True

    @property
    def places(self) -> list[str]:
        """Where it applies; everywhere if nothing was chosen."""
        return list(self.where) or list(self.Where.values)

    def check_where(self) -> None:
        """:raises ValidationError: if it names an unknown place."""
        if not isinstance(self.where, list) or not set(self.where) <= set(self.Where.values):
            raise ValidationError({"where": _("It can be %(good)s.") % {"good": local_choices(self.Where.values)}})


class StoredCalibration(models.Model):
    """The calibration fitted to this shop's catalogue for one model and one projection.

    ``items`` is the number of entries in its index; 0 if the index was still being filled.
    """

    fingerprint = models.CharField(_("model fingerprint"), max_length=64)
    projection = models.CharField(_("projection"), max_length=64, blank=True, default="")
    data = models.JSONField(_("calibration"), default=dict)
    items = models.PositiveIntegerField(_("items"), default=0)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("calibration")
        verbose_name_plural = _("calibrations")
        default_permissions: ClassVar = ["view"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fingerprint", "projection"], name="imagesim_one_calibration_per_model")
        ]

    def __str__(self) -> str:
        return self.fingerprint
