"""Commands that make, measure and show policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli.app import AsJson, Budget, CostWeight, Retention, app, print_json

if TYPE_CHECKING:
    from cascade_components import CascadePolicy


@app.command()
def fit(
    outcomes: Annotated[list[Path], typer.Argument(help="Outcomes: .jsonl, .jsonl.gz or .parquet.")],
    out: Annotated[Path, typer.Option(help="Folder the policy is written to.")],
    budget: Budget = None,
    retention: Retention = None,
    cost_weight: CostWeight = None,
    confidence: Annotated[
        float | None, typer.Option(help="With --retention: certify it at this confidence, such as 0.95.")
    ] = None,
    cost: Annotated[str, typer.Option(help="cost_usd, tpot_ms or e2el_ms.")] = "cost_usd",
    strategy: Annotated[str, typer.Option(help="joint, or sequential (the paper's).")] = "joint",
    encoder: Annotated[
        str | None, typer.Option(help="MODEL, onnx:MODEL, distilled:MODEL or static:FOLDER; all-MiniLM-L6-v2 if none.")
    ] = None,
    quality: Annotated[str, typer.Option(help="embedding, sequence, margins; none: nothing is judged.")] = "embedding",
    seed: int = 0,
) -> None:
    """Learn a policy from outcomes, save it and describe it."""
    import cascade_components as cc

    arguments: dict[str, Any] = {"cost": cost, "strategy": strategy, "seed": seed, "confidence": confidence}
    arguments["quality"] = None if quality == "none" else quality
    if encoder is not None:
        arguments["encoder"] = encoder
    policy = cc.fit(outcomes, budget=budget, retention=retention, cost_weight=cost_weight, **arguments)
    policy.save(out)
    typer.echo(policy.describe())


@app.command()
def evaluate(
    policy: Annotated[Path, typer.Argument(help="The policy's folder.")],
    outcomes: Annotated[list[Path], typer.Argument(help="Outcomes to replay: .jsonl, .jsonl.gz or .parquet.")],
    budget: Budget = None,
    retention: Retention = None,
    cost_weight: CostWeight = None,
    as_json: AsJson = False,
) -> None:
    """Replay a policy on labelled outcomes; no model is called."""
    import cascade_components as cc

    found = cc.evaluate(_load(policy, budget, retention, cost_weight), outcomes).to_dict()
    if as_json:
        print_json(found)
        return
    for name in ("queries", "skipped", "accuracy", "retention", "cost", "strongest_cost", "escalation_rate"):
        low_high = found["intervals"].get(name)
        interval = f"   95 % interval {low_high[0]:.4g} … {low_high[1]:.4g}" if low_high else ""
        typer.echo(f"{name:<16} {found[name]:.4g}{interval}")


@app.command()
def report(
    policy: Annotated[Path, typer.Argument(help="The policy's folder.")],
    outcomes: Annotated[list[Path], typer.Argument(help="Outcomes to replay: .jsonl, .jsonl.gz or .parquet.")],
    out: Annotated[Path, typer.Option(help="The page that is written.")] = Path("report.html"),
    png: Annotated[Path | None, typer.Option(help="Folder for the figures as PNGs, too.")] = None,
    budget: Budget = None,
    retention: Retention = None,
    cost_weight: CostWeight = None,
    as_json: AsJson = False,
) -> None:
    """Replay a policy and write one HTML page: its front, clusters, routing, gates and worst questions."""
    import cascade_components as cc

    loaded = _load(policy, budget, retention, cost_weight)
    written = cc.report(loaded, outcomes, out, png, progress=not as_json)
    if as_json:
        pngs = [str(path) for path in written.pngs]
        print_json({"page": str(written.path), "pngs": pngs, "evaluation": written.evaluation.to_dict()})
        return
    typer.echo(f"{written.path}" + (f", and {len(written.pngs)} figures in {png}" if png else ""))


def _load(folder: Path, budget: float | None, retention: float | None, cost_weight: float | None) -> CascadePolicy:
    """The policy in a folder, at another operating point where one is named."""
    import cascade_components as cc

    policy = cc.CascadePolicy.load(folder)
    if budget is retention is cost_weight is None:
        return policy
    return policy.at(budget=budget, retention=retention, cost_weight=cost_weight)
