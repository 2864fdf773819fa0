"""The command that shows a cascade of real small models."""

from __future__ import annotations

from typing import Annotated

import typer

from cascade_cli.app import AsJson, app, print_json


@app.command()
def quickstart(
    pool: Annotated[
        str, typer.Option(help="Models, weakest first: embedded ones, or names that init_chat_model knows.")
    ] = "smollm2-135m,qwen2.5-0.5b",
    prices: Annotated[
        str | None, typer.Option(help="USD per million tokens of each model, in/out: 0.15/0.6,2.5/10. Else: latency.")
    ] = None,
    recapture: Annotated[
        bool, typer.Option("--recapture", help="Ask the models anew; resumes where it stopped.")
    ] = False,
    ask: Annotated[
        list[str] | None, typer.Option(help="Answer this question live instead of a dozen test questions.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a cascade of real small models on this machine, measure it on test questions, and watch it answer."""
    from cascade_cli.quickstart import run_quickstart

    result = run_quickstart(pool.split(","), prices=prices, recapture=recapture, questions=ask, show=not as_json)
    if as_json:
        print_json(result)
