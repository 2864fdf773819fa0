"""`cascade`: the commands, and how bad input is told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

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
        _print_json(result)


@app.command()
def fit(
    outcomes: Annotated[list[Path], typer.Argument(help="Outcomes: .jsonl, .jsonl.gz or .parquet.")],
    out: Annotated[Path, typer.Option(help="Folder the policy is written to.")],
    budget: Budget = None,
    retention: Retention = None,
    cost_weight: CostWeight = None,
    confidence: Annotated[
        float | None, typer.Option(help="With --retention: certify it at this confidence, such as 0.95.")
    ] = None,
    cost: Annotated[str, typer.Option(help="cost_usd, tpot_ms or e2el_ms.")] = "cost_usd",
    strategy: Annotated[str, typer.Option(help="joint, or sequential (the paper's).")] = "joint",
    seed: int = 0,
) -> None:
    """Learn a policy from outcomes, save it and describe it."""
    import cascade_components as cc

    arguments: dict[str, Any] = {"cost": cost, "strategy": strategy, "seed": seed, "confidence": confidence}
    policy = cc.fit(outcomes, budget=budget, retention=retention, cost_weight=cost_weight, **arguments)
    policy.save(out)
    typer.echo(policy.describe())


@app.command()
def evaluate(
    policy: Annotated[Path, typer.Argument(help="The policy's folder.")],
    outcomes: Annotated[list[Path], typer.Argument(help="Outcomes to replay: .jsonl, .jsonl.gz or .parquet.")],
    budget: Budget = None,
    retention: Retention = None,
    cost_weight: CostWeight = None,
    as_json: AsJson = False,
) -> None:
    """Replay a policy on labelled outcomes; no model is called."""
    import cascade_components as cc

    loaded = cc.CascadePolicy.load(policy)
    if not budget is retention is cost_weight is None:
        loaded = loaded.at(budget=budget, retention=retention, cost_weight=cost_weight)
    found = cc.evaluate(loaded, outcomes).to_dict()
    if as_json:
        _print_json(found)
        return
    for name in ("queries", "skipped", "accuracy", "retention", "cost", "strongest_cost", "escalation_rate"):
        low_high = found["intervals"].get(name)
        interval = f"   95 % interval {low_high[0]:.4g} … {low_high[1]:.4g}" if low_high else ""
        typer.echo(f"{name:<16} {found[name]:.4g}{interval}")


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
    as_json: AsJson = False,
) -> None:
    """Ask every model of a pool every question, grade the answers, write outcomes. Goes on where it stopped."""
    from cascade_cli.capture import CaptureOptions, run_capture

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
    )
    result = run_capture(options)
    if as_json:
        _print_json(result)


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
        _print_json(result)


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
        _print_json(result)


@app.command()
def mcp(
    policy: Annotated[Path, typer.Argument(help="The policy's folder.")],
    pool: Annotated[
        str,
        typer.Option(
            help="The policy's models, as NAME=MODEL or MODEL: embedded ones, or names that init_chat_model knows. "
            "small=openai:gpt-4o-mini,large=openai:gpt-4o"
        ),
    ],
    prices: Annotated[
        str | None,
        typer.Option(help="USD per million tokens of each model, in/out: 0.15/0.6,2.5/10. Else: the policy's."),
    ] = None,
    transport: Annotated[
        Literal["stdio", "http"],
        typer.Option(help="stdio serves the one client that starts it; http (streamable HTTP) serves any."),
    ] = "stdio",
    host: Annotated[
        str, typer.Option(help="With http: the address. Who can reach it can spend your money.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="With http: the port; 0: any that is free.", min=0, max=65535)] = 8001,
) -> None:
    """Let agents of any framework ask the cascade, over the Model Context Protocol."""
    from cascade_cli.tool_server import run_tool_server

    run_tool_server(policy, pool, prices, address=None if transport == "stdio" else (host, port))


def run() -> None:
    """Entry point: bad input is one clear line on standard error and exit code 2."""
    try:
        app()
    except (ValueError, OSError, ImportError, RuntimeError, ExceptionGroup) as error:
        if os.environ.get("CASCADE_DEBUG"):
            raise
        typer.echo(f"cascade: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("cascade: stopped; what was captured is kept.", err=True)
        sys.exit(130)


def _print_json(data: dict[str, Any]) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False))
