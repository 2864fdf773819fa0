import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_components.pool import PoolStats, pareto_front, shrink


def test_shrinkage_brings_estimates_closer_to_the_truth():
    rng = np.random.default_rng(0)
    raw_error = shrunk_error = 0.0
    for _ in range(200):
        truth = rng.beta(20, 10, size=12)
        count = rng.integers(5, 40, size=12)
        mean = rng.binomial(count, truth) / count
        shrunk = shrink(mean, count.astype(float), float(np.mean(mean * (1 - mean))))
        raw_error += ((mean - truth) ** 2).sum()
        shrunk_error += ((shrunk - truth) ** 2).sum()
    assert shrunk_error < 0.7 * raw_error


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 500)), min_size=1, max_size=10))
def test_shrunk_means_lie_between_the_raw_and_the_overall_mean(cells):
    mean, count = np.array([m for m, _ in cells]), np.array([float(c) for _, c in cells])
    overall = (mean * count).sum() / max(count.sum(), 1)
    shrunk = shrink(np.where(count > 0, mean, np.nan), count, 0.2)
    for raw, size, found in zip(mean, count, shrunk, strict=True):
        low, high = sorted([raw, overall]) if size else (overall, overall)
        assert low - 1e-9 <= found <= high + 1e-9


def test_large_clusters_that_really_differ_are_left_alone():
    assert shrink(np.array([0.2, 0.8]), np.array([5000.0, 5000.0]), 0.16) == pytest.approx([0.2, 0.8], abs=0.01)


def test_equal_costs_normalise_to_zero():
    assert PoolStats(("a", "b"), [[0.1], [0.2]], [[3], [3]], [5]).cost_norm.tolist() == [0, 0]


def test_conditioned_on_the_cluster_one_scale_spans_the_whole_matrix():
    stats = PoolStats(("a", "b"), [[0, 0], [0, 0]], [[1, 3], [2, 5]], [1, 1], conditioning="cluster")
    assert stats.scored_cost.tolist() == [[0, 0.5], [0.25, 1]]
    assert stats.cost_norm.tolist() == [0, 1]


def test_a_given_model_cost_is_what_eq_2_prices_and_stays_with_its_model():
    stats = PoolStats(("a", "b", "c"), [[0.3], [0.2], [0.1]], [[1], [1], [1]], [5], given_model_cost=[3, 1, 2])
    assert stats.cost_norm.tolist() == [1, 0, 0.5]
    assert stats.only(("c", "b")).model_cost.tolist() == [2, 1]
    assert pareto_front(stats) == ("b", "c")


def test_the_tolerance_of_the_statistics_holds_where_none_is_given():
    stats = PoolStats(("cheap", "dear"), [[0.15], [0.1]], [[1], [2]], [5], error_tol=0.05)
    assert pareto_front(stats) == ("cheap",)
    assert pareto_front(stats, error_tol=0.0) == ("cheap", "dear")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"given_model_cost": [1, 2]}, "given_model_cost must have shape"),
        ({"given_model_cost": [float("inf")]}, "finite"),
        ({"output_tokens": [1]}, "output_tokens must have shape"),
        ({"conditioning": "query"}, "conditioning must be one of model, cluster"),
        ({"error_tol": -1}, "error_tol at least 0"),
    ],
)
def test_bad_settings_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        PoolStats(("a",), [[0.1]], [[1]], [5], **given)


@pytest.mark.parametrize(
    ("error", "sizes", "message"),
    [([[0.1, 0.2]], [5], "must have shape"), ([[float("nan")]], [5], "finite"), ([[0.1]], [0], "hold a query")],
)
def test_bad_statistics_are_refused(error, sizes, message):
    with pytest.raises(ValueError, match=message):
        PoolStats(("a",), error, np.ones_like(error), sizes)
