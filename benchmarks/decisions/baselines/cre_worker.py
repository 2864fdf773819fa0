"""Runs where cre-router is installed: `python cre_worker.py given.npz found.npz`, see `cre.py`.

Given: `train` and `test` vectors, `correct` and `cost` (queries, models) of the training part, `weights` (λ), and
`retentions` (accuracies to keep) and `budgets` in the units of `cost`. Found: `labels` of the test queries, and for
each λ, retention and budget a row of `start` (model of each cluster) and `gated`, and its `target`.
"""

import sys
from typing import Any

import numpy as np
from cre_router.clustering import assign_clusters, fit_clusters
from cre_router.routing import (
    ModelStats,
    assign,
    models_from_stats,
    pareto_prune,
    routing_regions,
    select_lambda,
    stage2_plan,
    system_metrics,
)


def main() -> None:
    """Plan, and write what was planned."""
    with np.load(sys.argv[1]) as stored:
        given = dict(stored)
    clusters = fit_clusters(given["train"])
    models, sizes = models_from_stats(_stats(given, clusters.labels), cost_metric="e2el")
    efficient, _ = pareto_prune(models)
    routings = [assign(efficient, float(weight)) for weight in given["weights"]]
    routings += [_keeping(efficient, sizes, float(accuracy)) for accuracy in given["retentions"]]
    routings += [_within(efficient, sizes, float(budget)) for budget in given["budgets"]]
    names = [str(cluster) for cluster in range(clusters.k)]
    plans = [stage2_plan(efficient, routing, sizes) for routing in routings]
    np.savez(
        sys.argv[2],
        labels=assign_clusters(given["test"], clusters.centroids),
        start=np.array([[int(routing[cluster]) for cluster in names] for routing in routings]),
        gated=np.array([[cluster in plan.gated for cluster in names] for plan in plans]),
        target=np.array([int(plan.target or 0) for plan in plans]),
    )


def _stats(given: dict[str, Any], labels: Any) -> dict[str, Any]:
    """As `cre fit` reads them; models are named by their position."""
    names = [str(cluster) for cluster in range(int(labels.max()) + 1)]
    members = {name: labels == int(name) for name in names}

    def means(values: Any) -> dict[str, float]:
        return {name: float(values[rows].mean()) for name, rows in members.items()}

    models = {}
    for model in range(given["correct"].shape[1]):
        cost = means(given["cost"][:, model])
        models[str(model)] = {
            "errors": means(1 - given["correct"][:, model]),
            "cluster_tpot_ms": cost,
            "cluster_e2el_ms": cost,
        }
    return {"cluster_sizes": {name: int(rows.sum()) for name, rows in members.items()}, "models": models}


def _keeping(models: list[ModelStats], sizes: dict[str, float], accuracy: float) -> dict[str, str]:
    """The cheapest region that is so accurate; else the most accurate."""
    found = [(*system_metrics(models, region.assignment, sizes), region) for region in routing_regions(models)]
    keeping = [row for row in found if row[0] >= accuracy - 1e-12]
    best = min(keeping, key=lambda row: row[1]) if keeping else max(found, key=lambda row: row[0])
    return best[2].assignment


def _within(models: list[ModelStats], sizes: dict[str, float], budget: float) -> dict[str, str]:
    try:
        return select_lambda(models, sizes, budget).region.assignment
    except ValueError:  # no region is so cheap
        return assign(models, 1e6)


if __name__ == "__main__":
    main()
