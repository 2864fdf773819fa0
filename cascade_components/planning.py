"""Which plan each cluster gets, for a budget, a retention target or a cost weight.

"joint" chooses Stage 1 and 2 together, exactly; "sequential" is the procedure of arXiv 2606.27457.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from cascade_components.arrays import Floats, Labels
from cascade_components.knapsack import Choice, best_at_price, front_steps, least_cost, most_value, shadow_price
from cascade_components.optimism import NO_OPTIMISM, Optimism
from cascade_components.options import OptionTable
from cascade_components.pool import PoolStats, pareto_front
from cascade_components.routing import Region, best_region, regions, route, stage2_gates

Strategy = Literal["joint", "sequential"]

_EPS = 1e-12


@dataclass(frozen=True)
class Target:
    """What a policy is planned for; exactly one is given.

    Raises:
        ValueError: None or several are given, or the number is negative or not finite.

    Example:
        >>> str(Target(retention=0.98))
        'retention 0.98'
    """

    budget: float | None = None
    """Mean cost per query, both stages together, in the metric's units."""
    retention: float | None = None
    """Share of the strongest model's accuracy to keep."""
    cost_weight: float | None = None
    """λ, in Eq. 2 units."""

    def __post_init__(self) -> None:
        if len(self._given) != 1:
            msg = f"Give one of budget, retention and cost_weight; found {', '.join(self._given) or 'none'}."
            raise ValueError(msg)
        for name, value in self._given.items():
            if not np.isfinite(value) or value < 0:
                msg = f"{name} must be a finite number of at least 0, found {value}."
                raise ValueError(msg)

    @property
    def _given(self) -> dict[str, float]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        return "".join(f"{name.replace('_', ' ')} {value:g}" for name, value in self._given.items())


@dataclass(frozen=True)
class OperatingPoint:
    """One option for each cluster, and what that is expected to give."""

    options: tuple[int, ...]
    accuracy: float
    """On queries that the plan was not chosen on."""
    cost: float
    """Mean per query, both stages together, in the metric's units."""
    cost_weight: float
    """λ in Eq. 2 units; for "joint" the shadow price of the budget."""
    gap: float = 0.0
    """How much accuracy (for a retention target: cost) the optimum could at most gain over this; 0: exact."""


