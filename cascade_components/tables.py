"""Outcomes as arrays: query × model × run, with NaN where a cell is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade_components.arrays import Floats
from cascade_components.outcomes import Metric, Outcome, Outcomes


@dataclass(frozen=True)
class OutcomeTable:
    """Outcomes laid out for arithmetic; every array has the shape (queries, models, runs)."""

    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    models: tuple[str, ...]
    outcomes: Outcomes
    cells: NDArray[np.intp]
    """Position of each cell's row in `outcomes`; -1: missing."""

    @classmethod
    def of(cls, outcomes: Outcomes, models: tuple[str, ...] | None = None) -> OutcomeTable:
        """Lay out the rows of the given models (None: all of them, sorted)."""
        names = outcomes.models if models is None else models
        at_query = {query_id: position for position, query_id in enumerate(outcomes.queries)}
        at_model = {model: position for position, model in enumerate(names)}
        runs = sorted({row.run for row in outcomes})
        at_run = {run: position for position, run in enumerate(runs)}
        cells = np.full((len(at_query), len(names), len(runs)), -1, dtype=np.intp)
        for position, row in enumerate(outcomes):
            if row.model in at_model:
                cells[at_query[row.query_id], at_model[row.model], at_run[row.run]] = position
        return cls(tuple(outcomes.queries), tuple(outcomes.queries.values()), names, outcomes, cells)

    def values(self, name: str) -> Floats:
        """One numeric field of every cell; NaN where the cell or its value is missing."""
        column = [getattr(row, name) for row in self.outcomes]
        flat = np.array([np.nan if value is None else float(value) for value in column])
        return np.asarray(np.where(self.cells >= 0, flat[self.cells], np.nan))

    def cost(self, metric: Metric) -> Floats:
        """The measurement that serves as Cost; a model's unmeasured cells take its mean.

        Raises:
            ValueError: A model has no row with this measurement.
        """
        cost = self.values(metric)
        asked = self.cells >= 0
        for position, model in enumerate(self.models):
            column = cost[:, position]
            if not asked[:, position].any():
                continue
            if np.isnan(column).all():
                msg = (
                    f"No outcome of {model!r} has {metric}. Measured there: {self._measured(position)}. "
                    f"Pass cost=... to fit, or add {metric} to the outcomes."
                )
                raise ValueError(msg)
            column[np.isnan(column) & asked[:, position]] = np.nanmean(column)
        return cost

    def answers(self, model: int) -> list[tuple[int, int, Outcome]]:
        """The model's rows that hold an output, each with its query's and its run's position."""
        found = ((q, r, self.cells[q, model, r]) for q, r in np.argwhere(self.cells[:, model] >= 0))
        rows = ((int(q), int(r), self.outcomes[int(cell)]) for q, r, cell in found)
        return [(q, r, row) for q, r, row in rows if row.output is not None]

    def _measured(self, model: int) -> str:
        metrics: tuple[Metric, ...] = ("cost_usd", "tpot_ms", "e2el_ms")
        named = [name for name in metrics if not np.isnan(self.values(name)[:, model]).all()]
        return ", ".join(named) or "none of cost_usd, tpot_ms, e2el_ms"
