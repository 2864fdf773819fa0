"""The tests do what they say: false alarms no more often than stated, and drift found."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cascade_components.monitoring.drift import compare, holm, homogeneity, welch
from cascade_components.monitoring.expectation import Bins, Expectation, Sample
from cascade_components.monitoring.window import Sums, Window
from cascade_components.trace import Plan

RATE = 0.05


@dataclass(frozen=True)
class Traffic:
    """A world to draw queries from; every draw is a sample, the fit's as well as a window's."""

    shares: tuple = (0.3, 0.25, 0.2, 0.1, 0.08, 0.05, 0.015, 0.005)
    distance: float = 0.9
    ease: float = 0.0
    cost: float = 1.0
    failures: float = 0.003

    def draw(self, rng, count):
        cluster = rng.choice(len(self.shares), count, p=np.array(self.shares) / sum(self.shares))
        score = 1 / (1 + np.exp(-rng.normal(0.8 + self.ease - 0.1 * cluster, 1.2)))
        escalated = (score < 0.5) & (cluster < 5)
        spent = self.cost * rng.lognormal(0, 1, count) * np.where(escalated, 8.0, 1.0)
        return {
            "cluster": cluster,
            "distance": rng.normal(self.distance + 0.01 * cluster, 0.07),
            "score": score,
            "escalated": escalated,
            "cost": spent,
            "failed": rng.random(count) < self.failures,
        }

    def expectation(self, rng, count):
        seen = self.draw(rng, count)
        gated, places = seen["cluster"] < 5, len(self.shares)
        plans = tuple(Plan("small", "large", 0.5) if place < 5 else Plan("small") for place in range(places))
        return Expectation(
            plans,
            np.bincount(seen["cluster"], minlength=places).astype(float),
            Bins.of(seen["distance"]),
            {"small": sample(seen["score"][gated])},
            sample(seen["escalated"].astype(float)),
            sample(seen["cost"]),
        )

    def window(self, rng, count, expected):
        seen, window = self.draw(rng, count), Window.fresh(expected)
        scores = seen["score"][seen["cluster"] < 5]
        window.clusters = np.bincount(seen["cluster"], minlength=len(self.shares)).tolist()
        window.distances = counted(expected.distances, seen["distance"])
        window.scores, window.cost, window.calls = {"small": sums(scores)}, sums(seen["cost"]), count
        window.distance_sum, window.escalated = float(seen["distance"].sum()), int(seen["escalated"].sum())
        window.failed = int(seen["failed"].sum())
        return window


def sample(values):
    return Sample(len(values), values.mean(), values.var(ddof=1))


def sums(values):
    return Sums(len(values), float(values.sum()), float((values**2).sum()))


def counted(bins, values):
    return np.bincount(np.searchsorted(bins.edges, values, side="right"), minlength=len(bins.counts)).tolist()


def alarms(world, *, windows, fitted=800, calls=1000, rate=RATE, usual=None):
    """What drifted in each of so many windows, the fit drawn anew for each."""
    rng, found = np.random.default_rng(7), []
    for _ in range(windows):
        expected = (usual or Traffic()).expectation(rng, fitted)
        metrics = compare(expected, world.window(rng, calls, expected), rate)
        found.append({metric.name for metric in metrics if metric.drifted})
    return found


@pytest.mark.parametrize(("fitted", "calls"), [(400, 400), (800, 1000), (3000, 300)])
def test_false_alarms_are_no_more_frequent_than_stated(fitted, calls, monkeypatch):
    # Without the least effect, which only makes them rarer: the tests themselves keep the rate.
    monkeypatch.setattr("cascade_components.monitoring.drift.LEAST_EFFECT", 0.0)
    windows = 800
    count = sum(map(bool, alarms(Traffic(), windows=windows, fitted=fitted, calls=calls)))
    assert count <= stats.binom.ppf(0.999, windows, RATE)
    assert count >= stats.binom.ppf(0.001, windows, RATE / 4)  # they are tests, and not just silent


@pytest.mark.parametrize(
    ("world", "metric"),
    [
        (Traffic(shares=(0.15, 0.25, 0.2, 0.1, 0.08, 0.05, 0.015, 0.155)), "clusters"),
        (Traffic(distance=0.93), "distances"),
        (Traffic(ease=-0.5), "scores"),
        (Traffic(ease=-0.5), "escalation"),
        (Traffic(cost=1.5), "cost"),
        (Traffic(failures=0.04), "failures"),
    ],
)
def test_drift_is_found_within_one_window_of_a_thousand_calls(world, metric):
    found = alarms(world, windows=100, fitted=2000, rate=0.01)
    assert sum(metric in names for names in found) >= 90


def test_a_huge_window_raises_no_alarm_about_nothing():
    barely = Traffic(distance=0.903, cost=1.03, ease=0.02)
    assert not any(alarms(barely, windows=3, fitted=200_000, calls=200_000))
    rng = np.random.default_rng(0)
    expected = Traffic().expectation(rng, 200_000)
    metrics = compare(expected, barely.window(rng, 200_000, expected), RATE)
    assert min(metric.p_value for metric in metrics) < 1e-6  # however certain it is


def test_what_is_not_known_is_not_tested():
    rng = np.random.default_rng(0)
    expected = replace(Traffic().expectation(rng, 500), distances=None, scores={}, cost=None)
    window = Window.fresh(expected)
    window.calls, window.clusters = 500, (500 * np.array(Traffic().shares)).astype(int).tolist()
    tested = {metric.name for metric in compare(expected, window, RATE) if metric.p_value is not None}
    assert tested == {"clusters", "escalation", "failures"}


def test_scores_of_beginnings_are_not_compared():
    rng = np.random.default_rng(0)
    expected = Traffic().expectation(rng, 500)
    window = Traffic().window(rng, 500, expected)
    window.released = 200
    scores = next(metric for metric in compare(expected, window, RATE) if metric.name == "scores")
    assert scores.p_value is None


class TestAgainstScipy:
    @given(st.lists(st.tuples(st.integers(100, 500), st.integers(100, 500)), min_size=2, max_size=8))
    @settings(max_examples=30)
    def test_homogeneity(self, cells):
        first, second = np.array(cells, float).T
        expected = stats.chi2_contingency(np.stack([first, second]), correction=False)
        assert homogeneity([(first, second)])[0] == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)

    def test_welch(self):
        expected = stats.ttest_ind_from_stats(1.0, 2.0, 50, 1.4, 1.0, 400, equal_var=False)
        one = Sample(50, 1.0, 4.0), Sample(400, 1.4, 1.0)
        assert welch([one]) == pytest.approx(expected.pvalue)
        assert welch([(Sample(50, 1.0, 0.0), Sample(50, 1.0, 0.0))]) == 1.0
        assert welch([(Sample(50, 1.0, 0.0), Sample(50, 1.1, 0.0))]) == 0.0
        assert welch([one, (Sample(50, 1.4, 1.0), Sample(400, 1.0, 1.0))]) > 0.9  # up here, down there

    def test_failures(self):
        rng = np.random.default_rng(0)
        expected = Traffic().expectation(rng, 500)
        window = Traffic().window(rng, 1000, expected)
        window.failed = 17
        found = next(metric for metric in compare(expected, window, RATE) if metric.name == "failures")
        assert found.p_value == pytest.approx(stats.binom.sf(16, 1000, 0.01))


def test_sparse_bins_are_put_together():
    alone = homogeneity([(np.array([90.0, 10.0]), np.array([80.0, 20.0]))])
    assert homogeneity([(np.array([90.0, 4, 3, 2, 1]), np.array([80.0, 5, 6, 5, 4]))])[0] == pytest.approx(alone[0])
    assert homogeneity([(np.array([100.0, 0, 0]), np.array([100.0, 0, 0]))]) == (1.0, 0.0)
    assert homogeneity([(np.zeros(3), np.zeros(3))]) == (1.0, 0.0)


def test_holm_stops_at_the_first_that_stands():
    assert holm([0.2, 0.001, 0.03, None, 0.012], 0.05) == [False, True, False, False, True]
    assert holm([0.03, 0.03], 0.05) == [False, False]
