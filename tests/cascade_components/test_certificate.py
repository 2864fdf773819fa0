import itertools
import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cascade_components.certificate import (
    Certificate,
    CheckedPlan,
    largest_capital,
    queries_needed,
    rejected_in_a_row,
    retention_bound,
)

DELTA = 0.05


def certified(system, strongest, retention, confidence=1 - DELTA):
    return largest_capital(system, strongest, retention, confidence) >= (1 - 1e-9) / (1 - confidence)


# Worlds in which the system keeps exactly so much of the strongest model's accuracy.


def disagreeing(rng, size):
    """Often one is right and the other wrong: retention 0.95."""
    both, only_system, only_strongest = 0.70, 0.06, 0.10
    cell = rng.random(size)
    strongest = (cell < both) | (cell >= 1 - only_strongest)
    return (cell < both + only_system).astype(float), strongest.astype(float)


def rare_losses(rng, size):
    """All is the same but for one query in fifty: retention 0.98."""
    return (rng.random(size) >= 0.02).astype(float), np.ones(size)


def soft_labels(rng, size):
    """Credits between 0 and 1: retention 0.9."""
    return rng.beta(3.6, 1.4, size), rng.beta(4, 1, size)


@pytest.mark.parametrize(("world", "retention"), [(disagreeing, 0.95), (rare_losses, 0.98), (soft_labels, 0.9)])
@pytest.mark.parametrize("count", [60, 300, 1000])
def test_what_is_not_so_is_seldom_certified(world, retention, count):
    """Just at the boundary, where it is hardest: at most δ, up to three standard errors of the simulation."""
    draws = 4000
    system, strongest = world(np.random.default_rng(count), (draws, count))
    assert certified(system, strongest, retention).mean() <= DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / draws)


def test_the_usual_normal_test_would_certify_it_too_often():
    """The control: rare losses, which a sample of a hundred may not show."""
    system, strongest = rare_losses(np.random.default_rng(0), (4000, 100))
    gains = system - 0.98 * strongest
    spread = np.maximum(gains.std(1, ddof=1), 1e-12)
    assert (gains.mean(1) / spread * 10 > 1.645).mean() > 2 * DELTA
    assert certified(system, strongest, 0.98).mean() <= DELTA


CREDITS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@settings(max_examples=60, deadline=None)
@given(
    answers=st.lists(st.tuples(CREDITS, CREDITS), min_size=3, max_size=3),
    weights=st.lists(st.floats(0.02, 1), min_size=3, max_size=3),
    confidence=st.sampled_from([0.3, 0.5, 0.8, 0.95]),
)
def test_a_fair_bet_seldom_wins_much(answers, weights, confidence):
    """Exactly, over all 3⁷ samples of a distribution on the boundary: P(capital ≥ x) ≤ 1/x."""
    values, chance = np.array(answers), np.array(weights) / np.sum(weights)
    assume(chance @ values[:, 1] > 0)
    retention = float(chance @ values[:, 0] / (chance @ values[:, 1]))
    assume(retention <= 1.5)
    samples = np.array(list(itertools.product(range(3), repeat=7)))
    probability = chance[samples].prod(1)
    capital = largest_capital(values[samples, 0], values[samples, 1], retention, confidence)
    for level in (1.1, 1.5, 2.0, 1 / (1 - confidence), 10.0):
        assert probability[capital >= level * (1 - 1e-9)].sum() <= 1 / level + 1e-9


def test_it_has_nearly_the_power_of_the_normal_test_which_promises_nothing():
    system, strongest = disagreeing(np.random.default_rng(1), (1000, 1000))
    for retention in (0.93, 0.92, 0.91, 0.9):
        gains = system - retention * strongest
        normal = (gains.mean(1) / gains.std(1, ddof=1) * np.sqrt(1000) > 1.645).mean()
        assert certified(system, strongest, retention).mean() > normal - 0.08


def test_the_order_of_the_queries_decides_only_what_is_close():
    rng = np.random.default_rng(2)
    system, strongest = disagreeing(rng, 2000)
    orders = np.stack([rng.permutation(2000) for _ in range(100)])
    kept = system.mean() / strongest.mean()
    assert certified(system[orders], strongest[orders], kept - 0.035).mean() > 0.97
    assert certified(system[orders], strongest[orders], kept + 0.01).mean() < 0.03


