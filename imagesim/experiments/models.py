"""Experiments, their variants, and what is recorded of them."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from imagesim import events
from imagesim.conf import get_settings, require_app
from imagesim.database import atomic, primary, retry_conflicts
from imagesim.embedders import BaseEmbedder, get_embedder, get_embedder_of
from imagesim.exceptions import BadQuery, ImagesimError, SearchIndexError
from imagesim.indexes import get_index
from imagesim.indexing import jobs
from imagesim.models import Placed
from imagesim.retrieval.arguments import Weights

require_app("imagesim.experiments")

logger = logging.getLogger(__name__)

MAX_DAYS = 90
MAX_VARIANTS = 6
LETTERS = "ABCDEF"
PERCENT = 100


def _salt() -> str:
    return secrets.token_hex(16)


class Experiment(Placed):
    """A comparison of variants of the search settings, with visitors assigned at random.

    It can be changed only before it starts; after that, copy it. At most one runs in each place.
    """

    class Goal(models.TextChoices):
        CLICK = "click", _("Click on a hit")
        CART = "cart", _("Hit added to the cart")
        PURCHASE = "purchase", _("Hit bought")
        VALUE = "value", _("Value of the hits bought")

    class State(models.TextChoices):
        DRAFT = "draft", _("not started")
        RUNNING = "running", _("running")
        OVER = "over", pgettext_lazy("experiment", "over")

    name = models.CharField(_("name"), max_length=100)
    goal = models.CharField(_("goal"), max_length=10, choices=Goal.choices, default=Goal.CLICK)
    share = models.PositiveSmallIntegerField(
        _("share of visitors"),
        default=PERCENT,
        validators=[MinValueValidator(1), MaxValueValidator(PERCENT)],
        help_text=_("Percent of the visitors who take part."),
    )
    days = models.PositiveSmallIntegerField(
        _("days"),
        default=28,
        validators=[MinValueValidator(7), MaxValueValidator(MAX_DAYS)],
        help_text=_("It ends by itself after so many days; whole weeks are best."),
    )
    effect = models.PositiveSmallIntegerField(
        _("effect to be seen"),
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(500)],
        help_text=_("Relative change of the goal in percent; the report says how many days it takes to see it."),
    )
    salt = models.CharField(max_length=32, default=_salt, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True)
    started = models.DateTimeField(_("started"), null=True, editable=False)
    stopped = models.DateTimeField(_("stopped"), null=True, editable=False)
    standby = models.CharField(max_length=255, default="", db_default="", editable=False)
    """The backing index that variants search, which stood by when the experiment started; empty if no variant does."""
    standby_gone = models.BooleanField(default=False, db_default=False, editable=False)
    """Whether the experiment ended because that index was swapped in or discarded."""
    settled = models.BooleanField(default=False, editable=False)
    """Whether the figures are final, and what was recorded of visitors is deleted."""

    FROZEN: ClassVar = ("where", "goal", "share", "days", "salt")

    class Meta:
        verbose_name = _("experiment")
        verbose_name_plural = _("experiments")
        ordering: ClassVar = ["-pk"]
        permissions: ClassVar = [("run_experiment", _("Can start and stop experiments"))]

    def __str__(self) -> str:
        return self.name

    @property
    def ends(self) -> datetime | None:
        """When it ended, or will end; None if it was not started."""
        if self.started is None:
            return None
        planned = self.started + timedelta(days=self.days)
        return planned if self.stopped is None else min(planned, self.stopped)

    @property
    def state(self) -> State:
        if self.started is None or self.ends is None:
            return self.State.DRAFT
        return self.State.RUNNING if timezone.now() < self.ends else self.State.OVER

    @property
    def by_value(self) -> bool:
        return self.goal == self.Goal.VALUE

    def clean(self) -> None:
        self.check_where()
        self._check_unchanged()

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._check_unchanged()
        super().save(*args, **kwargs)

    def _check_unchanged(self) -> None:
        """:raises ValidationError: if it was started, and anything but its name or the effect was changed."""
        former = primary(Experiment).filter(pk=self.pk, started__isnull=False).first() if self.pk else None
        if former is not None and any(getattr(former, name) != getattr(self, name) for name in self.FROZEN):
            raise ValidationError(UNCHANGEABLE, code="started")

    @retry_conflicts
    def start(self) -> None:
        """Start it now.

        :raises ValidationError: if it was started before, is incomplete, or another one runs in the same place.
        """
        with atomic(Experiment):
            others = primary(Experiment).filter(settled=False)
            # Takes the locks, on SQLite the write lock; also of drafts, so that two started at the same time wait for
            # each other.
            others.update(settled=False)
            self.refresh_from_db(using=primary(Experiment).db)
            if self.started is not None:
                raise ValidationError(_("It was started before; copy it to run it again."))
            variants = list(primary(Variant).filter(experiment=self))
            check_variants(variants)
            if any(each.standby for each in variants):
                self.standby = jobs.standby_index()
                if not self.standby:
                    raise ValidationError(
                        _("No index is on standby, which a variant needs: build one with imagesim_rebuild --hold.")
                    )
            for each in variants:
                each.arguments()  # the model may have changed since they were saved
            if not events.enabled():
                raise ValidationError(_("EVENTS is off, so nothing would be recorded."))
            if self.days > get_settings().EVENTS_DAYS:
                raise ValidationError(_("It lasts longer than events are kept (EVENTS_DAYS)."))
            for other in others:
                if other.state == self.State.RUNNING and not set(self.places).isdisjoint(other.places):
                    raise ValidationError(
                        _("“%(other)s” runs in the same place; stop it first, or choose another place."),
                        params={"other": other.name},
                    )
            self.started = timezone.now()
            self.save(update_fields=["started", "standby"])

    def stop(self) -> None:
        """Stop it now, for good.

        :raises ValidationError: if it does not run.
        """
        if self.state != self.State.RUNNING:
            raise ValidationError(_("It does not run."))
        self.stopped = timezone.now()
        self.save(update_fields=["stopped"])

    def end_if_index_is_gone(self) -> None:
        """End it if variants search an index that no longer stands by, or that was deleted from outside."""
        if not self.standby or self.state != self.State.RUNNING:
            return
        try:
            gone = jobs.standby_index() != self.standby or self.standby not in get_index().backing_indexes()
        except SearchIndexError:
            return  # it cannot be reached now
        if gone:
            self._end_without_index()

    @classmethod
    def standby_ended(cls, target: str, **kwargs: Any) -> None:
        """End the experiments that try this index; a receiver of the signal of that name.

        Once it is swapped in or discarded, all visitors see the same, and later figures would hide the difference that
        there was.
        """
        for experiment in cls.objects.filter(standby=target, stopped__isnull=True, settled=False):
            experiment._end_without_index()

    def _end_without_index(self) -> None:
        if self.state != self.State.RUNNING:
            return
        self.stopped, self.standby_gone = timezone.now(), True
        self.save(update_fields=["stopped", "standby_gone"])
        logger.warning("the experiment %r ended: the index %s no longer stands by", self.name, self.standby)

    def copied(self) -> Experiment:
        """Return a copy with the same variants, not started, whose visitors are assigned again."""
        with atomic(Experiment):
            copy = Experiment.objects.create(
                name=str(_("Copy of %(name)s") % {"name": self.name})[:100],
                **{name: getattr(self, name) for name in ("where", "goal", "share", "days", "effect")},
            )
            for each in self.variants.all():
                each.pk, each._state.adding, each.experiment = None, True, copy
                each.save()
        return copy


UNCHANGEABLE = _(
    "An experiment that was started cannot be changed: its figures would mix two experiments. Stop it and copy it."
)


class Variant(models.Model):
    """The settings for some of the visitors. The first variant, A, is the control: the shop as it is, without
    changes."""

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="variants", verbose_name=_("experiment"))
    letter = models.CharField(_("letter"), max_length=1, default="A", editable=False)
    name = models.CharField(_("description"), max_length=100, blank=True)
    share = models.PositiveSmallIntegerField(
        _("percent"), default=50, validators=[MinValueValidator(1), MaxValueValidator(PERCENT - 1)]
    )
    components = models.CharField(
        _("weights of the components"), max_length=200, blank=True, help_text="colour^0.5 shape^1"
    )
    diversity = models.FloatField(
        _("diversity"), null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)]
    )
    min_relevance = models.FloatField(
        _("least relevance"), null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)]
    )

    standby = models.BooleanField(
        _("index on standby"),
        default=False,
        db_default=False,
        help_text=_("Search the index on standby, with its model."),
    )

    class Meta:
        verbose_name = _("variant")
        verbose_name_plural = _("variants")
        default_permissions = ()
        ordering: ClassVar = ["letter", "pk"]

    def __str__(self) -> str:
        return f"{self.letter}: {self.name}" if self.name else self.letter

    @property
    def key(self) -> str:
        return f"{self.experiment_id}:{self.letter}"

    @property
    def has_changes(self) -> bool:
        numbers = (self.diversity, self.min_relevance)
        return bool(self.components.strip()) or self.standby or numbers != (None, None)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a query that this variant changes.

        :raises ValidationError: if the model has lost a part since.
        """
        numbers = {"diversity": self.diversity, "min_relevance": self.min_relevance}
        components = read_components(self.components, standby=self.standby)
        changed = {name: value for name, value in numbers.items() if value is not None}
        return changed | ({"components": components} if components else {})

    def clean(self) -> None:
        try:
            read_components(self.components, standby=self.standby)
        except ValidationError as error:
            raise ValidationError({"components": error.messages}) from None

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._check_draft()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self._check_draft()
        return super().delete(*args, **kwargs)

    def _check_draft(self) -> None:
        if primary(Experiment).filter(pk=self.experiment_id, started__isnull=False).exists():
            raise ValidationError(UNCHANGEABLE, code="started")


