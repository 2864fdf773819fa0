"""`cascade import-outcomes`: logs and evaluations that are there already become outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import typer

from cascade_cli.capture_grading import grade_answers
from cascade_cli.capture_questions import read_questions
from cascade_cli.importers import cre, langsmith, litellm, lm_eval
from cascade_cli.importers.logged import Logged, Skipped, Source
from cascade_components.grading import Question, named_grader
from cascade_components.outcomes import load_outcomes
from cascade_components.pricing import TokenPrice
from langchain_cascade.captures.measuring import Measured
from langchain_cascade.captures.member import Member
from langchain_cascade.captures.store import Cell

Kind = Literal["langsmith", "litellm", "lm-eval", "cre"]


@dataclass(frozen=True)
class ImportOptions:
    """What the command line says."""

    kind: Kind
    files: Sequence[str]
    output: Path
    score: str | None = None
    answer_filter: str | None = None
    grader: str | None = None
    questions: str | None = None
    agree_with: str | None = None
    prices: Sequence[str] = ()
    costs: Sequence[str] = ()
    show: bool = True


def run_import(options: ImportOptions) -> dict[str, Any]:
    """Read, grade where asked to, price, write.

    Returns:
        What `--json` prints.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Something is wrong in a file or an option; or no row has a score.
    """
    skipped = Skipped()
    logged = _numbered(_read(options, skipped))
    if options.grader is not None:
        logged = _graded(logged, options, skipped)
    elif options.questions or options.agree_with:
        msg = "--questions and --agree-with go with --grader."
        raise ValueError(msg)
    scored = [one for one in logged if "correct" in one.row]
    for _ in range(len(logged) - len(scored)):
        skipped.add("no score")
    if not scored:
        told = "; ".join(f"{count} rows: {reason}" for reason, count in skipped.reasons.items()) or "there are no rows"
        msg = f"No outcome in {', '.join(options.files)}: {told}. Name the score by --score, or grade by --grader."
        raise ValueError(msg)
    rows = _priced([one.row for one in scored], options)
    outcomes = load_outcomes(rows)
    outcomes.save(options.output)
    notes = [f"{count} rows: {reason}" for reason, count in skipped.reasons.items()]
    for note in notes:
        typer.echo(f"cascade: {note}", err=True)
    if options.show:
        counts = ", ".join(
            f"{model} {count}" for model, count in sorted(Counter(row.model for row in outcomes).items())
        )
        typer.echo(f"{len(outcomes)} outcomes of {len(outcomes.queries)} queries in {options.output}: {counts}")
    return {
        "output": str(options.output),
        "outcomes": len(outcomes),
        "questions": len(outcomes.queries),
        "models": list(outcomes.models),
        "notes": notes,
    }


def _read(options: ImportOptions, skipped: Skipped) -> list[Logged]:
    sources = [Source.parse(given) for given in options.files]
    if options.answer_filter is not None and options.kind != "lm-eval":
        msg = "--filter is for lm-eval."
        raise ValueError(msg)
    match options.kind:
        case "langsmith":
            return list(langsmith.read(sources, skipped, score=options.score))
        case "litellm":
            return list(litellm.read(sources, skipped, score=options.score))
        case "lm-eval":
            return list(lm_eval.read(sources, skipped, score=options.score, answer_filter=options.answer_filter))
        case "cre":
            return list(cre.read(sources, skipped))


def _numbered(logged: Iterable[Logged]) -> list[Logged]:
    """Repetitions get numbers where the log has none."""
    seen: Counter[tuple[str, str]] = Counter()
    found = list(logged)
    for one in found:
        if "run" not in one.row:
            key = (one.row["query_id"], one.row["model"])
            one.row["run"] = seen[key]
            seen[key] += 1
    return found


def _graded(logged: Sequence[Logged], options: ImportOptions, skipped: Skipped) -> list[Logged]:
    """The same with the grader's word as `correct`."""
    assert options.grader is not None  # noqa: S101
    if options.grader.startswith("judge:"):
        msg = "--grader judge:… needs a pool of models: use `cascade capture`, or a grader that asks no model."
        raise ValueError(msg)
    grader = named_grader(options.grader)
    models = {one.row["model"] for one in logged}
    if options.agree_with is not None and options.agree_with not in models:
        msg = f"--agree-with {options.agree_with}: there is no such model in the log, only {', '.join(sorted(models))}."
        raise ValueError(msg)
    labelled = {question.text: question for question in read_questions(options.questions)} if options.questions else {}
    questions: dict[str, Question] = {}
    for one in logged:
        query_id, text = one.row["query_id"], one.row["query"]
        known = labelled.get(text)
        answers, schema = (known.answers, known.schema) if known else (one.answers, None)
        choices = known.choices if known else ()
        questions.setdefault(query_id, Question(query_id, text, answers, choices, schema, place=one.place))
    usable = {query_id: question for query_id, question in questions.items() if _has_label(question, grader.needs)}
    asked = questions if options.agree_with else usable
    cells = {Cell(one.row["query_id"], one.row["model"], one.row["run"]): one for one in logged if "output" in one.row}
    members = {name: Member(name, model=None) for name in models}  # type: ignore[arg-type]
    answers_ = [(cell, _measured(one.row)) for cell, one in cells.items() if cell.query_id in asked]
    graded = grade_answers(answers_, list(asked.values()), members, grader, agree_with=options.agree_with)
    for reason, count in graded.ungradable.items():
        skipped.reasons[reason] = skipped.reasons.get(reason, 0) + count
    for one in logged:
        one.row.pop("correct", None)
    for row in graded.rows:
        cells[Cell(row["query_id"], row["model"], row["run"])].row["correct"] = row["correct"]
    return list(logged)


def _has_label(question: Question, needs: str) -> bool:
    return {"answer": bool(question.answers), "schema": question.schema is not None}.get(needs, True)


def _measured(row: Mapping[str, Any]) -> Measured:
    return Measured(**{field.name: row.get(field.name) for field in fields(Measured)})  # type: ignore[arg-type]


def _priced(rows: list[dict[str, Any]], options: ImportOptions) -> list[dict[str, Any]]:
    """The rows with a cost, where the log has none and the user says one."""
    prices = {model: _token_price(text) for model, text in _pairs(options.prices, "--price").items()}
    costs = {model: _usd(text) for model, text in _pairs(options.costs, "--cost").items()}
    models = {row["model"] for row in rows}
    for option, given in (("--price", prices), ("--cost", costs)):
        if set(given) - models:
            unknown = min(set(given) - models)
            msg = f"{option} {unknown}: there is no such model in the log, only {', '.join(sorted(models))}."
            raise ValueError(msg)
    for row in rows:
        if "cost_usd" in row:
            continue
        price, tokens = prices.get(row["model"]), (row.get("input_tokens"), row.get("output_tokens"))
        if price is not None and tokens[0] is not None and tokens[1] is not None:
            row["cost_usd"] = price.cost_usd(tokens[0], tokens[1])
        elif row["model"] in costs:
            row["cost_usd"] = costs[row["model"]]
    return rows


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for text in given:
        model, _, value = text.rpartition("=")
        if not model or not value:
            msg = f"{option} must be MODEL=…, found {text!r}."
            raise ValueError(msg)
        found[model] = value
    return found


def _token_price(text: str) -> TokenPrice:
    given, _, made = text.partition("/")
    return TokenPrice.per_million(_usd(given), _usd(made))


def _usd(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        msg = f"{text!r} is no amount of USD; write --price MODEL=0.15/0.6 or --cost MODEL=0.002."
        raise ValueError(msg)
    return value
