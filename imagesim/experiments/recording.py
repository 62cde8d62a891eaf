"""Record which answers visitors of an experiment got, with the buffer of ``imagesim.insight``."""

from __future__ import annotations

import logging
from datetime import datetime

from imagesim.circuit_breaker import log_repeated
from imagesim.events import Answer
from imagesim.experiments import results
from imagesim.experiments.assignment import pseudonym
from imagesim.experiments.middleware import current_visit
from imagesim.experiments.models import Exposure
from imagesim.insight.recorder import recorder
from imagesim.tasks import delete_in_batches

logger = logging.getLogger(__name__)


class ExposureObserver:
    """Records the answers that visitors got who take part."""

    def answered(self, answer: Answer) -> None:
        try:
            where = "look" if answer.where == "region" else answer.where
            visit = current_visit()
            chosen = visit.variants.get(where) if visit else None
            if visit is None or chosen is None:
                return
            row = Exposure(
                experiment_id=chosen.experiment,
                variant=chosen.variant.key.rpartition(":")[2],
                visitor=pseudonym(chosen.salt, visit.key()),
                request=answer.request,
            )
            recorder().add(row)
        except Exception:  # a search must not fail because it cannot be recorded
            log_repeated(logger, logging.ERROR, "exposed", "An answer was not recorded", exc_info=True)

    def purge(self, before: datetime) -> int:
        """Compute the figures first: what they are computed from is about to be deleted."""
        results.update_all()
        return delete_in_batches(Exposure.objects.filter(created_at__lt=before))


observer = ExposureObserver()
