"""From nothing to a measured cascade of real models: capture, fit, evaluate, and answer live."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import cascade_components as cc
from cascade_cli.comparison import RETENTIONS, compare
from cascade_cli.pools import Pool, make_pool
from cascade_cli.questions import Question, generate_questions, grade, split_questions

RECORDED = "outcomes.jsonl.gz"
"""Our recorded outcomes of the embedded pool, made by `cascade quickstart --recapture`."""

LIVE = 12
"""Test questions answered live."""


def run_quickstart(
    names: Sequence[str], *, prices: str | None, recapture: bool, questions: Sequence[str] | None, show: bool
) -> dict[str, Any]:
    """Run everything; returns what `--json` prints."""
    console = Console(stderr=not show, highlight=False)
    for question in questions or ():
        if not question.strip():
            msg = "--ask: the question is empty."
            raise ValueError(msg)
    asked = generate_questions()
    pool = make_pool(names, prices)
    outcomes = _outcomes(pool, asked, console, recapture=recapture)
    test_ids = {question.id for question in split_questions(asked)["test"]}
    console.print(f"[bold]fit[/] on {len(outcomes.queries) - len(test_ids)} questions …")
    started = time.perf_counter()
    policy = cc.fit(
        outcomes.where(lambda row: row.query_id not in test_ids),
        cost=pool.metric,
        retention=RETENTIONS["cascade"],
        progress=show,
    )
    policy.save(_cache() / "policy")
    console.print(f"policy saved in {_cache() / 'policy'} ({time.perf_counter() - started:.0f} s)\n")
    console.print(policy.describe(), style="dim")
    test = outcomes.where(lambda row: row.query_id in test_ids)
    results = compare(policy, test)
    live = _answer_live(policy, pool, _chosen(asked, questions), console)
    _print_results(results, policy, len(test_ids), console)
    return {
        "questions": len(test_ids),
        "pool": list(policy.models),
        "metric": policy.metric,
        "results": results,
        "live": live,
    }


def _cache() -> Path:
    from cascade_local import cache_dir

    return cache_dir().parent / "quickstart"


def _outcomes(pool: Pool, asked: Sequence[Question], console: Console, *, recapture: bool) -> cc.Outcomes:
    """The recorded outcomes where they cover the pool, else the cached capture, completed as far as it goes."""
    recorded = resources.files("cascade_cli") / "data" / RECORDED
    if not recapture and recorded.is_file():
        with resources.as_file(recorded) as path:
            outcomes = cc.load_outcomes(path)
        if set(pool.models) <= set(outcomes.models):
            console.print(
                f"[bold]outcomes[/] recorded earlier, {len(outcomes.queries)} questions (--recapture asks again)"
            )
            return outcomes.where(lambda row: row.model in pool.models)
    from langchain_cascade import capture

    key = hashlib.sha256(json.dumps([sorted(pool.models), [q.text for q in asked]]).encode()).hexdigest()[:12]
    path = _cache() / f"outcomes-{key}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    console.print(
        f"[bold]capture[/] {len(asked)} questions × {len(pool.models)} models into {path} (resumes if stopped)"
    )
    rows = capture(pool.models, asked, path, grade=grade, prices=pool.usd_per_token)
    return cc.load_outcomes(rows)


def _chosen(asked: Sequence[Question], questions: Sequence[str] | None) -> list[tuple[str, Question | None]]:
    """The user's questions, or a dozen test questions of as many families."""
    if questions:
        return [(question, None) for question in questions]
    first = {question.family: question for question in split_questions(asked)["test"]}
    return [(question.text, question) for question in list(first.values())[:LIVE]]


def _answer_live(
    policy: cc.CascadePolicy, pool: Pool, chosen: Sequence[tuple[str, Question | None]], console: Console
) -> list[dict[str, Any]]:
    from langchain_cascade import CascadeChatModel

    model = CascadeChatModel(policy=policy, models=pool.models)
    rows = []
    for text, question in chosen:
        console.print(f"\n[bold cyan]{text.strip().splitlines()[-1]}[/]")
        started, answer = time.perf_counter(), None
        for chunk in model.stream(text):
            console.print(chunk.text, end="", markup=False, soft_wrap=True)
            answer = chunk if answer is None else answer + chunk
        elapsed = 1000 * (time.perf_counter() - started)
        trace = answer.response_metadata["cascade"] if answer is not None else {}
        row = {**trace, "question": text, "answer": "" if answer is None else answer.text, "e2el_ms": elapsed}
        row["correct"] = None if question is None else grade(question, row["answer"])
        console.print(f"\n[dim]{_line(row)}[/]")
        rows.append(row)
    return rows


def _line(row: dict[str, Any]) -> str:
    scores = [f"{score:.2f}" for score in row["scores"] if score is not None]
    verdict = {None: "", True: "  right", False: "  wrong"}[row["correct"]]
    return (
        f"cluster {'–' if row['cluster'] is None else row['cluster']}  {' → '.join(row['path'])}  "
        f"P(correct) {', '.join(scores) or 'not judged'}  {_money(row.get('cost_usd'))}  "
        f"{row['e2el_ms']:.0f} ms{verdict}"
    )


def _money(cost: float | None) -> str:
    return "price unknown" if cost is None else f"${cost * 1e6:.2f} per million"


def _print_results(results: dict[str, Any], policy: cc.CascadePolicy, count: int, console: Console) -> None:
    strongest = results[f"always:{policy.strongest}"]
    unit = "USD per million queries" if policy.metric == "cost_usd" else policy.metric
    table = Table(title=f"\n{count} test questions; cost in {unit}")
    for name in ("", "accuracy", "kept", "cost", "of strongest", "E2EL ms", "TPOT ms", "escalated"):
        table.add_column(name, justify="left" if not name else "right")
    for name, row in results.items():
        cost = row["cost"] * (1e6 if policy.metric == "cost_usd" else 1)
        table.add_row(
            name,
            f"{row['accuracy']:.3f}",
            f"{row['accuracy'] / strongest['accuracy']:.1%}",
            f"{cost:.2f}",
            f"{row['cost'] / strongest['cost']:.0%}",
            *("–" if row[key] is None else f"{row[key]:.0f}" for key in ("e2el_ms", "tpot_ms")),
            f"{row['escalation_rate']:.0%}" if "escalation_rate" in row else "",
            style="bold" if name == "cascade" else None,
        )
    console.print(table)
