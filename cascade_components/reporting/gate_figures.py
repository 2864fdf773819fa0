"""Figures of estimators and gates: reliability, thresholds, escalations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cascade_components.reporting.findings import Findings
from cascade_components.reporting.gates import Escalations, Reliability, ThresholdCurve
from cascade_components.reporting.style import COLOURS, blank
from cascade_components.reporting.wording import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS = (
    ("mended", "mended: wrong, then right", "green"),
    ("still_right", "right before and after", "sky"),
    ("still_wrong", "wrong before and after", "grid"),
    ("spoiled", "spoiled: right, then wrong", "vermilion"),
)


def reliability_figure(one: Reliability) -> Figure:
    """P(correct) against the share that was right, above how many answers there are."""
    figure = blank(rows=2, height=4.4, sharex=True, height_ratios=[3.2, 1])
    upper, lower = figure.axes
    sure, right, count = (np.array(column) for column in zip(*one.bins, strict=True))
    upper.plot([0, 1], [0, 1], ":", color=COLOURS["muted"], label="perfectly calibrated")
    error = 1.96 * np.sqrt(right * (1 - right) / count)
    upper.errorbar(
        sure, right, error, fmt="-o", color=COLOURS["blue"], markersize=5, elinewidth=1, label="measured, 95%"
    )
    upper.set(title=f"{cut(one.model, 40)}: ECE {one.ece:.3f}", ylabel="share right", xlim=(0, 1), ylim=(-0.03, 1.03))
    upper.legend(loc="upper left")
    lower.bar(sure, count, width=0.06, color=COLOURS["sky"])
    lower.set(xlabel="P(correct), estimated", ylabel="answers")
    return figure


def threshold_figure(found: Findings, curve: ThresholdCurve) -> Figure:
    """The policy's accuracy and cost by the threshold of one gate."""
    figure = blank(rows=2, height=4.6, sharex=True)
    upper, lower = figure.axes
    cost = [found.unit.of_cost(one) for one in curve.cost]
    for axes, values, colour in ((upper, curve.accuracy, "blue"), (lower, cost, "orange")):
        axes.plot(curve.thresholds, values, "-", color=COLOURS[colour], linewidth=1.8)
        for number, threshold in enumerate(curve.chosen):
            label = "chosen" if axes is upper and not number else None
            axes.axvline(threshold, color=COLOURS["vermilion"], linewidth=1.1, linestyle="--", label=label)
    upper.set(title=f"{cut(curve.start, 24)} → {cut(curve.target, 24)}", ylabel="accuracy")
    upper.yaxis.set_major_formatter(lambda share, _: f"{share:.1%}")
    _required(upper, found)
    lower.set(xlabel="threshold: below it an answer is escalated", ylabel=f"cost\n({found.unit.label})")
    upper.legend(loc="best")
    return figure


def escalation_figure(gates: list[Escalations]) -> Figure:
    """What became of the escalated answers of each gate."""
    figure = blank(height=1.9 + 0.6 * len(gates))
    axes = figure.axes[0]
    rows = np.arange(len(gates))
    left = np.zeros(len(gates))
    for part, label, colour in _PARTS:
        counts = np.array([getattr(gate, part) for gate in gates], dtype=float)
        bars = axes.barh(rows, counts, left=left, height=0.55, color=COLOURS[colour], label=label)
        axes.bar_label(bars, [f"{count:.0f}" if count else "" for count in counts], label_type="center")
        left += counts
    axes.set_yticks(rows, [f"{cut(gate.start, 20)}\n→ {cut(gate.target, 18)}" for gate in gates])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="escalated answers", xlim=(0, max(1.0, left.max() * 1.03)))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _required(axes: Axes, found: Findings) -> None:
    """The accuracy that the certificate speaks of."""
    certificate = found.policy.certificate
    if certificate is not None:
        floor = certificate.retention * found.evaluation.strongest_accuracy
        word = "certified" if certificate.certified else "asked for, not certified"
        label = f"{certificate.retention:.1%} of {cut(certificate.strongest, 18)}, {word}"
        axes.axhline(floor, color=COLOURS["green"], linewidth=1.2, linestyle="-.", label=label)
