"""``python -m tools.demo_experiment``: put an experiment with simulated visitors into a demo shop, for the picture of
its report. Run it with the settings of that shop."""

from __future__ import annotations

import random
from datetime import timedelta

import django

DAYS = 19
"""Days since it started."""
DAILY = 260
"""New visitors per day and variant."""
RATES = {"A": 0.100, "B": 0.118}
"""How many of the visitors reach the goal."""
SEED = 3


def main() -> None:
    django.setup()
    from django.utils import timezone

    from imagesim.experiments import results
    from imagesim.experiments.models import DailyResult, Experiment, Variant

    experiment = Experiment.objects.create(name="Another model", where=["similar"], effect=20)
    Variant.objects.create(experiment=experiment, letter="A", name="the shop as it is", share=50)
    Variant.objects.create(experiment=experiment, letter="B", name="the new model", share=50, diversity=0.2)
    now = timezone.now()
    Experiment.objects.filter(pk=experiment.pk).update(started=now - timedelta(days=DAYS))
    experiment.refresh_from_db()
    chance = random.Random(SEED)
    visitors, converted = dict.fromkeys(RATES, 0), dict.fromkeys(RATES, 0)
    for until in list(results._due(experiment, now)):
        for letter, rate in RATES.items():
            came = round(chance.gauss(DAILY, DAILY**0.5))
            visitors[letter] += came
            converted[letter] += sum(chance.random() < rate for _ in range(came))
            DailyResult.objects.create(
                experiment=experiment,
                until=until,
                variant=letter,
                visitors=visitors[letter],
                converted=converted[letter],
            )


if __name__ == "__main__":
    main()
