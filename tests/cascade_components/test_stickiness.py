from dataclasses import dataclass

import pytest

import cascade_components as cc
from cascade_components.stickiness import Incumbent, Stay, sticky_route
from cascade_components.trace import Plan, Route

LADDER = ("small", "large")
PRICES = {
    "small": cc.TokenPrice.per_million(input=1, output=2, cache_read=0.1),
    "large": cc.TokenPrice.per_million(input=2, output=4, cache_read=0.2),
}


@dataclass
class Policy:
    start: str = "small"
    gain: float | None = None
    accuracy_per_usd: float | None = None
    models: tuple = LADDER
    fingerprint: str = "f"

    def route(self, query, available):
        return Route(Plan(self.start), 0, 0.1, "cluster 0")

    def estimator(self, model):
        return None

    def staying(self, route, model, available):
        return Stay(Plan(model), self.gain, self.accuracy_per_usd)

    def expected_output_tokens(self, model):
        return 100.0


def start_of(policy, incumbent, sticky, prices=None):
    return sticky_route(policy, "a question", frozenset(LADDER), incumbent, sticky, prices or {}).plan.start


@pytest.mark.parametrize(("sticky", "start"), [("loop", "large"), ("thread", "large"), (None, "small")])
def test_a_tool_loop_stays(sticky, start):
    assert start_of(Policy(), Incumbent("large", in_tool_loop=True), sticky) == start


def test_a_tool_loop_stays_with_a_weaker_model_too():
    assert start_of(Policy(start="large"), Incumbent("small", in_tool_loop=True), "loop") == "small"


def test_nobody_stays_who_cannot_be_asked_or_is_not_there():
    gone = Incumbent("large", in_tool_loop=True)
    assert sticky_route(Policy(), "q", frozenset({"small"}), gone, "loop", {}).plan.start == "small"
    assert start_of(Policy(), None, "thread") == "small"


@pytest.mark.parametrize(("sticky", "start"), [("loop", "small"), ("thread", "large"), (None, "small")])
def test_from_turn_to_turn_a_thread_stays_with_a_stronger_model(sticky, start):
    assert start_of(Policy(), Incumbent("large", in_tool_loop=False), sticky) == start


def test_a_thread_goes_to_a_stronger_model_where_the_router_wants_one():
    assert start_of(Policy(start="large"), Incumbent("small", in_tool_loop=False), "thread") == "large"


@pytest.mark.parametrize(
    ("cached", "start"),
    [
        (0, "small"),  # nothing to lose: the router's choice
        (10_000, "large"),  # 10,000 cached tokens at 0.2 against 10,000 cold ones at 1
    ],
)
def test_a_thread_weighs_the_cache_that_a_switch_would_lose(cached, start):
    policy = Policy(gain=0.0, accuracy_per_usd=100.0)
    incumbent = Incumbent("large", in_tool_loop=False, cached_tokens=cached, new_tokens=100)
    assert start_of(policy, incumbent, "thread", PRICES) == start


@pytest.mark.parametrize(("gain", "start"), [(-0.3, "large"), (-0.1, "small")])
def test_a_thread_weighs_accuracy_against_the_lost_cache(gain, start):
    # The router wants the large model: staying saves (2 · 5000 − 0.1 · 5000 + 200) · 1e-6 USD, worth 0.2 at this λ.
    policy = Policy(start="large", gain=gain, accuracy_per_usd=0.2 / 0.0097)
    incumbent = Incumbent("small", in_tool_loop=False, cached_tokens=5000)
    assert start_of(policy, incumbent, "thread", PRICES) == start


def test_a_fitted_policy_says_what_staying_means(policy):
    available = frozenset(policy.models)
    route = policy.route("sums question 1", available)
    stay = policy.staying(route, "large", available)
    assert stay.plan == Plan("large")
    assert stay.gain is not None
    assert stay.accuracy_per_usd is not None
    assert policy.staying(route, route.plan.start, available).plan.start == route.plan.start
    # Without its target, the best plan that starts with a model is another one.
    assert policy.staying(route, "small", frozenset({"small"})).plan == Plan("small")
    assert policy.staying(Route(Plan("large"), None, 9.0, "far"), "small", available) == Stay(Plan("small"))
    with pytest.raises(ValueError, match="huge not in the policy"):
        policy.staying(route, "huge", available)
