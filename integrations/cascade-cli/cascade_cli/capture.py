"""`cascade capture`: a pool of models × questions × a grader → outcomes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from tqdm import tqdm

from cascade_cli.capture_grading import Graded, grade_answers, require_labels
from cascade_cli.capture_pool import PoolFile, make_members, price_of, read_pool_file
from cascade_cli.capture_questions import FIELDS, read_questions
from cascade_components.grading import Grader, Question, named_grader
from cascade_components.outcomes import Outcomes, load_outcomes
from langchain_cascade.captures.budget import Budget
from langchain_cascade.captures.engine import Filled, fill
from langchain_cascade.captures.judge import RUBRIC, Judge
from langchain_cascade.captures.member import Member
from langchain_cascade.captures.store import AnswerStore


@dataclass(frozen=True)
class CaptureOptions:
    """What the command line says."""

    pool: Path
    questions: str
    grader: str
    output: Path
    agree_with: str | None = None
    rubric: Path | None = None
    fields: Sequence[str] = ()
    limit: int | None = None
    runs: int = 1
    max_cost: float | None = None
    regrade: bool = False
    show: bool = True

    @property
    def database(self) -> Path:
        """Where the answers are kept, beside the outcomes."""
        stem = self.output.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".parquet")
        return self.output.with_name(f"{stem}.capture.sqlite")


def run_capture(options: CaptureOptions) -> dict[str, Any]:
    """Ask what is missing, grade everything, write the outcomes.

    Returns:
        What `--json` prints.

    Raises:
        FileNotFoundError: A file is missing; or there is nothing to grade again.
        ImportError: A package is missing.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
        OSError: The disk is full, or another capture writes to the same file.
        RuntimeError: Nothing could be captured.
        ValueError: Something is wrong in a file or an option.
    """
    pool = read_pool_file(options.pool)
    named = _known_grader(options, pool)
    questions = read_questions(
        options.questions,
        names=_field_names(options.fields),
        options_in_prompt=options.grader == "choice",
        limit=options.limit,
    )
    if named is not None:
        require_labels(named, questions, options.agree_with)
    if options.regrade and not options.database.is_file():
        msg = f"There is nothing to grade again: {options.database} is not there. Capture without --regrade first."
        raise FileNotFoundError(msg)
    # Grading again asks none of them, so that no key is needed.
    members = {} if options.regrade else make_members(pool.models, options.pool)
    judges = _judge_member(options, pool, members)
    priced = members or {name: _unasked(name, pool) for name in pool.models}
    with AnswerStore(options.database) as store:
        store.expect(questions, {member.name: member.fingerprint for member in members.values()})
        budget = Budget.over(options.max_cost, {**priced, **judges}.values(), store.tokens())
        filled = Filled() if options.regrade else _fill(store, list(members.values()), questions, budget, options)
        grader = named or Judge(next(iter(judges.values())), store, budget, _rubric(options))
        graded = _grade(store, questions, priced, grader, judges, options)
        return _finished(store, questions, priced, filled, graded, budget, options)


def _known_grader(options: CaptureOptions, pool: PoolFile) -> Grader | None:
    """The grader, or None for a judge: it is made when its model is; with a look at what goes with it."""
    if options.agree_with is not None and options.agree_with not in pool.models:
        known = ", ".join(pool.models)
        msg = f"--agree-with {options.agree_with}: there is no such model in {options.pool}, only {known}."
        raise ValueError(msg)
    kind, _, judge = options.grader.partition(":")
    if kind != "judge":
        if options.rubric is not None:
            msg = "--rubric is for --grader judge:MODEL."
            raise ValueError(msg)
        return named_grader(options.grader)
    if judge not in {**pool.models, **pool.judges}:
        known = ", ".join({**pool.models, **pool.judges})
        msg = f"--grader {options.grader} needs a model of {options.pool}, as judge:NAME; there are {known}."
        raise ValueError(msg)
    _rubric(options)
    return None


def _rubric(options: CaptureOptions) -> str:
    text = RUBRIC if options.rubric is None else options.rubric.read_text(encoding="utf-8").strip()
    if not text:
        msg = f"--rubric {options.rubric}: the file is empty."
        raise ValueError(msg)
    return text


def _judge_member(options: CaptureOptions, pool: PoolFile, members: Mapping[str, Member]) -> dict[str, Member]:
    kind, _, name = options.grader.partition(":")
    if kind != "judge":
        return {}
    if name in members:
        return {name: members[name]}
    return make_members({name: {**pool.models, **pool.judges}[name]}, options.pool)


def _unasked(name: str, pool: PoolFile) -> Member:
    """A model that only its price is asked of."""
    return Member(name, model=None, price=price_of(pool.models[name]))  # type: ignore[arg-type]


def _field_names(fields: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for given in fields:
        field, _, name = given.partition("=")
        if field not in FIELDS or not name:
            msg = f"--field must be FIELD=NAME with one of {', '.join(FIELDS)}; found {given!r}."
            raise ValueError(msg)
        names[field] = name
    return names


def _fill(
    store: AnswerStore,
    members: Sequence[Member],
    questions: Sequence[Question],
    budget: Budget,
    options: CaptureOptions,
) -> Filled:
    total = len(members) * len(questions) * options.runs
    wanted = {(question.id, member.name) for question in questions for member in members}
    there = sum((cell.query_id, cell.model) in wanted and cell.run < options.runs for cell in store.answered())
    with tqdm(total=total, initial=there, desc="capture", unit="answer", disable=None if options.show else True) as bar:

        def tick(filled: Filled) -> None:
            failed = filled.failures.total()
            bar.set_postfix_str(f"${budget.spent:.4g}" + (f", {failed} failed" if failed else ""), refresh=False)
            bar.update(there + filled.answers.total() - bar.n)

        filled, stopped = asyncio.run(_filled(store, members, questions, budget, options.runs, tick))
    if stopped:
        raise KeyboardInterrupt
    return filled


async def _filled(
    store: AnswerStore,
    members: Sequence[Member],
    questions: Sequence[Question],
    budget: Budget,
    runs: int,
    tick: Callable[[Filled], None],
) -> tuple[Filled, bool]:
    """What was done, and whether Ctrl-C ended it."""
    stop, filled = asyncio.Event(), Filled()
    _on_interrupt(stop)
    # Models that know no asyncio are asked in threads, and answers are written in them.
    threads = 4 + sum(member.concurrency for member in members)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
    try:
        filled = await fill(store, members, questions, budget=budget, runs=runs, stop=stop, tick=tick)
    except asyncio.CancelledError:
        stop.set()
    return filled, stop.is_set()


def _on_interrupt(stop: asyncio.Event) -> None:
    """The first Ctrl-C lets the calls under way end, as they are paid for; the second one drops them."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
            return
        typer.echo("\ncascade: stopping; waiting for the calls under way. Ctrl-C again drops them.", err=True)
        stop.set()

    try:
        loop.add_signal_handler(signal.SIGINT, interrupted)
    except NotImplementedError:  # Windows: Ctrl-C drops them at once
        return


