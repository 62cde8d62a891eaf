"""The statistics of experiments, against known values, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.experiments import simulate
from imagesim.experiments.analysis import Look, Verdict, analyse
from imagesim.experiments.statistics import (
    Arm,
    Difference,
    Mean,
    bounds,
    chi_square_tail,
    mean_of,
    probability_better,
    skew,
    spent,
    visitors_needed,
)


def even(count: int) -> tuple[float, ...]:
    return tuple((number + 1) / count for number in range(count))


class TestBounds:
    def test_the_published_bounds_of_five_looks(self):
        """The bounds of Lan and DeMets's function for five evenly spaced looks, two-sided 5 %."""
        assert bounds(even(5), even(5), 0.05) == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)

    def test_one_look_is_a_fixed_test(self):
        assert bounds((1.0,), (1.0,), 0.05) == pytest.approx([1.95996], abs=1e-4)

    def test_the_whole_error_is_spent_at_the_end(self):
        assert spent(0, 0.05) == 0
        assert spent(1, 0.05) == pytest.approx(0.05)
        assert spent(0.5, 0.05) < 0.01

    def test_what_passes_by_chance_is_what_was_to_be_spent(self):
        """With unevenly spaced looks and visitors, on random walks."""
        times, information = (0.2, 0.25, 0.6, 0.8, 1.0), (0.1, 0.3, 0.5, 0.9, 1.0)
        edges = np.array(bounds(times, information, 0.05))
        steps = np.sqrt(np.diff((0.0, *information)))
        walks = np.random.default_rng(3).normal(size=(200_000, 5)) * steps
        z = np.cumsum(walks, axis=1) / np.sqrt(information)
        crossed = np.abs(z) >= edges
        assert crossed.any(axis=1).mean() == pytest.approx(0.05, abs=0.002)
        assert crossed[:, :3].any(axis=1).mean() == pytest.approx(spent(0.6, 0.05), abs=0.002)


class TestNumbers:
    @pytest.mark.parametrize(
        ("statistic", "degrees", "tail"),
        [
            (3.8415, 1, 0.05),
            (5.9915, 2, 0.05),
            (10.8276, 1, 0.001),
            (13.8155, 2, 0.001),
            (16.2662, 3, 0.001),
            (11.0705, 5, 0.05),
        ],
    )
    def test_chi_square(self, statistic, degrees, tail):
        assert chi_square_tail(statistic, degrees) == pytest.approx(tail, rel=1e-3)
        assert chi_square_tail(0, degrees) == 1

    def test_skew(self):
        assert skew([5000, 5000], [50, 50]) == 1
        assert skew([5000, 5100], [50, 50]) > 0.3
        assert skew([5000, 5400], [50, 50]) < 0.001
        assert skew([9000, 1000], [90, 10]) == 1
        assert skew([95, 5], [99, 1]) == 1  # 5 or more by chance: one time in 270, which the test takes for 1 in 17,000
        assert skew([], []) == skew([0, 0], [50, 50]) == 1

    def test_the_probability_to_be_better_is_that_of_two_beta_distributions(self):
        assert probability_better(Arm(), Arm(), by_value=False) == pytest.approx(0.5)
        assert probability_better(Arm(1, 0), Arm(1, 1), by_value=False) == pytest.approx(5 / 6)
        random = np.random.default_rng(1)
        a, b = random.beta(1 + 30, 1 + 970, 400_000), random.beta(1 + 45, 1 + 855, 400_000)
        assert probability_better(Arm(1000, 30), Arm(900, 45), by_value=False) == pytest.approx(
            (b > a).mean(), abs=3e-3
        )

    def test_many_conversions(self):
        assert probability_better(Arm(10**6, 10**5), Arm(10**6, 10**5), by_value=False) == pytest.approx(0.5, abs=1e-3)
        assert probability_better(Arm(10**8, 10**7), Arm(10**8, 10**7 + 10**4), by_value=False) == pytest.approx(
            0.991, abs=2e-3
        )

    def test_means_and_their_difference(self):
        rate = mean_of(Arm(1000, 100), by_value=False)
        assert (rate.value, rate.error) == (0.1, pytest.approx(math.sqrt(0.09 / 1000)))
        spent_by = [0.0, 0.0, 10.0, 20.0]
        value = mean_of(Arm(4, 2, sum(spent_by), sum(each**2 for each in spent_by)), by_value=True)
        assert value.value == 7.5
        assert value.variance == pytest.approx(np.var(spent_by, ddof=1))
        apart = Difference(Mean(100, 1.0, 4.0), Mean(100, 1.5, 4.0))
        assert apart.z == pytest.approx(0.5 / math.sqrt(0.08))
        assert mean_of(Arm(), by_value=True).error == 0

    def test_the_interval_of_a_difference_of_rates(self):
        """Method 10 of table II in Newcombe (1998)."""
        for a, b, low, high in [
            (Arm(80, 48), Arm(70, 56), -0.3339, -0.0524),
            (Arm(10, 0), Arm(10, 10), -1.0, -0.6075),
            (Arm(10, 0), Arm(20, 0), -0.1611, 0.2775),
        ]:
            found = Difference(mean_of(a, by_value=False), mean_of(b, by_value=False)).interval()
            assert found == pytest.approx((-high, -low), abs=1e-4)

    def test_visitors_needed(self):
        """From 10 % to 12 %: (1.96 + 0.84)² · 2 · 0.09 / 0.02² in each group."""
        needed = visitors_needed(mean_of(Arm(1000, 100), by_value=False), 0.2, 1.959964, (50, 50))
        assert needed / 2 == pytest.approx(7.8489 * 0.18 / 0.0004, rel=1e-3)
        for reached in (0, 1000):  # no variance, so nothing to go by
            assert visitors_needed(mean_of(Arm(1000, reached), by_value=False), 0.2, 1.96, (50, 50)) == math.inf
        uneven = visitors_needed(mean_of(Arm(1000, 100), by_value=False), 0.2, 1.959964, (90, 10))
        assert uneven > 2 * needed


