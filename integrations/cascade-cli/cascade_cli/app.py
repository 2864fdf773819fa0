"""What all commands share: the app, options that several have, and JSON on standard output."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="A cascade of chat models: the strongest one's accuracy at a fraction of its cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Budget = Annotated[float | None, typer.Option(help="Mean cost per query, both stages together.")]
Retention = Annotated[float | None, typer.Option(help="Share of the strongest model's accuracy to keep.")]
CostWeight = Annotated[float | None, typer.Option(help="λ, the cost weight, in Eq. 2 units.")]


@app.callback()
def _root() -> None:
    """A cascade of chat models: the strongest one's accuracy at a fraction of its cost."""


def print_json(data: dict[str, Any]) -> None:
    """Print what a program reads."""
    typer.echo(json.dumps(data, ensure_ascii=False))
