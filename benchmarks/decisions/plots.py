"""Plots: accuracy against cost, reliability diagrams, learning curves. matplotlib is imported when one is drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from estimators import BINS, ESTIMATORS
from measure import Ground
from methods import METHODS
from metrics import with_interval
from sweeps import Sweep

from cascade_components.arrays import Floats
from cascade_components.calibration import reliability

_STYLES = ("--", "-.", ":")


def check() -> None:
    """Raises ImportError, with what to do, where matplotlib is missing."""
    _pyplot()


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        msg = "Plots need matplotlib: pip install matplotlib, or leave --output out."
        raise ImportError(msg) from None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def plot_curves(path: Path, title: str, ground: Ground, sweeps: Mapping[str, Sweep]) -> None:
    """Every method's curve, and the models alone."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(11, 6), layout="constrained")
    base, full = ground.accuracy[0, ground.strongest], ground.cost[0, ground.strongest]
    for number, (name, sweep) in enumerate(sweeps.items()):
        method = METHODS[name]
        shares, kept = sweep.cost.mean(1) / full, sweep.accuracy.mean(1) / base
        axes.plot(shares, kept, label=method.title, **_line(number, is_ours=method.is_ours))
    axes.plot(ground.cost[0] / full, ground.accuracy[0] / base, "k.", label="a model alone")
    axes.axhline(1.0, color="0.7", linewidth=0.8)
    lowest = ground.accuracy[0, ground.cheapest] / base
    axes.set(title=title, xlabel="cost, as a share of always asking the strongest model", ylabel="retention")
    axes.set(xlim=(0, 1.25), ylim=(max(0.75, lowest - 0.02), None))
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_reliability(path: Path, title: str, ground: Ground, scores: Mapping[str, Floats]) -> None:
    """How often answers are right, against P(correct), for every model; nothing where no answer was judged."""
    plt = _pyplot()
    shown = {name: found for name, found in scores.items() if not np.isnan(found).all()}
    if not shown:
        return
    figure, axes = plt.subplots(1, len(shown), figsize=(5 * len(shown), 5), layout="constrained", squeeze=False)
    for axis, (name, found) in zip(axes[0], shown.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        for column, model in enumerate(ground.queries.models):
            known = ~np.isnan(found[:, column])
            if known.any():
                bins = reliability(found[known, column], ground.queries.correct[known, column], BINS)
                axis.plot([mean for mean, _, _ in bins], [right for _, right, _ in bins], ".-", label=model)
        axis.set(title=ESTIMATORS[name].title, xlabel="P(correct)", ylabel="share correct", xlim=(0, 1), ylim=(0, 1))
    axes[0, 0].legend(fontsize="x-small")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_learning(path: Path, source: str, learned: Mapping[str, Mapping[int, Floats]]) -> None:
    """Cost at 97 % retention against the number of training labels."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(11, 6), layout="constrained")
    ours = {method.title for method in METHODS.values() if method.is_ours}
    for number, (name, row) in enumerate(learned.items()):
        sizes = sorted(row)
        values = [with_interval(row[size])[0] for size in sizes]
        axes.plot(sizes, values, marker=".", label=name, **_line(number, is_ours=name in ours))
    axes.set(
        title=source, xlabel="training labels", ylabel="cost share at 97 % retention", xscale="log", ylim=(0, 1.05)
    )
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _line(number: int, *, is_ours: bool) -> dict[str, Any]:
    """Style of a method's line."""
    colour = f"C{number % 10}"
    if is_ours:
        return {"color": colour, "linewidth": 2.4}
    return {"color": colour, "linewidth": 1.1, "linestyle": _STYLES[number // 10 % len(_STYLES)]}
