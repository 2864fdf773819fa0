"""The map of the clusters: where queries lie, what each cluster is about, and who answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_components.arrays import Floats
from cascade_components.reporting.findings import Findings
from cascade_components.reporting.style import COLOURS, MARKERS, SERIES, blank, despined
from cascade_components.reporting.wording import cut
from cascade_components.trace import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED = 30
"""Clusters whose words stand on the map, those of the most queries; the others have their numbers."""

_LINE = 0.05
"""Height of a label, as a share of the map's."""


def map_figure(found: Findings) -> Figure:
    """Centroids named by their words and coloured by their plan; queries as dots of the same colour."""
    figure = blank(width=7.2, height=5.6)
    axes = figure.axes[0]
    despined(axes)
    plans = found.policy.plans()
    looks = _looks(plans)
    shown = found.map
    for (start, target), (colour, marker) in looks.items():
        mine = np.array([(plan.start, plan.target) == (start, target) for plan in plans])
        dots = shown.queries[np.isin(shown.labels, np.flatnonzero(mine))]
        axes.scatter(dots[:, 0], dots[:, 1], s=9, color=COLOURS[colour], alpha=0.35, linewidth=0)
        sizes = 60 + 500 * found.policy.table.weights[mine]
        label = cut(start if target is None else f"{start} → {target}", 60)
        axes.scatter(
            shown.centroids[mine, 0],
            shown.centroids[mine, 1],
            s=sizes,
            color=COLOURS[colour],
            marker=marker,
            edgecolor=COLOURS["paper"],
            label=label,
        )
    outside = shown.queries[shown.labels < 0]
    if len(outside):
        axes.scatter(
            outside[:, 0],
            outside[:, 1],
            s=14,
            marker="x",
            color=COLOURS["muted"],
            linewidth=0.8,
            label="out of the map",
        )
    _name(axes, found)
    legend: dict[str, Any] = {"ncols": 2 if len(looks) > 3 else 1, "markerscale": 0.7}
    figure.legend(loc="outside lower center", title="plan: who answers", **legend)
    return figure


def _looks(plans: tuple[Plan, ...]) -> dict[tuple[str, str | None], tuple[str, str]]:
    """Colour and marker of each plan, whatever its threshold."""
    kinds = dict.fromkeys((plan.start, plan.target) for plan in plans)
    rounds = len(SERIES)
    return {kind: (SERIES[at % rounds], MARKERS[at // rounds % len(MARKERS)]) for at, kind in enumerate(kinds)}


def _name(axes: Axes, found: Findings) -> None:
    axes.margins(0.09)
    places = found.map.centroids
    named = set(np.argsort(-found.policy.table.sizes)[:MOST_NAMED].tolist())
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    scaled = (places - [left, bottom]) / [right - left, top - bottom]
    words = [", ".join(found.words[at][:2]) if at in named else "" for at in range(len(places))]
    texts = [f"{at} {cut(one, 28)}".strip() for at, one in enumerate(words)]
    for at, (x, y) in enumerate(_spread(scaled + np.array([0, 0.035]), [len(text) for text in texts])):
        axes.annotate(
            texts[at],
            places[at],
            xytext=(x, y),
            textcoords="axes fraction",
            ha="center",
            va="bottom",
            fontsize=9.5,
            arrowprops={"arrowstyle": "-", "color": COLOURS["muted"], "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
        )


def _spread(places: Floats, letters: list[int]) -> Floats:
    """Move labels up or down until none lies on another; places and heights are shares of the map."""
    half = np.array(letters) * 0.0065 + 0.01
    moved = np.clip(places, [0.02, 0.0], [0.98, 0.97]).copy()
    moved[:, 0] = np.clip(moved[:, 0], half, 1 - half)
    for _ in range(200):
        apart = moved[:, None] - moved[None]
        across = np.abs(apart[..., 0]) < half[:, None] + half[None]
        close = across & (np.abs(apart[..., 1]) < _LINE) & ~np.eye(len(moved), dtype=bool)
        if not close.any():
            break
        # Of two labels at one height the later one goes up.
        way = np.where(
            apart[..., 1] != 0, np.sign(apart[..., 1]), np.sign(np.subtract.outer(*[np.arange(len(moved))] * 2))
        )
        moved[:, 1] = np.clip(moved[:, 1] + 0.3 * ((_LINE - np.abs(apart[..., 1])) * way * close).sum(1), 0.0, 0.97)
    return moved
