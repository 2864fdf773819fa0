import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_components.smoothing import PENALTY, Neighbourhood


@given(st.integers(0, 10_000), st.integers(5, 40), st.integers(1, 4))
def test_each_query_is_foretold_as_by_a_regression_without_it(seed, queries, dim):
    rng = np.random.default_rng(seed)
    places, values = rng.normal(size=(queries, dim)), rng.normal(size=(2, queries))
    found = Neighbourhood(places).expected(values)
    scaled = np.hstack([np.ones((queries, 1)), places / np.sqrt((places**2).sum(1).mean())])
    left = np.arange(queries) != 0
    ridge = np.diag([1e-9, *[PENALTY] * dim])
    weights = np.linalg.solve(scaled[left].T @ scaled[left] + ridge, scaled[left].T @ values[:, left].T)
    assert found[:, 0] == pytest.approx(scaled[0] @ weights, abs=1e-6)


def test_what_is_unknown_is_foretold_from_what_is_known():
    places = np.linspace(-1, 1, 200)[:, None]
    values = np.stack([places[:, 0], -places[:, 0]])
    values[0, 150:] = np.nan
    found = Neighbourhood(places).expected(values)
    assert found[0, 199] > 0.5
    assert found[1, 199] < -0.5


def test_without_places_nothing_is_expected():
    assert not Neighbourhood(np.zeros((3, 0))).expected(np.ones((2, 3))).any()
