"""Draws the pictures of docs/concepts that show data: `python scripts/pictures.py`. The others are drawn by hand.

The data are the recorded outcomes of `cascade quickstart`, and the figures that arXiv 2606.27457 publishes for AIME.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import cascade_components as cc
from cascade_components.certificate import retention_bound
from cascade_components.certifying import chain_of
from cascade_components.pool import PoolStats
from cascade_components.routing import best_region, regions, route

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
SMALL, LARGE, RED, GREY, INK = "#2a9d8f", "#264a73", "#d1495b", "#c9d1d9", "#1f2933"
STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.grid": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 11,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "cascade",
    "text.color": INK,
}
AIME = PoolStats(
    ("VibeThinker-1.5B", "Qwen3-30B-A3B"),
    np.array([[0.130, 0.083, 0.182], [0.063, 0.031, 0.083]]),
    np.array([[9.282, 9.348, 8.825], [23.419, 24.070, 26.620]]),
    np.array([194.0, 405.0, 322.0]),
)
"""Errors and TPOT in ms of two models in three clusters, as published."""
KEPT, CONFIDENCE = 0.80, 0.95


def outcomes_picture(outcomes: cc.Outcomes) -> None:
    """Right and wrong answers of both models, queries side by side within their tasks."""
    right: dict[str, dict[str, float]] = {model: {} for model in outcomes.models}
    task: dict[str, str] = {}
    for row in outcomes:
        right[row.model][row.query_id] = row.correct
        task[row.query_id] = row.task or ""
    tasks = sorted(set(task.values()))
    columns = [[one for one in task if task[one] == name][:12] for name in tasks]
    figure, axes = plt.subplots(figsize=(8, 2.3))
    for level, model in enumerate(outcomes.models):
        for place, queries in enumerate(columns):
            for number, query in enumerate(queries):
                colour = SMALL if right[model][query] else GREY
                at = (place + 0.06 * number, -level)
                axes.add_patch(Rectangle(at, 0.05, 0.7, color=colour, linewidth=0))
    axes.set(xlim=(-0.1, len(tasks)), ylim=(-1.1, 0.9), yticks=[0.35, -0.65], yticklabels=outcomes.models)
    axes.set_xticks(np.arange(len(tasks)) + 0.36, tasks, rotation=40, ha="right", fontsize=9)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    _save(figure, "outcomes")


def routing_picture() -> None:
    """Who is asked in each cluster, over λ: the regions that the crossovers cut."""
    figure, axes = plt.subplots(figsize=(8, 2.6))
    colour, end = dict(zip(AIME.models, (SMALL, LARGE), strict=True)), 0.13
    for region in regions(AIME):
        for cluster, model in enumerate(region.routing):
            width = min(region.high, end) - region.low
            axes.barh(-cluster, width, left=region.low, height=0.7, color=colour[model], linewidth=0)
    chosen = best_region(AIME, 20.0)
    axes.axvline(chosen.cost_weight, color=RED, linewidth=2)
    axes.annotate(f"λ* = {chosen.cost_weight:g}", (chosen.cost_weight, 0.48), color=RED, ha="center")
    edges = [region.low for region in regions(AIME)]
    axes.set_xticks(edges, [f"{edge:.3f}" if edge else "0" for edge in edges])
    sizes = [f"cluster {number} ({size:g})" for number, size in enumerate(AIME.sizes)]
    axes.set(xlim=(0, end), ylim=(-2.5, 0.7), yticks=[0, -1, -2], yticklabels=sizes, xlabel="cost weight λ")
    for model in AIME.models:
        axes.plot([], [], color=colour[model], linewidth=8, label=model)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    if route(AIME, chosen.cost_weight) != chosen.routing:
        msg = "the picture's region is not what λ* routes"
        raise AssertionError(msg)
    _save(figure, "routing")


def quality_picture(policy: cc.CascadePolicy) -> None:
    """P(correct) of the small model's right and wrong answers, by estimators that had not seen them."""
    score, right = policy.evidence.p_correct[:, 0].ravel(), policy.evidence.correct[:, 0].ravel()
    known = ~np.isnan(score)
    figure, axes = plt.subplots(figsize=(8, 2.8))
    bins = np.linspace(0, 1, 26).tolist()
    axes.hist(score[known & (right < 0.5)], bins, color=RED, alpha=0.65, label="wrong answers")
    axes.hist(score[known & (right >= 0.5)], bins, color=SMALL, alpha=0.65, label="right answers")
    axes.axvline(0.5, color=INK, linewidth=2)
    top = axes.get_ylim()[1]
    axes.annotate("escalate", (0.49, 0.93 * top), ha="right")
    axes.annotate("accept", (0.51, 0.93 * top), ha="left")
    axes.set(xlim=(0, 1), xlabel=f"estimated P(correct) of an answer of {policy.models[0]}", ylabel="answers")
    axes.legend(loc="upper center", bbox_to_anchor=(0.7, 1))
    _save(figure, "quality")


