"""What changes while a model is out, or would have changed had it never joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade_components.reporting.findings import Findings
from cascade_components.reporting.style import COLOURS, blank
from cascade_components.reporting.wording import cut

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def without_figure(found: Findings) -> Figure:
    """Accuracy and cost with all models, and with each one out."""
    rows = {"all models": found.evaluation, **{f"without {cut(name, 22)}": one for name, one in found.without.items()}}
    figure = blank(columns=2, height=1.3 + 0.42 * len(rows), sharey=True)
    for axes, name, factor in zip(figure.axes, ("accuracy", "cost"), (100.0, found.unit.factor), strict=True):
        for at, one in enumerate(rows.values()):
            low, high = (factor * bound for bound in one.intervals[name])
            colour = COLOURS["blue" if at else "vermilion"]
            axes.plot([low, high], [at, at], color=colour, linewidth=1.4)
            axes.plot(factor * getattr(one, name), at, "o", color=colour, markersize=6)
        axes.axvline(factor * getattr(found.evaluation, name), color=COLOURS["muted"], linewidth=0.9, linestyle=":")
        axes.grid(visible=False, axis="y")
    accuracy, cost = figure.axes
    accuracy.set_yticks(range(len(rows)), list(rows))
    accuracy.invert_yaxis()
    accuracy.set(xlabel="accuracy (%)")
    cost.set(xlabel=found.unit.label.replace(", ", "\n"))
    return figure
