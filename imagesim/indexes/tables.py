"""The models of the local index, and that of projections. They are imported by ``imagesim.models``, where Django looks
for models."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class LocalGeneration(models.Model):
    """One backing index of ``LocalIndex``.

    ``seq_no`` is increased by every write, under a row lock that is held until the commit, so that sequence numbers are
    committed in order. ``token`` distinguishes two writes with the same number, which occur if the first was rolled
    back or the database was restored; it is empty while the generation is dropped. Tombstones up to the sequence number
    ``purged`` have been deleted: a process whose copy is older reads all entries again. ``active`` is true or NULL,
    never false, so that a unique constraint allows only one active generation per index on every database: MySQL has no
    conditional unique constraints.
    """

    index = models.CharField(max_length=100)
    name = models.CharField(max_length=255, unique=True)
    meta = models.JSONField(default=dict)
    active = models.BooleanField(null=True, default=None)
    seq_no = models.BigIntegerField(default=0)
    token = models.CharField(max_length=32, default="")
    purged = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "imagesim"
        verbose_name = _("local index")
        verbose_name_plural = _("local indexes")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["index", "active"], name="imagesim_one_active_local_index")
        ]

    def __str__(self) -> str:
        return self.name


class LocalEntry(models.Model):
    """One entry of a local index.

    A removed entry is kept for a while as a tombstone, so that other processes see the removal and a late write of an
    older version is refused. ``document`` is the entry without its vectors as JSON, ``vectors`` is a little-endian
    float32 array of shape (images, dims), and ``checksum`` is computed from both, the key and the version.
    """

    generation = models.ForeignKey(LocalGeneration, models.CASCADE, related_name="entries")
    key = models.CharField(max_length=400)
    version = models.BigIntegerField()
    seq_no = models.BigIntegerField()
    removed_at = models.DateTimeField(null=True)
    document = models.BinaryField(default=bytes)
    vectors = models.BinaryField(default=bytes)
    checksum = models.BigIntegerField(default=0)

    class Meta:
        app_label = "imagesim"
        verbose_name = _("local entry")
        verbose_name_plural = _("local entries")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["generation", "key"], name="imagesim_one_local_entry_a_key")
        ]
        indexes: ClassVar = [
            models.Index(fields=["generation", "seq_no"], name="imagesim_local_seq_no"),
            models.Index(fields=["generation", "removed_at"], name="imagesim_local_tombstones"),
        ]

    def __str__(self) -> str:
        return self.key


class FittedProjection(models.Model):
    """A linear map between embedder and index, fitted on this shop's own embeddings.

    ``matrix`` is little-endian float32 of shape (dims_in, dims_out), row by row. The ``chosen`` one is
    what the next rebuild applies; an index stores the id of its projection in its meta.
    """

    id = models.CharField(primary_key=True, max_length=64)
    fingerprint = models.CharField(_("model fingerprint"), max_length=64)
    kind = models.CharField(_("kind"), max_length=20)
    dims_in = models.PositiveIntegerField(_("dimensions in"))
    dims_out = models.PositiveIntegerField(_("dimensions out"))
    matrix = models.BinaryField(_("matrix"))
    report = models.JSONField(_("report"), default=dict, blank=True)
    chosen = models.BooleanField(_("chosen"), default=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        app_label = "imagesim"
        verbose_name = _("fitted projection")
        verbose_name_plural = _("fitted projections")
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.kind} {self.dims_in}→{self.dims_out} ({self.id[:12]})"