def read_components(text: str, *, standby: bool = False) -> dict[str, float]:
    """Parse weights such as ``colour^0.5 shape^1`` for the model of the active index, or of the one on ``standby``.

    :raises ValidationError: if it is something else, or the model has no such component.
    """
    if not text.strip():
        return {}
    try:
        weights: dict[str, float] = Weights().check("components", text.split(), ())
        _embedder(standby).check_components(weights)
    except BadQuery as error:
        raise ValidationError(str(error)) from None
    except ImagesimError as error:
        raise ValidationError(_("The model cannot be asked for its components: %(error)s") % {"error": error}) from None
    return weights


def _embedder(standby: bool) -> BaseEmbedder:
    """Return the embedder of the index; that of the settings if the index cannot be reached."""
    backing_index = jobs.standby_index() if standby else ""
    try:
        return get_embedder_of(get_index().meta(backing_index or None).fingerprint)
    except SearchIndexError:
        return get_embedder()


def check_variants(variants: list[Variant]) -> None:
    """:raises ValidationError: if the variants of an experiment are incomplete or do not share all visitors."""
    if not 2 <= len(variants) <= MAX_VARIANTS:
        raise ValidationError(_("It needs %(least)d to %(most)d variants."), params={"least": 2, "most": MAX_VARIANTS})
    if sum(each.share for each in variants) != PERCENT:
        raise ValidationError(_("The shares of the variants must add up to 100 percent."))
    if variants[0].has_changes:
        raise ValidationError(_("A is the control, the shop as it is; leave its settings empty."))


class Exposure(models.Model):
    """An answer to a visitor who takes part. ``request`` is its id, which events and purchases carry; ``visitor`` is a
    keyed hash that has no meaning outside this experiment. Deleted when the experiment is over."""

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="+", db_constraint=False)
    variant = models.CharField(max_length=1)
    visitor = models.CharField(max_length=24)
    request = models.CharField(max_length=32, unique=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["experiment", "created_at"], name="imagesim_experiments_exposed"),
        ]

    def __str__(self) -> str:
        return self.request


class DailyResult(models.Model):
    """The figures of a variant from the start until a time, which is the end of a day or of the experiment.

    ``visitors``: how many got an answer; ``converted``: how many of them reached the goal; ``total`` and ``squares``:
    the sum and the sum of the squares of what each of them spent.
    """

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="results")
    until = models.DateTimeField()
    variant = models.CharField(max_length=1)
    visitors = models.PositiveIntegerField(default=0)
    converted = models.PositiveIntegerField(default=0)
    total = models.FloatField(default=0)
    squares = models.FloatField(default=0)

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["until", "variant"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["experiment", "until", "variant"], name="imagesim_experiments_one_a_day")
        ]

    def __str__(self) -> str:
        return f"{self.until:%Y-%m-%d} {self.variant}"
