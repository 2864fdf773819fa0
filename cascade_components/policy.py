"""The fitted, immutable artifact: clusters, options and estimators, and the plan chosen among them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cascade_components import policy_data
from cascade_components.answers import Answer
from cascade_components.arrays import nan_mean
from cascade_components.cascade import QualityEstimator
from cascade_components.clustering import nearest
from cascade_components.encoders import Encoder
from cascade_components.planning import OperatingPoint, Planner, Target
from cascade_components.policy_data import PolicyData
from cascade_components.stickiness import Stay
from cascade_components.trace import EarlyRelease, Plan, Route
from cascade_components.warming import warm_up

if TYPE_CHECKING:
    from cascade_components.monitoring.feedback import Feedback
    from cascade_components.quality.saving import Given


_KEPT_PLANS = 64


@dataclass(frozen=True)
class CascadePolicy(PolicyData):
    """What `fit` found: who starts, who is asked next, and at which threshold. Every change makes a new policy.

    Example:
        >>> policy = CascadePolicy.load("policy/")            # doctest: +SKIP
        >>> print(policy.at(budget=0.002).describe())         # doctest: +SKIP
    """

    # — what a cascade asks (the Router protocol) —

    @property
    def strongest(self) -> str:
        """The model with the highest accuracy on the training data."""
        return self.models[-1]

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with anything that changes a decision."""
        digest = hashlib.sha256(json.dumps(policy_data.facts(self), sort_keys=True).encode())
        for name, arrays in policy_data.groups(self).items():
            for key in sorted(arrays):
                digest.update(f"{name}.{key}".encode() + np.ascontiguousarray(arrays[key]).tobytes())
        return digest.hexdigest()[:12]

    def route(self, query: str, available: frozenset[str]) -> Route:
        """Find the query's cluster and its plan among the models that can be called now.

        A query far from every centroid goes to the strongest of them.
        """
        labels, distances = nearest(self.encoder([query]).astype(float), self.centroids)
        cluster, distance = int(labels[0]), float(distances[0])
        if distance > self.radius[cluster]:
            safest = next(model for model in reversed(self.models) if model in available)
            return Route(Plan(safest), None, distance, f"far from every cluster: {safest} is asked")
        out = frozenset(self.models) - available
        plan = self.plans(out)[cluster]
        without = f" without {', '.join(sorted(out))}" if out else ""
        return Route(plan, cluster, distance, f"cluster {cluster}{without}: {plan}")

    def estimator(self, model: str) -> QualityEstimator | None:
        """The calibrated estimator for this model's answers; None where it has none."""
        return self.estimators.get(model)

    def early_release(self, query: str, answer: Answer, threshold: float) -> EarlyRelease | None:
        """Read an answer so far: may it be released before its model's gate, with this threshold, has seen all of it?

        None where it may not (yet).
        """
        rule = self.releases.get(answer.model)
        return None if rule is None else rule.read(query, answer, threshold)

    def plans(self, out: frozenset[str] = frozenset()) -> tuple[Plan, ...]:
        """The plan of each cluster; with models out, the best plans without them at the same cost weight.

        Those without a single model are solved when the first plan is asked for, the largest tables in a millisecond
        or two; of those without several, the latest are kept.
        """
        found = self._plans.get(out) or self._several_out.get(out)
        if found is None:
            found = self._solved(out)
            if len(self._several_out) >= _KEPT_PLANS:
                oldest, *_ = list(self._several_out)  # a copy, for other threads may add to it
                self._several_out.pop(oldest, None)
            self._several_out[out] = found
        return found

    @property
    def every_plan(self) -> tuple[Plan, ...]:
        """The plan of each cluster, and last the one for queries out of the map."""
        return (*self.plans(), Plan(self.strongest))

    @cached_property
    def _plans(self) -> dict[frozenset[str], tuple[Plan, ...]]:
        single = [frozenset({model}) for model in self.models] if len(self.models) > 1 else []
        return {out: self._solved(out) for out in (frozenset[str](), *single)}

    @cached_property
    def _several_out(self) -> dict[frozenset[str], tuple[Plan, ...]]:
        return {}

    def _solved(self, out: frozenset[str]) -> tuple[Plan, ...]:
        options = self.planner.without(out, self.point.cost_weight) if out else self.point.options
        return tuple(self.table.plan(option) for option in options)

    @cached_property
    def planner(self) -> Planner:
        """Finds other operating points on the same options."""
        return Planner(self.table, self.factors, self.strategy, self.optimism)

    def cost_usd(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """Price of one call in USD, by the token prices that the outcomes imply; None where they imply none."""
        price = self.prices.get(model)
        if price is None:
            return None
        factor = self.factors.get(model, 1.0) if self.metric == "cost_usd" else 1.0
        return factor * price.cost_usd(input_tokens, output_tokens)

    def warm_up(self) -> Self:
        """Load what a first call would wait for: the encoder, the estimators, the plans with a model out.

        For servers: call it in each process before traffic comes, after a fork. The answers of a made-up call are
        judged, by estimators of your own, too.

        Raises:
            Exception: What an encoder or an estimator raises: it would have, on every call.

        Example:
            >>> policy = CascadePolicy.load("policy/").warm_up()      # doctest: +SKIP
        """
        warm_up(self)
        return self

    # — what serving a conversation, or a spending limit, asks —

    def staying(self, route: Route, model: str, available: frozenset[str]) -> Stay:
        """What it means for a query that would take `route` to stay with `model`: its best plan, and what that gains.

        Raises:
            ValueError: The model is not in the policy.
        """
        self._check_known([model])
        if route.cluster is None:
            return Stay(Plan(model))
        cluster, price = route.cluster, self.planner.accuracy_per_cost(self.point.cost_weight)
        starting = self.table.start == self.models.index(model)
        options = np.intersect1d(np.flatnonzero(starting), self.table.without(sorted(set(self.models) - available)))
        accuracy = self.table.accuracy[:, cluster]
        value = accuracy - price * self.table.cost(self.factors)[:, cluster]
        best = int(options[np.argmax(value[options])])
        routed = next(option for option in range(len(value)) if self.table.plan(option) == route.plan)
        gain = float(accuracy[best] - accuracy[routed])
        return Stay(self.table.plan(best), gain, price if self.metric == "cost_usd" else None)

    @property
    def last_resorts(self) -> tuple[str, ...]:
        """The models whose answers stand, weakest first: those that a plan ends with, and the strongest."""
        ends = {plan.target or plan.start for plan in self.plans()} | {self.strongest}
        return tuple(model for model in self.models if model in ends)

    def expected_output_tokens(self, model: str) -> float | None:
        """Mean length of the model's answers in the outcomes, in tokens; None where they don't tell."""
        mean = float(nan_mean(self.evidence.output_tokens[:, self.models.index(model)].ravel()))
        return None if np.isnan(mean) else mean

    def cheaper(self, pressure: float) -> CascadePolicy:
        """The policy at a cheaper point of its front.

        Args:
            pressure: How far to go: 0 stays here, 1 is the cheapest point.
        """
        points = [point for point in self.planner.front() if point.cost < self.point.cost]
        steps = round(pressure * len(points))
        if steps == 0:
            return self
        point = points[len(points) - steps]
        return self._moved(Target(cost_weight=point.cost_weight), point)

    # — other operating points, other pools —

    def at(
        self, *, budget: float | None = None, retention: float | None = None, cost_weight: float | None = None
    ) -> CascadePolicy:
        """The same fit at another operating point: nothing is retrained.

        Args:
            budget: Mean cost per query, both stages together, in the metric's units.
            retention: Share of the strongest model's accuracy to keep.
            cost_weight: λ, in Eq. 2 units.

        Raises:
            ValueError: Not exactly one is given, or it cannot be met; the message names what can be had.
        """
        target = Target(budget, retention, cost_weight)
        return self._moved(target, self.planner.at(target))

    def remove_model(self, model: str) -> CascadePolicy:
        """The policy of the pool without a model: plans are solved again, nothing is refitted.

        Raises:
            ValueError: The model is not in the policy, or is the last one.
        """
        self._check_known([model])
        if len(self.models) == 1:
            msg = f"{model} is the policy's last model and cannot be removed."
            raise ValueError(msg)
        table = self.table.remove(model)
        return self.replanned(
            table=table,
            evidence=self.evidence.only(table.models),
            estimators={name: found for name, found in self.estimators.items() if name != model},
            releases={name: rule for name, rule in self.releases.items() if name != model},
            prices={name: price for name, price in self.prices.items() if name != model},
            factors={name: factor for name, factor in self.factors.items() if name != model},
        )

    def reprice(self, factors: Mapping[str, float]) -> CascadePolicy:
        """The policy at new prices: plans are solved again.

        Args:
            factors: For each model named, the new cost as a factor on the measured one.

        Raises:
            ValueError: A model is not in the policy, or a factor is not a positive number.
        """
        self._check_known(factors)
        for model, factor in factors.items():
            if not (np.isfinite(factor) and factor > 0):
                msg = f"The price factor of {model} must be a positive number, found {factor}."
                raise ValueError(msg)
        return self.replanned(factors={**self.factors, **factors})

    def refresh(self, feedback: Feedback) -> CascadePolicy:
        """The policy with accuracies as feedback tells them: plans are solved again, nothing is refitted.

        Accuracies move no further than the feedback supports (see `Feedback.applied`); without any, nothing changes.

        Raises:
            ValueError: It is feedback on another policy's answers, this one refreshed already, say.
        """
        if feedback.policy != self.fingerprint:
            msg = f"This is feedback on policy {feedback.policy}, not on {self.fingerprint}: refresh that one."
            raise ValueError(msg)
        return self.replanned(table=feedback.applied(self.table)) if feedback.cells else self

    def replanned(self, **changes: Any) -> CascadePolicy:
        """A copy with changes, its plan solved again for the same target."""
        changed = replace(self, **changes)
        return changed._moved(self.target, changed.planner.at(self.target))

    def front(self) -> list[CascadePolicy]:
        """The policy at every operating point of its convex front, from the cheapest to the most accurate."""
        points = self.planner.front()
        return [self._moved(Target(cost_weight=point.cost_weight), point) for point in points]

    def _moved(self, target: Target, point: OperatingPoint) -> CascadePolicy:
        """The policy at another operating point, for which a certificate does not hold."""
        return replace(self, target=target, point=point, certificate=None)

    def _check_known(self, models: Any) -> None:
        unknown = sorted(set(models) - set(self.models))
        if unknown:
            msg = f"{', '.join(unknown)} not in the policy; it knows {', '.join(self.models)}."
            raise ValueError(msg)

    # — on disk, on paper —

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy as a folder of JSON and safetensors; a policy that lies there is replaced.

        Raises:
            FileExistsError: Something else than a policy lies there.
            OSError: It could not be written; what lay there still does.
            ValueError: It could not be loaded again.
        """
        policy_data.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: Encoder | None = None,
        quality: Given | Mapping[str, Given] | None = None,
    ) -> Self:
        """Read a policy.

        Args:
            path: The folder.
            encoder: The callable it was fitted with, where that could not be saved as data.
            quality: The trained estimator (or one for each model) where that could not be saved as data, or the
                nn.Module whose weights were saved.

        Raises:
            FileNotFoundError: There is no policy in this folder.
            ValueError: A file is damaged, or an encoder or estimator has to be given.
        """
        return cls(**policy_data.load(path, encoder, quality))

    def describe(self) -> str:
        """A readable table: each cluster's size, plan, expected accuracy and cost."""
        alone = self.table.pool(self.factors)
        strongest = float(alone.model_cost[-1]) or 1.0
        retention = self.point.accuracy / (self.planner.strongest_accuracy or 1.0)
        lines = [
            f"Cascade policy {self.fingerprint}: {', '.join(self.models)} (weakest first)",
            f"{self.strategy}, {self.target}; cost is {self.metric}",
            f"expected: accuracy {self.point.accuracy:.3f} ({retention:.1%} of {self.strongest}), "
            f"cost {self.point.cost:.4g} ({self.point.cost / strongest:.0%}), cost weight {self.point.cost_weight:.3g}"
            + (f", optimality gap {self.point.gap:.2g}" if self.point.gap else ""),
            *([] if self.certificate is None else str(self.certificate).splitlines()),
            "",
        ]
        plans = [str(plan) for plan in self.plans()]
        width = max(len("plan"), *map(len, plans))
        lines.append(f"{'cluster':>7}  {'size':>6}  {'plan':<{width}}  {'accuracy':>8}  {'cost':>9}  {'escalates':>9}")
        cost = self.table.cost(self.factors)
        for cluster, (option, plan) in enumerate(zip(self.point.options, plans, strict=True)):
            lines.append(
                f"{cluster:>7}  {self.table.sizes[cluster]:>6.0f}  {plan:<{width}}  "
                f"{self.table.accuracy[option, cluster]:>8.3f}  {cost[option, cluster]:>9.4g}  "
                f"{self.table.escalation[option, cluster]:>9.0%}"
            )
        return "\n".join(lines)