def look(time: float, a: tuple[int, int], b: tuple[int, int]) -> Look:
    return Look(time, {"A": Arm(*a), "B": Arm(*b)})


SHARES = {"A": 50.0, "B": 50.0}


def verdict(*looks: Look) -> Verdict:
    return analyse(looks, SHARES, by_value=False, effect=0.05).comparisons["B"].verdict


class TestVerdict:
    def test_too_few(self):
        assert verdict(look(1, (50, 0), (50, 50))) == Verdict.NONE
        assert verdict(look(1, (0, 0), (0, 0))) == Verdict.NONE

    def test_what_a_plain_interval_calls_is_too_early(self):
        assert verdict(look(0.1, (1000, 100), (1000, 135))) == Verdict.EARLY
        assert verdict(look(1, (1000, 100), (1000, 135))) == Verdict.BETTER
        assert verdict(look(1, (1000, 135), (1000, 100))) == Verdict.WORSE
        assert verdict(look(0.1, (1000, 100), (1000, 110))) == Verdict.OPEN

    def test_a_variant_with_few_of_the_visitors(self):
        """That none of 100 reaches a goal of 1 % happens in every third experiment."""

        def called(share: int, *, by_value: bool, **arms: Arm) -> Verdict:
            shares = {"A": 100.0 - share, "B": float(share)}
            return analyse([Look(1, arms)], shares, by_value=by_value, effect=0.05).comparisons["B"].verdict

        assert called(1, by_value=False, A=Arm(9_900, 99), B=Arm(100, 0)) == Verdict.NONE
        assert called(1, by_value=False, A=Arm(99_000, 990), B=Arm(1_000, 4)) == Verdict.OPEN
        assert called(1, by_value=False, A=Arm(99_000, 990), B=Arm(1_000, 25)) == Verdict.BETTER
        bought = {"A": Arm(90_000, 900, 18_000.0, 1_000_000.0), "B": Arm(10_000, 70, 1_400.0, 22_000.0)}
        assert called(10, by_value=True, **bought) == Verdict.OPEN

    def test_what_was_shown_once_stays(self):
        shown = look(0.5, (2000, 200), (2000, 300))
        assert verdict(shown, look(1, (4000, 400), (4000, 410))) == Verdict.BETTER

    def test_days_without_visitors(self):
        empty = look(0.1, (0, 0), (0, 0))
        first = look(0.5, (2000, 200), (2000, 300))
        assert verdict(empty, empty, first, first) == Verdict.BETTER

    def test_several_variants_share_the_error(self):
        arms = {"A": Arm(1000, 100), "B": Arm(1000, 130), "C": Arm(1000, 100), "D": Arm(1000, 100)}
        two = analyse([Look(1, {"A": arms["A"], "B": arms["B"]})], SHARES, by_value=False, effect=0.05)
        assert two.comparisons["B"].verdict == Verdict.BETTER
        all_four = analyse([Look(1, arms)], dict.fromkeys("ABCD", 25.0), by_value=False, effect=0.05)
        assert all_four.comparisons["B"].verdict == Verdict.OPEN

    def test_a_skewed_assignment(self):
        result = analyse([look(1, (5000, 500), (5400, 540))], SHARES, by_value=False, effect=0.05)
        assert result.is_skewed
        assert not analyse([look(1, (5000, 500), (5050, 505))], SHARES, by_value=False, effect=0.05).is_skewed


class TestSimulation:
    """The full simulation, of 1,000 tests of four weeks: ``python -m benchmarks.experiments``."""

    @pytest.mark.slow
    def test_daily_looks_call_few_winners_where_there_is_none(self):
        tally = simulate(200, days=14, visitors=300, rate=0.1, effect=0.0, seed=7)
        assert tally.bounds <= 16  # with a true rate of 5 %, more than that in one of 40 series
        assert tally.daily >= 30  # a plain interval that is examined each day: a true rate of 20 % or so

    @pytest.mark.slow
    def test_a_true_effect_is_found_almost_as_often_as_by_one_look(self):
        tally = simulate(100, days=14, visitors=400, rate=0.1, effect=0.25, seed=7)
        assert tally.bounds >= tally.once - 8
        assert tally.bounds >= 60
