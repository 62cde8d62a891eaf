"""The running experiments, kept by each process: the chooser of their variants, and the observer that records the
answers that visitors got."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db.models import Prefetch
from django.utils import timezone
from django.utils.crypto import salted_hmac

from imagesim.database import delete_in_batches, primary
from imagesim.events import Answer
from imagesim.experiments import results
from imagesim.experiments.middleware import Chosen, Visit, current_visit
from imagesim.experiments.models import Experiment, Exposure
from imagesim.experiments.models import Variant as StoredVariant
from imagesim.indexing import jobs
from imagesim.insight.recorder import recorder, visitor_counts
from imagesim.retrieval.variants import Choice, Variant, Where
from imagesim.shared_cache import Versioned

logger = logging.getLogger(__name__)

PSEUDONYM_LENGTH = 24


@dataclass(frozen=True, slots=True)
class Running:
    """An experiment that was started, with its variants ready for use."""

    pk: int
    salt: str
    share: int
    places: tuple[str, ...]
    ends: datetime
    weights: tuple[tuple[str, int], ...]
    variants: Mapping[str, Variant] = field(default_factory=dict)

    @classmethod
    def of(cls, experiment: Experiment) -> Running:
        """:raises ValidationError: if a variant's settings are no longer valid."""
        assert experiment.ends is not None
        found = list(experiment.variants.all())
        return cls(
            pk=experiment.pk,
            salt=experiment.salt,
            share=experiment.share,
            places=tuple(experiment.places),
            ends=experiment.ends,
            weights=tuple((each.letter, each.share) for each in found),
            variants={
                each.letter: Variant(each.key, each.arguments(), experiment.standby if each.standby else "")
                for each in found
            },
        )


def _load(version: str) -> tuple[Running, ...]:
    started = primary(Experiment).filter(started__isnull=False, stopped__isnull=True, settled=False)
    return tuple(_ready(started.prefetch_related(Prefetch("variants", primary(StoredVariant)))))


def _ready(experiments: Iterable[Experiment]) -> Iterable[Running]:
    for experiment in experiments:
        if experiment.standby and experiment.standby != jobs.standby_index():
            continue  # it is about to end
        try:
            yield Running.of(experiment)
        except ValidationError as error:
            logger.warning("The experiment %r is not run: %s", experiment.name, " ".join(error.messages))


running: Versioned[tuple[Running, ...]] = Versioned("experiments", Experiment, _load, tuple)


def running_in(where: str) -> Running | None:
    """Return the experiment that runs in a place now."""
    experiments = running.current()
    if not experiments:
        return None
    now = timezone.now()
    # All of these were started. Whether the start is past is not checked, because the clocks of machines differ.
    return next((each for each in experiments if where in each.places and now < each.ends), None)


def assign(salt: str, key: str, share: int, weights: Sequence[tuple[str, int]]) -> str:
    """Return the variant of a visitor, by a salted hash of the key, so that nothing has to be stored.

    Empty if the visitor does not take part.

    ``share``: percent of the visitors who do; ``weights``: the percent of them for each variant. Whether visitors take
    part and which variant they get are independent of each other and of any other experiment.
    """
    if _position(salt, "part", key) >= share / 100:
        return ""
    place, edge = _position(salt, "variant", key), 0.0
    for name, weight in weights:
        edge += weight / 100
        if place < edge:
            return name
    return weights[-1][0]  # the shares add up to 1 except for rounding


def _position(salt: str, what: str, key: str) -> float:
    """Return a number from 0 to 1 that is the same for the same visitor."""
    digest = hashlib.sha256(f"{salt}:{what}:{key}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def pseudonym(salt: str, key: str) -> str:
    """Return a keyed hash of a visitor that differs from experiment to experiment."""
    return salted_hmac(f"imagesim.experiments.{salt}", key, algorithm="sha256").hexdigest()[:PSEUDONYM_LENGTH]


def _choose(visit: Visit, where: str) -> Chosen | None:
    experiment = running_in(where)
    if experiment is None:
        return None
    key = visit.key()
    letter = assign(experiment.salt, key, experiment.share, experiment.weights) if key else ""
    return Chosen(experiment.variants[letter], experiment.pk, experiment.salt) if letter else None


class VisitorVariants:
    """The chooser that the app registers."""

    def variant(self, where: Where) -> Variant | None:
        """Return the variant of the visitor whose request is being answered; None for visitors who do not take part."""
        visit = current_visit()
        if visit is None:
            return None
        if visit.preview is not None:
            return visit.preview.variant(where)
        if where not in visit.variants:
            visit.variants[where] = _choose(visit, where)
        chosen = visit.variants[where]
        return chosen.variant if chosen else None

    def lost(self, backing_index: str) -> None:
        """Take the visitor out of the variants of an index that is gone: the answer is the shop's usual one, and is not
        counted."""
        visit = current_visit()
        if visit is None:
            return
        if visit.preview:
            visit.preview.lost()
        for where, chosen in visit.variants.items():
            if chosen and chosen.variant.backing_index == backing_index:
                visit.variants[where] = None

    def choices(self) -> list[Choice]:
        state = Experiment.State
        experiments = Experiment.objects.filter(settled=False).prefetch_related("variants")
        return [
            Choice(variant.key, f"{experiment.name} – {variant}", experiment.state == state.RUNNING, experiment.places)
            for experiment in experiments
            if experiment.state != state.OVER
            for variant in experiment.variants.all()[1:]
        ]


class ExposureObserver:
    """Records the answers to visitors who take part."""

    def answered(self, answer: Answer) -> None:
        where = "look" if answer.where == "region" else answer.where
        visit = current_visit()
        chosen = visit.variants.get(where) if visit else None
        if visit is None or chosen is None or not visitor_counts().is_within(visit.request):
            return
        row = Exposure(
            experiment_id=chosen.experiment,
            variant=chosen.variant.key.rpartition(":")[2],
            visitor=pseudonym(chosen.salt, visit.key()),
            request=answer.request,
        )
        recorder().add(row)

    def purge(self, before: datetime) -> int:
        """Compute the due figures, then delete the answers recorded before a time; return how many."""
        results.update_all()
        return delete_in_batches(Exposure.objects.filter(created_at__lt=before))


exposures = ExposureObserver()