def _grade(
    store: AnswerStore,
    questions: Sequence[Question],
    members: Mapping[str, Member],
    grader: Grader,
    judges: Mapping[str, Member],
    options: CaptureOptions,
) -> Graded:
    answers = [(cell, measured) for cell, measured in store.answers() if cell.run < options.runs or options.regrade]
    with tqdm(total=len(answers), desc="grade", unit="answer", disable=None if options.show else True) as bar:
        return grade_answers(
            answers,
            questions,
            members,
            grader,
            agree_with=options.agree_with,
            concurrency=max((judge.concurrency for judge in judges.values()), default=1),
            tick=bar.update,
        )


def _finished(
    store: AnswerStore,
    questions: Sequence[Question],
    members: Mapping[str, Member],
    filled: Filled,
    graded: Graded,
    budget: Budget,
    options: CaptureOptions,
) -> dict[str, Any]:
    told = _told(filled, graded, members)
    if not graded.rows:
        msg = f"Nothing could be {'graded' if store.answered() else 'captured'}. {'; '.join(told)}"
        raise RuntimeError(msg)
    outcomes = load_outcomes(graded.rows)
    outcomes.save(options.output)
    for line in told:
        typer.echo(f"cascade: {line}", err=True)
    summary = {
        "output": str(options.output),
        "outcomes": len(outcomes),
        "questions": len(outcomes.queries),
        "spent_usd": budget.spent,
        "models": {name: _of_model(name, outcomes, len(questions) * options.runs) for name in members},
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
