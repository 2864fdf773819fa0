"""A policy that plans what it is told, without a framework."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from cascade_components.serving.call import ServedCall, Serving
from cascade_components.serving.turn import Turn
from cascade_components.stickiness import Stay
from cascade_components.trace import EarlyRelease, Plan, Route

UNGATED, GATED = Plan("small"), Plan("small", "large", 0.5)


@dataclass(frozen=True)
class Policy:
    plan: Plan = UNGATED
    probability: float = 0.9
    sure: bool = False
    models: tuple = ("small", "large")
    fingerprint: str = "f"
    points: list = field(default_factory=list)

    def route(self, query, available):
        start = self.plan.start if self.plan.start in available else max(available, key=self.models.index)
        plan = self.plan if start == self.plan.start and self.plan.target in available else Plan(start)
        return Route(plan, 0, 0.5, f"cluster 0: {plan}")

    def estimator(self, model):
        return self

    def predict_proba(self, queries, answers):
        return np.full(len(queries), self.probability)

    def early_release(self, query, answer, threshold):
        return EarlyRelease(4, 0.95, 0.9) if self.sure else None

    def staying(self, route, model, available):
        return Stay(Plan(model))

    def expected_output_tokens(self, model):
        return 10.0

    @property
    def last_resorts(self):
        return self.models

    def cost_usd(self, model, input_tokens, output_tokens):
        return (0.001 if model == "small" else 0.01) * (input_tokens + output_tokens)

    def cheaper(self, pressure):
        self.points.append(("cheaper", pressure))
        return replace(self, plan=Plan("small"))

    def at(self, **target):
        self.points.append(target)
        return replace(self, plan=Plan("large"))


@pytest.fixture
def policy():
    return Policy


@pytest.fixture
def begun():
    """A call that has begun."""

    def begun(policy, *, heard=False, serving=None, **turn):
        given = {"text": "a question", "able": frozenset(policy.models), **turn}
        call = ServedCall(Serving(policy, **(serving or {})), Turn(**given))
        call.begin(heard=heard)
        return call

    return begun
