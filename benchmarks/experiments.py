"""How often an experiment calls a winner: ``python -m benchmarks.experiments [--tests N] [--days N] [--visitors N]``.

Simulates experiments without any difference (A/A) and with a true one, each looked at every day, and prints the share
that calls a winner: by the bounds of ``imagesim.experiments``, by a plain 95 % interval that is looked at as often, and
by a plain interval that is looked at once, at the end. Visitors arrive at random, and reach the goal up to three days
later. With ``--value`` the goal is the value of purchases, which is skewed (log-normal). ``--cost`` prints what the
choice of a variant costs a request instead.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search import set_up

LAGS = (0.6, 0.25, 0.1, 0.05)
"""The shares of those who reach the goal on the day of their first answer, and one, two and three days later."""


@dataclass
class Tally:
    """How many experiments had a winner by each method, and the mean day on which the bounds called one."""

    tests: int = 0
    bounds: int = 0
    daily: int = 0
    once: int = 0
    days: float = 0.0
    seconds: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--visitors", type=int, default=400, help="per day, in both variants")
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--effect", type=float, default=0.18, help="the true relative change of the second table row")
    parser.add_argument("--share", type=int, default=50, help="percent of the visitors in the second variant")
    parser.add_argument("--value", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesim-benchmark-") as folder:
        set_up(Path(folder))
        if options.cost:
            for name, microseconds in cost().items():
                print(f"{name:<27} {microseconds:.1f} µs per request")
        else:
            compare(options)
    return 0


def compare(options: argparse.Namespace) -> None:
    for name, effect in (("A/A", 0.0), (f"+{options.effect:.0%}", options.effect)):
        tally = simulate(
            options.tests,
            days=options.days,
            visitors=options.visitors,
            rate=options.rate,
            effect=effect,
            share_of_b=options.share,
            by_value=options.value,
            seed=options.seed,
        )
        print(
            f"{name:<6} {tally.tests} tests of {options.days} days: a winner by the bounds "
            f"{share(tally.bounds, tally.tests)} (after {tally.days:.1f} days), "
            f"by a plain interval each day {share(tally.daily, tally.tests)}, by one at"
            f" the end {share(tally.once, tally.tests)}; {1000 * tally.seconds / tally.tests:.0f} ms per test"
        )


def cost(rounds: int = 5000) -> dict[str, float]:
    """Return the median microseconds of a request that asks four times for a variant, as a search on a page does."""
    from django.http import HttpResponse
    from django.test import RequestFactory

    from imagesim.experiments.middleware import ChooseVariants
    from imagesim.experiments.models import Experiment, Variant
    from imagesim.experiments.running import VisitorVariants
    from imagesim.retrieval import variants

    def view(request: Any) -> HttpResponse:
        for _time in range(4):
            variants.current("similar")
        return response

    def median() -> float:
        taken = []
        for _round in range(rounds):
            started = time.perf_counter()
            handler(request)
            taken.append((time.perf_counter() - started) * 1e6)
        return statistics.median(taken)

    response, handler = HttpResponse(), ChooseVariants(view)
    request = RequestFactory().get("/", headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"})
    request.session = type("Session", (), {"session_key": "k" * 32})()
    found = {"no experiment runs": median()}
    made = Experiment.objects.create(name="cost")
    for letter in "AB":
        Variant.objects.create(experiment=made, letter=letter)
    made.start()
    found["one runs"] = median()
    variants.register(None)
    found["only the middleware"] = median()
    variants.register(VisitorVariants())
    return found


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def simulate(
    tests: int,
    *,
    days: int,
    visitors: int,
    rate: float,
    effect: float,
    share_of_b: int = 50,
    by_value: bool = False,
    seed: int = 1,
) -> Tally:
    """Run experiments with ``visitors`` per day in both variants, of whom ``rate`` reach the goal in the control, and
    ``rate * (1 + effect)`` in the other, which ``share_of_b`` percent of them get."""
    from imagesim.experiments.analysis import analyse

    random = np.random.default_rng(seed)
    tally = Tally(tests)
    shares = {"A": 100 - share_of_b, "B": share_of_b}
    for _test in range(tests):
        looks = _looks(random, days, visitors, shares, {"A": rate, "B": rate * (1 + effect)})
        started = time.perf_counter()
        compared = analyse(looks, shares, by_value=by_value, effect=0.1).comparisons["B"]
        tally.seconds += time.perf_counter() - started
        tally.bounds += compared.called is not None
        tally.days += 0 if compared.called is None else compared.called + 1
        tally.daily += any(point.is_enough and point.would_be_called for point in compared.points)
        tally.once += compared.last.would_be_called
    tally.days /= max(tally.bounds, 1)
    return tally


def _looks(
    random: np.random.Generator, days: int, visitors: int, shares: dict[str, int], rates: dict[str, float]
) -> list:
    from imagesim.experiments.analysis import Look
    from imagesim.experiments.statistics import Arm

    arms = {}
    for name, rate in rates.items():
        came = random.poisson(visitors * shares[name] / 100, days)
        reached = np.zeros(days, int)
        total, squares = np.zeros(days), np.zeros(days)
        for day, count in enumerate(random.binomial(came, rate)):
            for lag, share_of in enumerate(random.multinomial(count, LAGS)):
                if day + lag < days:
                    reached[day + lag] += share_of
                    spent = random.lognormal(3.0, 1.0, share_of)
                    total[day + lag] += spent.sum()
                    squares[day + lag] += (spent**2).sum()
        sums = (np.cumsum(each).tolist() for each in (came, reached, total, squares))
        arms[name] = [Arm(*each) for each in zip(*sums, strict=True)]
    return [Look((day + 1) / days, {name: arms[name][day] for name in rates}) for day in range(days)]


if __name__ == "__main__":
    raise SystemExit(main())
