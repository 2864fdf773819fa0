"""Commands that make outcomes, or a policy of what another router has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cascade_cli.app import AsJson, app, print_json


@app.command()
def capture(
    pool: Annotated[Path, typer.Argument(help="pool.yaml: the models, their prices, limits and sampling.")],
    questions: Annotated[str, typer.Argument(help="Questions: .jsonl, .csv, .json, or hf:DATASET:CONFIG@SPLIT.")],
    grader: Annotated[
        str,
        typer.Option(
            help="exact, contains, regex or regex:PATTERN, numeric, choice, json-schema or json-schema:FILE, semantic "
            "or semantic:THRESHOLD, judge:MODEL, or module:function."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Outcomes: .jsonl, .jsonl.gz or .parquet; the answers are kept beside.")],
    agree_with: Annotated[
        str | None, typer.Option(metavar="MODEL", help="No labels: this model's answer counts as the right one.")
    ] = None,
    rubric: Annotated[
        Path | None, typer.Option(help="With judge:MODEL: a text that says what a good answer is.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=NAME", help="What a field of the questions is called: answer=gold; repeat."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first questions.", min=1)] = None,
    runs: Annotated[int, typer.Option(help="How often each question is asked.", min=1)] = 1,
    max_cost: Annotated[float | None, typer.Option(help="USD that all runs together may spend.", min=0)] = None,
    regrade: Annotated[
        bool, typer.Option("--regrade", help="Grade what was captured again; no model is asked.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Let a Ray cluster do it: host:port, auto, or local (one of its own)."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="With --ray: processes that ask.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Ask every model of a pool every question, grade the answers, write outcomes. Goes on where it stopped."""
    from cascade_cli.capture import run_capture
    from cascade_cli.capture_setup import CaptureOptions

    options = CaptureOptions(
        pool=pool,
        questions=questions,
        grader=grader,
        output=output,
        agree_with=agree_with,
        rubric=rubric,
        fields=field or (),
        limit=limit,
        runs=runs,
        max_cost=max_cost,
        regrade=regrade,
        show=not as_json,
        ray=ray,
        workers=workers,
    )
    result = run_capture(options)
    if as_json:
        print_json(result)


@app.command("import-outcomes")
def import_outcomes(
    kind: Annotated[
        Literal["langsmith", "litellm", "lm-eval", "cre"],
        typer.Argument(metavar="FORMAT", help="langsmith, litellm (OpenAI's shape, too), lm-eval, or cre."),
    ],
    files: Annotated[
        list[str], typer.Argument(help="Files; for lm-eval and cre also folders. MODEL=FILE names a model.")
    ],
    output: Annotated[Path, typer.Option(help="Outcomes: .jsonl, .jsonl.gz or .parquet.")],
    score: Annotated[
        str | None, typer.Option(help="Which feedback key, metric or field says what an answer was worth.")
    ] = None,
    answer_filter: Annotated[str | None, typer.Option("--filter", help="With lm-eval: which filter's rows.")] = None,
    grader: Annotated[
        str | None, typer.Option(help="Grade the logged answers, as `cascade capture --grader` does.")
    ] = None,
    questions: Annotated[str | None, typer.Option(help="With --grader: questions with their answers.")] = None,
    agree_with: Annotated[
        str | None, typer.Option(metavar="MODEL", help="With --grader: this model's answers count as the right ones.")
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=IN/OUT", help="USD per million tokens, where the log has no cost; repeat."),
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=USD", help="USD per answer, where the log has no tokens; repeat."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make outcomes of logs and evaluations that are there already."""
    from cascade_cli.import_outcomes import ImportOptions, run_import

    options = ImportOptions(
        kind=kind,
        files=files,
        output=output,
        score=score,
        answer_filter=answer_filter,
        grader=grader,
        questions=questions,
        agree_with=agree_with,
        prices=price or (),
        costs=cost or (),
        show=not as_json,
    )
    result = run_import(options)
    if as_json:
        print_json(result)


@app.command("import-cre")
def import_cre(
    artifacts: Annotated[Path, typer.Argument(help="Folder that `cre cluster` and `cre fit` of cre-router wrote.")],
    output: Annotated[Path, typer.Option(help="Folder the policy is written to.")],
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=FOLDER",
            help="A gated model's checkpoint of `cre qe-train`, which the policy will hold; repeat for another.",
        ),
    ] = None,
    max_length: Annotated[
        int, typer.Option(help="Tokens that the estimators read: as in the serving configuration.")
    ] = 4096,
    served_only: Annotated[
        bool, typer.Option("--served-only", help="Leave out models that the routing never asks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a policy of cre-router's artifacts: its clusters, routing, λ*, budget and gates, as stored."""
    from cascade_cli.cre_import import run_cre_import

    result = run_cre_import(
        artifacts,
        output,
        estimators=estimator or (),
        max_length=max_length,
        served_only=served_only,
        show=not as_json,
    )
    if as_json:
        print_json(result)