def operating_points_picture(policy: cc.CascadePolicy) -> None:
    """The policy's own front, and the models alone."""
    figure, axes = plt.subplots(figsize=(8, 3.2))
    points = policy.planner.front()
    axes.step(
        [1e6 * point.cost for point in points],
        np.maximum.accumulate([point.accuracy for point in points]),
        where="post",
        color=GREY,
    )
    axes.scatter([1e6 * p.cost for p in points], [p.accuracy for p in points], color=SMALL, zorder=3, label="points")
    pool = policy.table.pool(policy.factors)
    axes.scatter(1e6 * pool.model_cost, 1 - pool.mean_error, color=LARGE, marker="D", zorder=4)
    for model, cost, error in zip(pool.models, pool.model_cost, pool.mean_error, strict=True):
        offset, side = ((10, -12), "left") if cost < 2e-5 else ((-6, 8), "right")
        axes.annotate(f"{model} alone", (1e6 * cost, 1 - error), offset, textcoords="offset points", ha=side)
    for kept in (0.85, 0.95):
        point = policy.at(retention=kept).point
        axes.plot(1e6 * point.cost, point.accuracy, "o", color=RED, markersize=10, zorder=5)
        at = (1e6 * point.cost, point.accuracy)
        axes.annotate(f"retention={kept}", at, (8, -16), textcoords="offset points", color=RED)
    axes.set(ylim=(0.37, 0.78), xlabel="expected cost, USD per million queries", ylabel="expected accuracy")
    _save(figure, "operating_points")


def guarantee_picture(outcomes: cc.Outcomes) -> None:
    """The walk along the front, on queries that the fit has not seen."""
    train, held_out = cc.calibration_split(outcomes)
    policy = cc.fit(train, retention=KEPT)
    chain, _ = chain_of(policy, held_out, KEPT)
    cost = [100 * replay.cost.mean() / replay.strongest_cost.mean() for replay in chain]
    kept = [100 * replay.system.mean() / replay.strongest.mean() for replay in chain]
    bound = [100 * retention_bound(*replay.shuffled, CONFIDENCE) for replay in chain]
    _, certificate = cc.certify(policy, held_out, retention=KEPT, confidence=CONFIDENCE)
    figure, axes = plt.subplots(figsize=(8, 3.2))
    axes.axhline(100 * KEPT, color=RED, linewidth=1.5)
    axes.annotate(f"asked for: {KEPT:.0%}", (101, 100 * KEPT + 1), color=RED, ha="right")
    passed = len(certificate.tested) - 1 if certificate.certified else 0
    for number, (x, low, mean) in enumerate(zip(cost, bound, kept, strict=True)):
        colour = SMALL if number < passed else GREY
        axes.plot([x, x], [low, mean], color=colour, linewidth=2)
        axes.plot(x, mean, "o", color=colour, markersize=5)
        axes.plot(x, low, "_", color=colour, markersize=10, markeredgewidth=2)
    axes.set(xlabel="cost, % of always asking the strongest", ylabel="% of its accuracy kept", ylim=(40, 112))
    axes.set_xlim(30, 102)
    _save(figure, "guarantee")


def _save(figure: Figure, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def main() -> None:
    """Draw them all; the fits take a minute or two."""
    with resources.as_file(resources.files("cascade_cli") / "data" / "outcomes.jsonl.gz") as path:
        outcomes = cc.load_outcomes(path)
    policy = cc.fit(outcomes, retention=0.95)
    with mpl.rc_context(STYLE):
        outcomes_picture(outcomes)
        routing_picture()
        quality_picture(policy)
        operating_points_picture(policy)
        guarantee_picture(outcomes)


if __name__ == "__main__":
    main()
