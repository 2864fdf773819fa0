"""Accuracy against cost: the policy's front, and what it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cascade_components.reporting.findings import Findings
from cascade_components.reporting.points import Baseline
from cascade_components.reporting.style import COLOURS, blank
from cascade_components.reporting.wording import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE = 25
"""Costs this far apart are drawn on a logarithmic axis."""


def front_figure(found: Findings) -> Figure:
    """Each operating point has the id `point-<number>`, for the page to mark it."""
    figure = blank(height=4.6)
    axes = figure.axes[0]
    _mix(axes, found)
    _stage1(axes, found)
    _front(axes, found)
    for model in found.alone:
        _bars(axes, found, model, "ink", "D", 6, "one model alone" if model is found.alone[0] else None)
        _label(axes, found, model)
    for other in found.others:
        if other.name.startswith("oracle"):
            _bars(axes, found, other, "purple", "v", 7, other.name)
    _chosen(axes, found)
    costs = [one.evaluation.cost for one in found.points] + [one.cost for one in found.alone]
    if min(costs) > 0 and max(costs) / min(costs) > _WIDE:
        axes.set_xscale("log")
    axes.margins(x=0.14, y=0.1)
    axes.set(xlabel=f"cost ({found.unit.label})", ylabel="accuracy")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _label(axes: Axes, found: Findings, model: Baseline) -> None:
    """The model's name, beside its point and towards the middle of the figure."""
    cheap = model.cost < np.mean([one.cost for one in found.alone])
    offset, side = ((8, -13), "left") if cheap else ((-8, 8), "right")
    axes.annotate(cut(model.name, 26), _place(found, model), xytext=offset, textcoords="offset points", ha=side)


def _place(found: Findings, one: Baseline) -> tuple[float, float]:
    return found.unit.of_cost(one.cost), one.accuracy


def _front(axes: Axes, found: Findings) -> None:
    here = [point.evaluation for point in found.points]
    cost, accuracy = [found.unit.of_cost(one.cost) for one in here], [one.accuracy for one in here]
    low, high = zip(*(one.intervals["accuracy"] for one in here), strict=True)
    order = np.argsort(cost)
    x, lower, upper = (np.array(column)[order] for column in (cost, low, high))
    axes.fill_between(x, lower, upper, color=COLOURS["blue"], alpha=0.13, linewidth=0, label="95% interval")
    axes.plot(cost, accuracy, color=COLOURS["blue"], linewidth=1.6, label="cascade, its front")
    for number, place in enumerate(zip(cost, accuracy, strict=True)):
        axes.plot(*place, "o", color=COLOURS["blue"], markersize=5.5, gid=f"point-{number}")


def _chosen(axes: Axes, found: Findings) -> None:
    here = found.evaluation
    policy = Baseline("", here.accuracy, here.cost, here.retention, here.intervals)
    _bars(axes, found, policy, "vermilion", "*", 14, "this policy")


def _bars(axes: Axes, found: Findings, one: Baseline, colour: str, marker: str, size: float, label: str | None) -> None:
    """A point with its intervals in both directions."""
    x, y = _place(found, one)
    cost = [found.unit.of_cost(bound) for bound in one.intervals["cost"]]
    spans = [[[abs(at - low)], [abs(high - at)]] for at, (low, high) in ((x, cost), (y, one.intervals["accuracy"]))]
    axes.errorbar(
        x,
        y,
        xerr=spans[0],
        yerr=spans[1],
        fmt=marker,
        color=COLOURS[colour],
        markersize=size,
        markeredgecolor=COLOURS["paper"],
        markeredgewidth=0.8,
        elinewidth=1.0,
        zorder=4,
        label=label,
    )


def _mix(axes: Axes, found: Findings) -> None:
    if len(found.alone) < 2:
        return
    share = np.linspace(0, 1, 60)
    (x0, y0), (x1, y1) = (_place(found, one) for one in (found.alone[0], found.alone[-1]))
    line = (1 - share) * x0 + share * x1, (1 - share) * y0 + share * y1
    axes.plot(*line, ":", color=COLOURS["muted"], linewidth=1.4, label="random mix")


def _stage1(axes: Axes, found: Findings) -> None:
    if found.stage1:
        cost = [found.unit.of_cost(one.cost) for one in found.stage1]
        accuracy = [one.accuracy for one in found.stage1]
        axes.plot(
            cost,
            accuracy,
            "--s",
            color=COLOURS["green"],
            linewidth=1.2,
            markersize=3.5,
            label="Stage 1 alone (no gates)",
        )
