"""One source's sweeps → tables on the terminal, Markdown, CSV and plots."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from estimators import ESTIMATORS, figures
from measure import REACHED, Ground, asked_figures, curve_figures, differences, model_figures
from methods import METHODS
from metrics import with_interval
from plots import plot_curves, plot_learning, plot_reliability
from rich.console import Console
from sweeps import BUDGETS, RETENTIONS, Sweep
from tables import Sheet, sheet

from cascade_components.arrays import Floats

OURS = METHODS["joint"].title
LEARNED = "cost share at 97% retention"

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"

Figures = Mapping[str, Mapping[str, Floats]]
"""Row → figure → its value on the data and on the draws."""


@dataclass(frozen=True)
class Result:
    """One source at one number of training labels."""

    source: str
    size: int | None
    """None: all."""
    labels: int
    """So many training labels a model, on average over the folds."""
    ground: Ground
    sweeps: dict[str, Sweep]
    """By the method's name."""
    scores: dict[str, Floats]
    """P(correct) by the estimator's name, shape (queries, models)."""


class Report:
    """Prints tables as they come, and writes them with what was measured where that was asked for."""

    def __init__(self, output: Path | None, document: Path | None) -> None:
        self.output, self.document = output, document
        self._sections: dict[str, list[Sheet]] = {}
        self._rows: list[tuple[object, ...]] = []
        self._points: list[tuple[object, ...]] = []
        self._learned: dict[str, dict[str, dict[int, Floats]]] = {}
        if output:
            output.mkdir(parents=True, exist_ok=True)

    def add(self, result: Result) -> None:
        """Measure a source, print it, and plot it."""
        curves = {METHODS[name].title: curve_figures(sweep, result.ground) for name, sweep in result.sweeps.items()}
        with_targets = {name: sweep for name, sweep in result.sweeps.items() if sweep.asked}
        asked = {METHODS[name].title: asked_figures(sweep, result.ground) for name, sweep in with_targets.items()}
        judged = _judged(result)
        models = model_figures(result.ground)
        sheets = [one for one in (*_sheets(models, curves, asked, judged), _notes(result)) if one.rows]
        title = f"{result.source}: {len(result.ground.queries)} queries, {result.labels} training labels"
        documented = [one for one in sheets if not one.detail]
        self._sections[title] = documented if result.size is None else documented[:1]
        console = Console(width=220)
        console.rule(title)
        for one in sheets:
            console.print(one.rich())
        for kind, table in (("model", models), ("curve", curves), ("asked", asked), ("estimator", judged)):
            self._rows += list(_flat(result, kind, table))
        self._points += list(_points(result))
        learned = self._learned.setdefault(result.source, {})
        for name, row in curves.items():
            learned.setdefault(name, {})[result.labels] = row[LEARNED]
        if self.output:
            name = result.source if result.size is None else f"{result.source}-{result.size}"
            plot_curves(self.output / f"{name}-curves.png", title, result.ground, result.sweeps)
            plot_reliability(self.output / f"{name}-reliability.png", title, result.ground, result.scores)
            self._write_tables(self.output)

    def finish(self) -> None:
        """Print and plot learning curves, and write the document that was asked for."""
        for source, learned in self._learned.items():
            sizes = sorted({size for row in learned.values() for size in row})
            if len(sizes) < 2:
                continue
            one = _learning_sheet(learned, sizes)
            Console(width=220).print(one.rich())
            self._sections[f"{source}: learning curve"] = [one]
            if self.output:
                plot_learning(self.output / f"{source}-learning.png", source, learned)
        if self.document:
            _write_section(self.document, self._sections)

    def _write_tables(self, folder: Path) -> None:
        heading = ("source", "training_labels")
        _write(folder / "figures.csv", (*heading, "kind", "row", "figure", "value", "low", "high"), self._rows)
        columns = (*heading, "method", "point", "accuracy", "retention", "cost_usd", "cost_share")
        _write(folder / "points.csv", columns, self._points)


