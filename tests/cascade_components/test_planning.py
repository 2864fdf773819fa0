import numpy as np
import pytest

from cascade_components.evidence import Evidence
from cascade_components.options import option_table
from cascade_components.planning import Planner, Target


def evidence(rng, queries=400, clusters=4, shares=((0.6, 0.9), (0.9, 0.92), (0.2, 0.8), (0.5, 0.5))):
    labels = np.arange(queries) % clusters
    ease = rng.random(queries)
    correct = np.stack([ease < np.array([s[m] for s in shares])[labels] for m in range(2)], 1).astype(float)[..., None]
    cost = np.broadcast_to(np.array([1.0, 5.0])[None, :, None], correct.shape).copy()
    scores = np.clip(correct * 0.5 + rng.random(correct.shape) * 0.5, 0, 1)
    scores[:, 1] = np.nan
    tokens = np.full(correct.shape, 50.0)
    return Evidence(("small", "large"), tuple(map(str, range(queries))), labels, correct, cost, tokens, scores)


@pytest.fixture
def planner():
    return Planner(option_table(evidence(np.random.default_rng(0)), "cost_usd"), {}, "joint")


@pytest.mark.parametrize("budget", [1.2, 2.0, 3.5])
def test_the_budget_holds_for_both_stages_together(planner, budget):
    point = planner.at(Target(budget=budget))
    assert point.cost <= budget + 1e-9
    assert point.gap == 0


def test_more_budget_never_hurts(planner):
    accuracies = [planner.at(Target(budget=b)).accuracy for b in (1.0, 1.5, 2, 3, 4, 5)]
    assert accuracies == sorted(accuracies)


def test_a_retention_target_is_reached_at_the_least_cost(planner):
    for retention in (0.8, 0.95, 1.0):
        point = planner.at(Target(retention=retention))
        assert point.accuracy >= retention * planner.strongest_accuracy - 1e-9
        assert planner.at(Target(budget=point.cost)).accuracy == pytest.approx(point.accuracy, abs=1e-6)


def test_gates_are_set_where_they_pay_and_nowhere_else(planner):
    point = planner.at(Target(retention=0.99))
    plans = [planner.table.plan(option) for option in point.options]
    assert plans[0].target == "large"
    assert plans[3].target is None, "both models are right equally often: asking again cannot pay"


def test_the_front_is_convex_and_ends_with_the_most_accurate(planner):
    front = planner.front()
    costs, accuracies = [p.cost for p in front], [p.accuracy for p in front]
    assert costs == sorted(costs)
    assert accuracies == sorted(accuracies)
    slopes = np.diff(accuracies) / np.diff(costs)
    assert (np.diff(slopes) <= 1e-9).all()
    for point in front:
        assert planner.at(Target(cost_weight=point.cost_weight)).accuracy >= point.accuracy - 1e-9


def test_without_a_model_no_plan_needs_it(planner):
    options = planner.without(["large"], cost_weight=0.1)
    assert {planner.table.plan(option).start for option in options} == {"small"}
    assert all(planner.table.plan(option).target is None for option in options)


def test_a_price_is_a_factor_on_the_measured_cost(planner):
    cheaper = Planner(planner.table, {"large": 0.2}, "joint")
    assert cheaper.at(Target(retention=1.0)).cost < planner.at(Target(retention=1.0)).cost


@pytest.mark.parametrize("strategy", ["joint", "sequential"])
def test_an_impossible_target_says_what_can_be_had(strategy):
    table = option_table(evidence(np.random.default_rng(0)), "cost_usd", thresholds=[0.5], shrunk=False)
    planner = Planner(table, {}, strategy)
    with pytest.raises(ValueError, match=r"cheapest costs 1\b"):
        planner.at(Target(budget=0.5))
    with pytest.raises(ValueError, match="the most is"):
        planner.at(Target(retention=3.0))


@pytest.mark.parametrize("given", [{}, {"budget": 1, "retention": 1}, {"budget": -1}, {"cost_weight": float("nan")}])
def test_a_target_is_one_sensible_number(given):
    with pytest.raises(ValueError, match=r"Give one of|at least 0"):
        Target(**given)


class TestSequential:
    @pytest.fixture
    def planner(self):
        found = evidence(np.random.default_rng(0))
        return Planner(option_table(found, "cost_usd", thresholds=[0.5], shrunk=False), {}, "sequential")

    def test_the_budget_binds_stage_1_alone(self, planner):
        point = planner.at(Target(budget=3.0))
        plans = [planner.table.plan(option) for option in point.options]
        assert all(plan.target == "large" and plan.threshold == 0.5 for plan in plans if plan.start == "small")
        stage1 = sum({"small": 1, "large": 5}[plan.start] for plan in plans) / 4
        assert stage1 <= 3.0 < point.cost

    def test_retention_takes_the_cheapest_region_that_reaches_it(self, planner):
        point = planner.at(Target(retention=0.95))
        reaching = [p for p in planner.front() if p.accuracy >= 0.95 * planner.strongest_accuracy]
        assert point.cost == min(p.cost for p in reaching)
