"""Record which answers visitors of an experiment got, with the buffer of ``imagesim.insight``."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import cast

from imagesim.circuit_breaker import log_repeated
from imagesim.events import Answer
from imagesim.experiments import results
from imagesim.experiments.assignment import pseudonym
from imagesim.experiments.middleware import current_visit
from imagesim.experiments.models import Exposure
from imagesim.experiments.running import running_in
from imagesim.insight.recorder import recorder
from imagesim.retrieval import variants
from imagesim.retrieval.rerank import Where
from imagesim.tasks import delete_in_batches

logger = logging.getLogger(__name__)


class ExposureObserver:
    """Records the answers that visitors got who take part."""

    def answered(self, answer: Answer) -> None:
        try:
            where = "look" if answer.where == "region" else answer.where
            variant = variants.current(cast("Where", where))
            experiment, visit = running_in(where), current_visit()
            if variant is None or experiment is None or visit is None:
                return
            row = Exposure(
                experiment_id=experiment.pk,
                variant=variant.key.rpartition(":")[2],
                visitor=pseudonym(experiment.salt, visit.key()),
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