def test_queries_that_were_not_asked_change_nothing():
    system, strongest = disagreeing(np.random.default_rng(3), 300)
    gaps = np.insert(system, [0, 50, 300], np.nan), np.insert(strongest, [0, 50, 300], np.nan)
    assert largest_capital(*gaps, 0.93, 0.95) == pytest.approx(largest_capital(system, strongest, 0.93, 0.95))


def test_one_that_stands_ends_the_sequence():
    assert rejected_in_a_row([0.01, 0.05, 0.06, 0.0], 0.95) == 2
    assert rejected_in_a_row([0.2, 0.0], 0.95) == 0
    assert rejected_in_a_row([0.0, 0.0], 0.95) == 2
    assert rejected_in_a_row([], 0.95) == 0


@given(st.lists(st.floats(0, 1), max_size=8))
def test_more_confidence_never_certifies_more(p_values):
    passed = [rejected_in_a_row(p_values, confidence) for confidence in (0.5, 0.8, 0.9, 0.95, 0.99)]
    assert passed == sorted(passed, reverse=True)


def test_more_confidence_takes_more_queries_in_the_draws_too():
    system, strongest = disagreeing(np.random.default_rng(4), (1000, 500))
    shares = [certified(system, strongest, 0.92, confidence).mean() for confidence in (0.8, 0.9, 0.95, 0.99)]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(("world", "retention"), [(disagreeing, 0.92), (rare_losses, 0.95), (soft_labels, 0.86)])
def test_so_many_queries_are_needed(world, retention):
    """Of samples that large most are certified, of samples a third as large not."""
    rng = np.random.default_rng(5)
    needed = queries_needed(*world(rng, 200_000), retention, 0.95)
    assert 0.6 < certified(*world(rng, (1000, needed)), retention).mean() < 0.85
    assert certified(*world(rng, (1000, needed // 3)), retention).mean() < 0.45


def test_no_number_of_queries_certifies_what_is_not_so():
    assert queries_needed(*disagreeing(np.random.default_rng(6), 100_000), 0.96, 0.95) is None


def test_the_bound_holds_and_says_something():
    rng = np.random.default_rng(7)
    bounds = [retention_bound(*disagreeing(rng, 400), 0.9) for _ in range(100)]
    assert np.mean(np.array(bounds) > 0.95) <= 0.1
    assert np.median(bounds) > 0.90
    assert retention_bound(np.zeros(50), np.ones(50), 0.9) == 0


def plan(p_value, cost_share=0.5, needed=700):
    return CheckedPlan(
        expected_retention=0.99, retention=0.985, cost_share=cost_share, p_value=p_value, queries_needed=needed
    )


def certificate(tested, planned=None, queries=1234, skipped=0):
    bound = None if planned is None else 0.931
    return Certificate("large", 0.98, 0.95, queries, skipped, tuple(tested), planned, bound)


def test_a_certificate_names_the_cheapest_plan_and_what_was_planned():
    found = certificate([plan(0.001, 0.7), plan(0.05, 0.6), plan(0.3, 0.5)], plan(0.3, 0.25, None), skipped=6)
    assert found.certified
    assert found.plan.cost_share == 0.6
    assert found.queries_needed is None
    assert str(found).splitlines() == [
        "Certified with 95% confidence: at least 98.0% of large's accuracy, at 60% of its cost",
        "measured on 1,234 calibration queries (6 left out): 98.5%",
        "planned without a confidence: 25% of the cost; measured 98.5%, with 95% confidence at least 93.1%",
    ]


def test_a_certificate_that_is_not_given_says_how_many_queries_would_do():
    found = certificate([plan(0.3)], plan(0.9, 0.25, 2100))
    assert not found.certified
    assert found.queries_needed == 700
    assert "support no cheaper plan at 98.0% of large's accuracy; about 700 would" in str(found)
    assert "(about 2,100 queries would certify it)" in str(found)


def test_a_certificate_on_few_queries_says_that_they_are_few():
    found = certificate([], queries=12)
    assert "12 calibration queries are too few to test a plan on; 150 are the least" in str(found)


def test_where_nothing_is_cheaper_the_strongest_is_certain():
    assert str(certificate([])) == "Certified: large is always asked, no plan is cheaper"


def test_a_certificate_is_plain_data():
    found = certificate([plan(0.001), plan(0.3, needed=None)], plan(0.3, 0.25))
    assert Certificate.from_dict(json.loads(json.dumps(found.to_dict()))) == found
