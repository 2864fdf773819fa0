"""What a capture came to: the outcomes in their file, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from cascade_cli.capture_grading import Graded
from cascade_cli.capture_setup import CaptureOptions
from cascade_components.outcomes import Outcomes, load_outcomes
from langchain_cascade.captures.engine import Filled
from langchain_cascade.captures.member import Member


@dataclass(frozen=True)
class Captured:
    """What was asked, answered and graded."""

    questions: int
    members: Mapping[str, Member]
    """The whole pool."""
    filled: Filled
    graded: Graded
    answers: int
    """All that are kept, those of earlier runs included."""
    spent_usd: float


def summed_up(captured: Captured, options: CaptureOptions) -> dict[str, Any]:
    """Write the outcomes, tell what went wrong, and say what there is.

    Returns:
        What `--json` prints.

    Raises:
        RuntimeError: There are no outcomes.
    """
    told = _told(captured.filled, captured.graded, captured.members)
    if not captured.graded.rows:
        msg = f"Nothing could be {'graded' if captured.answers else 'captured'}. {'; '.join(told)}"
        raise RuntimeError(msg)
    outcomes, wanted = load_outcomes(captured.graded.rows), captured.questions * options.runs
    outcomes.save(options.output)
    for line in told:
        typer.echo(f"cascade: {line}", err=True)
    summary = {
        "output": str(options.output),
        "outcomes": len(outcomes),
        "questions": len(outcomes.queries),
        "spent_usd": captured.spent_usd,
        "models": {name: _of_model(name, outcomes, wanted) for name in captured.members},
        "notes": told,
    }
    if options.show:
        _print(summary)
    return summary


def _told(filled: Filled, graded: Graded, members: Mapping[str, Member]) -> list[str]:
    """What went wrong, one line each."""
    told = [f"{name}: {filled.given_up[name]}" for name in members if name in filled.given_up]
    told += [
        f"{name}: {filled.failures[name]} questions without an answer, the last for {filled.last_error[name]}"
        for name in members
        if name in filled.last_error and name not in filled.given_up
    ]
    told += [filled.capped] if filled.capped else []
    return told + [f"{count} not graded: {reason}" for reason, count in graded.ungradable.most_common(5)]


def _of_model(name: str, outcomes: Outcomes, wanted: int) -> dict[str, Any]:
    rows = [row for row in outcomes if row.model == name]
    return {
        "outcomes": len(rows),
        "missing": max(0, wanted - len(rows)),
        "accuracy": _mean([row.correct for row in rows]),
        "cost_usd": _mean([row.cost_usd for row in rows]),
        "e2el_ms": _mean([row.e2el_ms for row in rows]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _print(summary: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{summary['outcomes']} outcomes in {summary['output']}")
    for name in ("", "outcomes", "missing", "accuracy", "USD per answer", "E2EL ms"):
        table.add_column(name, justify="left" if not name else "right")
    for name, row in summary["models"].items():
        numbers = ((row["accuracy"], ".3f"), (row["cost_usd"], ".3g"), (row["e2el_ms"], ".0f"))
        shown = ["–" if value is None else format(value, form) for value, form in numbers]
        table.add_row(name, str(row["outcomes"]), str(row["missing"]), *shown)
    Console(highlight=False).print(table)
