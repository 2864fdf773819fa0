"""What the arrays of a policy must be, against each other and against its facts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cascade_components.array_checks import Wanted, check_arrays
from cascade_components.storage import DamagedFileError, Stored

if TYPE_CHECKING:
    from cascade_components.arrays import Floats
    from cascade_components.optimism import Optimism
    from cascade_components.options import OptionTable
    from cascade_components.policy_facts import PolicyFacts

_CELLS = ("queries", "models", "runs")
_OPTIONS = ("options", "clusters")
_ROUNDED = 1e-9
"""A mean of numbers in 0…1 may lie outside by this much."""

WANTED = {
    "clusters": {
        "centroids": Wanted(("clusters", "dim"), low=-1e9, high=1e9),
        "radius": Wanted(("clusters",), low=0, infinite=True),
    },
    "options": {
        "start": Wanted(("options",), low=0, high="models", kind="int"),
        "target": Wanted(("options",), low=-1, high="models", kind="int"),
        "threshold": Wanted(("options",), nan=True),
        "accuracy": Wanted(_OPTIONS, low=-_ROUNDED, high=1 + _ROUNDED),
        "start_cost": Wanted(_OPTIONS, low=-_ROUNDED),
        "target_cost": Wanted(_OPTIONS, low=-_ROUNDED),
        "escalation": Wanted(_OPTIONS, low=-_ROUNDED, high=1 + _ROUNDED),
        "sizes": Wanted(("clusters",), low=0),
    },
    "evidence": {
        "labels": Wanted(("queries",), low=0, high="clusters", kind="int"),
        "correct": Wanted(_CELLS, low=-_ROUNDED, high=1 + _ROUNDED, nan=True),
        "cost": Wanted(_CELLS, low=0, nan=True),
        "output_tokens": Wanted(_CELLS, low=0, nan=True),
        "scores": Wanted(_CELLS, nan=True),
        "coordinates": Wanted(("queries", "axes"), optional=True),
        "distances": Wanted(("queries",), low=0, nan=True, infinite=True, optional=True),
        "p_correct": Wanted(_CELLS, low=-_ROUNDED, high=1 + _ROUNDED, nan=True, optional=True),
    },
}
"""By group, in the order in which their sizes are known."""


def check_policy_arrays(stored: Stored, facts: PolicyFacts) -> None:
    """Check all arrays but those of the estimators.

    Raises:
        ValueError: One is something else; the message says which, where, and what was found.
    """
    sizes = {"models": len(facts.models), "queries": len(facts.query_ids), "clusters": len(facts.point.options)}
    for group, wanted in WANTED.items():
        check_arrays(stored.files[group], stored.arrays[group], wanted, sizes)
    _check_options(stored, facts, sizes)
    _check_sizes(stored)


def _check_options(stored: Stored, facts: PolicyFacts, sizes: dict[str, int]) -> None:
    file, arrays = stored.files["options"], stored.arrays["options"]
    start, target, gated = arrays["start"], arrays["target"], arrays["target"] >= 0
    alone = np.bincount(start[~gated], minlength=len(facts.models))
    if (alone != 1).any():
        model = facts.models[int(np.flatnonzero(alone != 1)[0])]
        raise DamagedFileError(
            file, f"start and target must have one option of {model} alone, found {alone[alone != 1][0]}"
        )
    if (target[gated] <= start[gated]).any():
        raise DamagedFileError(file, "target must be a stronger model than start")
    if (np.isnan(arrays["threshold"]) == gated).any():
        raise DamagedFileError(file, "threshold must be a number where there is a target, and NaN elsewhere")
    for position in np.unique(start[gated]):
        if facts.models[position] not in facts.estimators:
            raise DamagedFileError(stored.index, f"estimators lacks {facts.models[position]}, which is gated")
    if max(facts.point.options) >= sizes["options"]:
        what = f"point.options must lie below the number of options, {sizes['options']}, found {facts.point.options}"
        raise DamagedFileError(stored.index, what)


def _check_sizes(stored: Stored) -> None:
    sizes, labels = stored.arrays["options"]["sizes"], stored.arrays["evidence"]["labels"]
    if not sizes.sum() > 0:
        raise DamagedFileError(stored.files["options"], "sizes must have queries in a cluster")
    if labels.size and not np.array_equal(np.bincount(labels, minlength=len(sizes)), sizes):
        raise DamagedFileError(stored.files["options"], "sizes must be what labels of the evidence count")


def check_point(file: Path, facts: PolicyFacts, table: OptionTable, optimism: Optimism) -> None:
    """Check that the operating point promises what its options do.

    Raises:
        ValueError: It promises something else.
    """
    options = np.array(facts.point.options)
    cost = _mean(table, table.cost(facts.factors), options)
    accuracy = _mean(table, table.accuracy, options)
    if len(set(facts.point.options)) > 1 or table.target[options[0]] >= 0:
        accuracy -= optimism.at(facts.point.cost_weight)  # a choice among plans
    for name, promised in (("cost", cost), ("accuracy", accuracy)):
        found = getattr(facts.point, name)
        if not np.isclose(found, promised, rtol=1e-6, atol=1e-9):
            raise DamagedFileError(file, f"point.{name} must be that of its options, {promised:.6g}, found {found:.6g}")
    budget = facts.target.budget
    if facts.strategy == "joint" and budget is not None and cost > budget * (1 + 1e-6) + 1e-12:
        raise DamagedFileError(file, f"point.cost must be within target.budget, {budget:g}, found {cost:g}")


def _mean(table: OptionTable, values: Floats, options: Floats) -> float:
    return float(table.weights @ values[options, np.arange(len(options))])