@dataclass(frozen=True)
class Planner:
    """Finds operating points on an option table.

    Args:
        table: The options.
        factors: A model's price as a factor on its measured cost; 1 where not named.
        strategy: "joint" or "sequential".
        optimism: What the table promises too much.
    """

    table: OptionTable
    factors: Mapping[str, float]
    strategy: Strategy
    optimism: Optimism = NO_OPTIMISM

    def at(self, target: Target) -> OperatingPoint:
        """The best operating point for a target.

        Raises:
            ValueError: No plan is within the budget, or none keeps that much; the message names what can be had.
        """
        if self.strategy == "sequential":
            return self._sequential(target)
        if target.cost_weight is not None:
            options = best_at_price(self.table.accuracy, self._cost, self.accuracy_per_cost(target.cost_weight))
            return self._point(options, target.cost_weight)
        if target.budget is not None:
            choice = most_value(self.table.accuracy, self._cost, self.table.weights, target.budget)
            if choice is None:
                raise ValueError(self._beyond(target.budget))
        else:
            choice = self._keeping(target.retention or 0.0)
        point = self._point(choice.options, 0.0, gap=choice.gap)
        price = shadow_price(self.table.accuracy, self._cost, self.table.weights, point.cost)
        return self._point(choice.options, price * self._unit, gap=choice.gap)

    def _keeping(self, retention: float) -> Choice:
        """The cheapest plans that are expected to keep this much on queries that they were not chosen on."""
        floor, front = retention * self.strongest_accuracy, self.front()
        reaching = [point for point in front if point.accuracy >= floor - _EPS]
        always = np.flatnonzero((self.table.start == len(self.table.models) - 1) & (self.table.target < 0))
        if not reaching:
            if retention > 1 + _EPS:
                raise ValueError(self._unreached(retention, front))
            # No choice made on these queries can be trusted that far; to make none can.
            return Choice(np.repeat(always, len(self.table.sizes)), 0.0)
        cheapest = min(reaching, key=lambda point: point.cost)
        promised = floor + self.optimism.at(cheapest.cost_weight)
        choice = least_cost(self.table.accuracy, self._cost, self.table.weights, promised)
        # One model for all promises nothing too much, and may reach the floor alone.
        return choice or Choice(np.array(cheapest.options), 0.0)

    def front(self) -> list[OperatingPoint]:
        """Every operating point that some cost weight makes the best, from the cheapest to the most accurate."""
        if self.strategy == "sequential":
            return sorted((self._gated(region) for region in self._regions), key=lambda point: point.cost)
        options, steps = front_steps(self.table.accuracy, self._cost)
        # Between two steps' prices the routing is constant; the lower one names the point.
        prices = [*(step.price * self._unit for step in steps), 0.0]
        points = [self._point(options, prices[0])]
        for step, price in zip(steps, prices[1:], strict=True):
            options = options.copy()
            options[step.cluster] = step.option
            points.append(self._point(options, price))
        return points

    def without(self, out: Iterable[str], cost_weight: float) -> tuple[int, ...]:
        """One option for each cluster while some models cannot be called, at the policy's cost weight."""
        allowed = self.table.without(sorted(out))
        best = best_at_price(self.table.accuracy[allowed], self._cost[allowed], self.accuracy_per_cost(cost_weight))
        return tuple(int(option) for option in allowed[best])

    def accuracy_per_cost(self, cost_weight: float) -> float:
        """Eq. 2's λ as the accuracy that one unit of the metric is worth."""
        return cost_weight / self._unit

    @property
    def unit(self) -> float:
        """Cost of one Eq. 2 unit, in the metric's units."""
        return self._unit

    @property
    def cost(self) -> Floats:
        """Expected cost of each option at today's prices, shape (options, clusters)."""
        return self._cost

    @property
    def strongest_accuracy(self) -> float:
        """Expected accuracy of always asking the strongest model."""
        strongest = (self.table.start == len(self.table.models) - 1) & (self.table.target < 0)
        return float(self.table.weights @ self.table.accuracy[strongest][0])

    @cached_property
    def _cost(self) -> Floats:
        return self.table.cost(self.factors)

    @cached_property
    def _pool(self) -> PoolStats:
        return self.table.pool(self.factors)

    @cached_property
    def _unit(self) -> float:
        """Cost of one Eq. 2 unit: max − min of the models' mean costs; the paper takes it after pruning."""
        pool = self._pruned if self.strategy == "sequential" else self._pool
        return float(np.ptp(pool.model_cost)) or 1.0

    def _point(self, options: Labels, cost_weight: float, gap: float = 0.0) -> OperatingPoint:
        cells = options, np.arange(len(options))
        accuracy, cost = (float(self.table.weights @ array[cells]) for array in (self.table.accuracy, self._cost))
        if len(set(options.tolist())) > 1 or self.table.target[options[0]] >= 0:
            accuracy -= self.optimism.at(cost_weight)
        return OperatingPoint(tuple(map(int, options)), accuracy, cost, cost_weight, gap)

    # The paper's procedure: prune, sweep λ, then gate every cluster that costs less than the target.

    @cached_property
    def _pruned(self) -> PoolStats:
        return self._pool.only(pareto_front(self._pool))

    @cached_property
    def _regions(self) -> list[Region]:
        return regions(self._pruned)

    def _sequential(self, target: Target) -> OperatingPoint:
        if target.budget is not None:
            return self._gated(best_region(self._pruned, target.budget))
        if target.cost_weight is not None:
            options = self._gate(route(self._pruned, target.cost_weight))
            return self._point(options, target.cost_weight)
        points = self.front()
        floor = (target.retention or 0.0) * self.strongest_accuracy
        reaching = [point for point in points if point.accuracy >= floor - _EPS]
        if not reaching:
            raise ValueError(self._unreached(target.retention or 0.0, points))
        return min(reaching, key=lambda point: (point.cost, -point.accuracy))

    def _gated(self, region: Region) -> OperatingPoint:
        return self._point(self._gate(region.routing), region.cost_weight)

    def _gate(self, routing: tuple[str, ...]) -> Labels:
        target, gates = stage2_gates(self._pruned, routing)
        at = self.table.models.index
        return np.array(
            [self._option(at(m), at(target) if gate else -1) for m, gate in zip(routing, gates, strict=True)]
        )

    def _option(self, start: int, target: int) -> int:
        """The option of this pair; ungated where the start model has no estimator."""
        found = np.flatnonzero((self.table.start == start) & (self.table.target == target))
        return int(found[0]) if found.size else self._option(start, -1)

    def _beyond(self, budget: float) -> str:
        cheapest = self.front()[0]
        return f"No plan is within the budget of {budget:g} per query: the cheapest costs {cheapest.cost:.6g}."

    def _unreached(self, retention: float, points: list[OperatingPoint]) -> str:
        most = max(point.accuracy for point in points) / self.strongest_accuracy
        return f"No plan keeps {retention:.2%} of the strongest model's accuracy: the most is {most:.2%}."
