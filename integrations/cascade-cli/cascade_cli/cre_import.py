"""`cascade import-cre`: artifacts of cre-router become a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cascade_components.cre import CreArtifacts
from cascade_components.policy import CascadePolicy

if TYPE_CHECKING:
    from cascade_components.cascade import QualityEstimator

_NO_ESTIMATOR, _WEAKER_TARGET = "no estimator", "target no more accurate"


def run_cre_import(
    artifacts: Path, output: Path, *, estimators: Sequence[str] = (), max_length: int, served_only: bool, show: bool
) -> dict[str, Any]:
    """Read the folder, save the policy, say what became of it.

    Args:
        artifacts: The folder with centroids.npy and router.json.
        output: The policy's folder.
        estimators: MODEL=FOLDER of each model whose answers a fine-tuned checkpoint judges.
        max_length: Tokens that the checkpoints read.
        served_only: Leave out the models that neither serve a cluster nor are escalated to.
        show: Print it for people.

    Returns:
        The same as JSON data.

    Raises:
        FileExistsError: Something else than a policy lies at `output`.
        FileNotFoundError: A file is missing.
        OSError: A checkpoint cannot be had.
        ValueError: Something is wrong in one, or in an option.
    """
    found = CreArtifacts.read(artifacts)
    quality = _trained(estimators, found.stats.models, max_length)
    policy = found.policy(quality=quality or None, served_only=served_only)
    policy.save(output)
    gates = _gates(found, policy)
    if show:
        typer.echo(policy.describe())
        for line in _notes(found, gates, quality, artifacts):
            typer.echo(line)
    return {
        "policy": str(output),
        "fingerprint": policy.fingerprint,
        "models": list(policy.models),
        "metric": policy.metric,
        "routing": {str(cluster): model for cluster, model in enumerate(found.routing)},
        "cost_weight": found.cost_weight,
        "budget": found.budget,
        "accuracy": policy.point.accuracy,
        "cost": policy.point.cost,
        "gated": {cluster: gate for cluster, gate in gates.items() if "threshold" in gate},
        "ungated": {cluster: gate for cluster, gate in gates.items() if "threshold" not in gate},
    }


def _trained(options: Sequence[str], models: Sequence[str], max_length: int) -> dict[str, QualityEstimator]:
    """Model → its checkpoint as an estimator; what is wrong in an option is said before any is loaded."""
    folders: dict[str, str] = {}
    for option in options:
        model, _, folder = option.partition("=")
        if not (model and folder):
            msg = f"--estimator must be MODEL=FOLDER, found {option!r}."
            raise ValueError(msg)
        if model not in models:
            msg = f"--estimator {option}: there is no model {model!r}, only {', '.join(models)}."
            raise ValueError(msg)
        if model in folders:
            msg = f"--estimator is given twice for {model}: {folders[model]} and {folder}."
            raise ValueError(msg)
        folders[model] = folder
    if not folders:
        return {}
    from cascade_components.quality.sequence import SequenceHead

    return {model: SequenceHead.trained(folder, max_length=max_length) for model, folder in folders.items()}


def _gates(found: CreArtifacts, policy: CascadePolicy) -> dict[str, dict[str, Any]]:
    """What became of each gate of the artifacts: its threshold, or why there is none."""
    gates: dict[str, dict[str, Any]] = {}
    for cluster, (start, target, plan) in enumerate(zip(found.routing, found.targets, policy.plans(), strict=True)):
        if target is None:
            continue
        upwards = policy.models.index(target) > policy.models.index(start)
        reason = _NO_ESTIMATOR if upwards else _WEAKER_TARGET
        outcome = {"reason": reason} if plan.target is None else {"threshold": plan.threshold}
        gates[str(cluster)] = {"start": start, "target": target, **outcome}
    return gates


def _notes(
    found: CreArtifacts, gates: dict[str, dict[str, Any]], quality: dict[str, QualityEstimator], artifacts: Path
) -> Iterator[str]:
    """What the policy has not taken over, one line each."""
    without = {cluster: gate for cluster, gate in gates.items() if gate.get("reason") == _NO_ESTIMATOR}
    if without:
        models = sorted({gate["start"] for gate in without.values()})
        named = " ".join(f"--estimator {model}=FOLDER" for model in models)
        yield (
            f"Not gated, for want of a quality estimator: {_listed(without)}. {named} gates with a checkpoint of "
            f"cre qe-train; cascade_components.read_cre_artifacts({str(artifacts)!r}, "
            f"quality={{{', '.join(f'{model!r}: …' for model in models)}}}) with anything that has predict_proba."
        )
    weaker = {cluster: gate for cluster, gate in gates.items() if gate.get("reason") == _WEAKER_TARGET}
    if weaker:
        yield (
            f"Not gated, because the target is no more accurate on the stored statistics: {_listed(weaker)}. "
            "A cascade asks stronger models only, so these answers stand."
        )
    idle = sorted(set(quality) - {gate["start"] for gate in gates.values()})
    if idle:
        yield f"No gate of the artifacts asks the estimator of {', '.join(idle)}; another budget may."
    if found.stats.conditioning == "cluster" or found.cost_weight is None:
        yield "The routing is kept as stored; another budget is planned with one cost a model, as the paper does."


def _listed(gates: dict[str, dict[str, Any]]) -> str:
    return "cluster " + ", ".join(f"{cluster} ({gate['start']} → {gate['target']})" for cluster, gate in gates.items())
