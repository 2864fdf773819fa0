"""The optimiser against brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_components.knapsack import best_at_price, front_steps, least_cost, most_value, shadow_price


@st.composite
def problems(draw):
    options, clusters = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    whole = draw(st.booleans())
    value, cost = rng.random((options, clusters)), rng.random((options, clusters)) * 10
    if whole:  # ties on purpose
        value, cost = np.round(value * 4) / 4, np.round(cost)
    weights = rng.random(clusters) + 0.1
    return value, cost, weights / weights.sum(), rng.random()


def brute(value, cost, weights):
    clusters = np.arange(len(weights))
    for options in product(range(len(value)), repeat=len(weights)):
        chosen = np.array(options)
        yield weights @ value[chosen, clusters], weights @ cost[chosen, clusters]


def total(table, weights, options):
    return weights @ table[options, np.arange(len(weights))]


@given(problems())
def test_most_value_is_the_optimum(problem):
    value, cost, weights, share = problem
    every = list(brute(value, cost, weights))
    cheapest, dearest = min(c for _, c in every), max(c for _, c in every)
    budget = cheapest + share * (dearest - cheapest)
    found = most_value(value, cost, weights, budget)
    best = max(v for v, c in every if c <= budget + 1e-9)
    assert total(cost, weights, found.options) <= budget + 1e-6
    assert total(value, weights, found.options) == pytest.approx(best, abs=1e-6)
    assert found.gap == 0


@given(problems())
def test_least_cost_is_the_optimum(problem):
    value, cost, weights, share = problem
    every = list(brute(value, cost, weights))
    floor = min(v for v, _ in every) + share * (max(v for v, _ in every) - min(v for v, _ in every))
    found = least_cost(value, cost, weights, floor - 1e-9)
    best = min(c for v, c in every if v >= floor - 1e-9)
    assert total(value, weights, found.options) >= floor - 1e-6
    assert total(cost, weights, found.options) == pytest.approx(best, abs=1e-5)


@given(problems(), st.floats(0, 2))
def test_the_price_picks_the_best_difference(problem, price):
    value, cost, weights, _ = problem
    score = value - price * cost
    chosen = best_at_price(value, cost, price)
    assert np.allclose(score[chosen, np.arange(len(weights))], score.max(0))


@given(problems())
def test_the_front_rises_at_falling_prices(problem):
    value, cost, weights, _ = problem
    options, steps = front_steps(value, cost)
    assert [s.price for s in steps] == sorted((s.price for s in steps), reverse=True)
    for step in steps:
        moved = options.copy()
        moved[step.cluster] = step.option
        assert total(value, weights, moved) > total(value, weights, options)
        assert total(cost, weights, moved) > total(cost, weights, options)
        options = moved
    assert total(value, weights, options) == pytest.approx(total(value.max(0)[None], weights, [0] * len(weights)))


def test_hull_and_fill_is_not_enough():
    """Options that cost 6, 5, 5 and are worth 7, 5, 5: under a budget of 10 the hull takes 7, the optimum is 10."""
    value, cost = np.array([[0.0, 0, 0], [7, 5, 5]]), np.array([[0.0, 0, 0], [6, 5, 5]])
    found = most_value(value, cost, np.ones(3), 10)
    assert total(value, np.ones(3), found.options) == 10


def test_out_of_reach_is_none():
    value, cost = np.array([[0.5]]), np.array([[2.0]])
    assert most_value(value, cost, np.ones(1), 1.0) is None
    assert least_cost(value, cost, np.ones(1), 0.9) is None


def test_the_shadow_price_is_the_slope_of_the_front():
    value, cost = np.array([[0.0], [0.5], [0.6]]), np.array([[0.0], [1.0], [2.0]])
    assert [shadow_price(value, cost, np.ones(1), spent) for spent in (0.0, 1.0, 2.0)] == pytest.approx([0.5, 0.1, 0])


def test_ties_go_to_the_cheaper_then_to_the_first():
    value, cost = np.array([[0.5], [0.5], [0.5]]), np.array([[2.0], [1.0], [1.0]])
    assert best_at_price(value, cost, 0.0).tolist() == [1]