def _write(path: Path, heading: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows(rows)


def _write_section(path: Path, sections: Mapping[str, list[Sheet]]) -> None:
    """Write the tables; where the file has a place for them, only there."""
    parts = [f"### {title}\n\n" + "\n\n".join(one.markdown() for one in found) for title, found in sections.items()]
    text = f"{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}\n"
    before, begin, rest = (path.read_text() if path.is_file() else "").partition(BEGIN)
    _, end, after = rest.partition(END)
    path.write_text(before + text.rstrip("\n") + after if begin and end else text)


def _flat(result: Result, kind: str, table: Figures) -> Iterator[tuple[object, ...]]:
    for row, found in table.items():
        for figure, values in found.items():
            numbers = ("" if np.isnan(number) else f"{number:.6g}" for number in with_interval(values))
            yield (result.source, result.labels, kind, row, figure, *numbers)


def _points(result: Result) -> Iterator[tuple[object, ...]]:
    base = result.ground.accuracy[0, result.ground.strongest], result.ground.cost[0, result.ground.strongest]
    for name, sweep in result.sweeps.items():
        for point, (accuracy, cost) in enumerate(zip(sweep.accuracy.mean(1), sweep.cost.mean(1), strict=True)):
            numbers = (accuracy, accuracy / base[0], cost, cost / base[1])
            yield (result.source, result.labels, name, point, *(f"{number:.6g}" for number in numbers))


def _judged(result: Result) -> Figures:
    queries, weights = result.ground.queries, result.ground.weights
    found = {}
    for column, model in enumerate(queries.models):
        for name, scores in result.scores.items():
            if not np.isnan(scores[:, column]).all():
                title = f"{model}: {ESTIMATORS[name].title}"
                found[title] = figures(scores[:, column], queries.correct[:, column], weights)
    return found


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _sheets(models: Figures, curves: Figures, asked: Figures, judged: Figures) -> Iterator[Sheet]:
    reached = {f"cost share at {kept:.0%} retention": f"at {kept:.0%}" for kept in REACHED}
    areas = _same("AIQ", "AUC", "AUC to 50 %", "QNC", "APGR", "CPT50", "CPT80") | {"decision": "decision, µs"}
    known = {name for row in curves.values() for name in row}
    others = {name: differences(curves[OURS], row) for name, row in curves.items() if OURS in curves and name != OURS}
    kept = {
        f"asked retention {share:.0%}: {figure}": f"{share:.0%}: {heading}"
        for share in RETENTIONS
        for figure, heading in (("retention", "kept"), ("cost share", "cost"))
    }
    spent = {
        f"asked budget {share:.0%}: {figure}": f"{share:.0%}: {heading}"
        for share in BUDGETS
        for figure, heading in (("realised/asked", "spent/asked"), ("retention", "kept"))
    }
    yield sheet("Each model alone", models, _same("accuracy", "retention", "cost share"), detail=True)
    yield sheet("Lowest cost along the curve that keeps so much of the strongest model's accuracy", curves, reached)
    yield sheet(f"That of {OURS} minus that of the others", others, reached | _same("AIQ"))
    measured = {name: text for name, text in areas.items() if name in known}
    yield sheet("The curve as a whole", curves, measured, detail=True)
    yield sheet("Retention asked beforehand", asked, kept)
    yield sheet("Budget asked beforehand, as a share of always asking the strongest", asked, spent)
    yield sheet(
        "Judging answers (rejected: P(correct) < ½)", judged, _same("answers", "AUROC", "ECE", "precision", "recall")
    )


def _notes(result: Result) -> Sheet:
    rows = [(METHODS[name].title, sweep.note) for name, sweep in result.sweeps.items() if sweep.note]
    return Sheet("What was chosen on the training part of each fold", ("", "chosen"), tuple(rows), detail=True)


def _learning_sheet(learned: Mapping[str, Mapping[int, Floats]], sizes: list[int]) -> Sheet:
    rows = {name: {str(size): values for size, values in row.items()} for name, row in learned.items()}
    return sheet("Cost at 97 % retention by training labels", rows, _same(*map(str, sizes)))
