"""From answers to outcomes: each answer is graded, by the right answer or by the strongest model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from cascade_components.grading import Grader, Question, UngradableError, worth
from cascade_components.grading.grader import final_text
from langchain_cascade.captures.measuring import Measured
from langchain_cascade.captures.member import Member
from langchain_cascade.captures.store import Cell

Answers = Sequence[tuple[Cell, Measured]]


@dataclass
class Graded:
    """Outcomes, and what could not be graded."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    ungradable: Counter[str] = field(default_factory=Counter)
    """How many answers were not graded, by the reason."""


def require_labels(grader: Grader, questions: Iterable[Question], agree_with: str | None) -> None:
    """Make sure that each question has what it is graded against, before anything is asked.

    Raises:
        ValueError: One has not; the message names its line.
    """
    if agree_with is not None and grader.needs == "schema":
        msg = f"--agree-with compares answers; {grader.name} does not."
        raise ValueError(msg)
    if grader.needs == "nothing" or agree_with is not None:
        return
    for question in questions:
        if grader.needs == "answer" and not question.answers:
            msg = (
                f"{question.place}: the question {question.id!r} has no answer to grade against; give it an `answer`, "
            )
            raise ValueError(msg + "or grade by agreement with your strongest model: --agree-with MODEL.")
        if grader.needs == "schema" and question.schema is None:
            msg = f"{question.place}: the question {question.id!r} has no schema to grade against."
            raise ValueError(msg + " Give it a `schema`, or all of them one: --grader json-schema:FILE.")


def grade_answers(
    answers: Answers,
    questions: Sequence[Question],
    members: Mapping[str, Member],
    grader: Grader,
    *,
    agree_with: str | None = None,
    concurrency: int = 1,
    tick: Callable[[], object] = lambda: None,
) -> Graded:
    """Grade the answers of these models to these questions.

    Args:
        answers: What the store holds; others in it are left out.
        questions: In the order of the outcomes.
        members: What an answer costs is reckoned at their prices.
        grader: Says what an answer is worth.
        agree_with: A model whose first answer to each question counts as the right one.
        concurrency: Answers that are graded at the same time; 1: in this thread.
        tick: Called after each answer.

    Raises:
        ValueError: The grader says something else than 0…1.
    """
    kept = {cell: measured for cell, measured in answers if cell.model in members}
    order = {question.id: (place, question) for place, question in enumerate(questions)}
    graded = Graded()
    if agree_with is not None:
        order = _with_references(order, kept, grader, agree_with, graded)
    cells = sorted(
        (cell for cell in kept if cell.query_id in order),
        key=lambda cell: (order[cell.query_id][0], cell.model, cell.run),
    )

    def value(cell: Cell) -> float | str:
        if agree_with == cell.model and cell.run == 0:
            return 1.0
        try:
            return worth(grader, order[cell.query_id][1], kept[cell].output)
        except UngradableError as error:
            return str(error)

    for cell, found in zip(cells, _mapped(value, cells, concurrency), strict=True):
        tick()
        if isinstance(found, str):
            graded.ungradable[found] += 1
        else:
            graded.rows.append(_outcome(order[cell.query_id][1], cell, kept[cell], found, members[cell.model]))
    return graded


def _mapped(function: Callable[[Cell], float | str], cells: Sequence[Cell], workers: int) -> Iterator[float | str]:
    if workers == 1:
        yield from map(function, cells)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(function, cells)
    finally:
        pool.shutdown(cancel_futures=True)


def _with_references(
    order: Mapping[str, tuple[int, Question]],
    kept: Mapping[Cell, Measured],
    grader: Grader,
    strongest: str,
    graded: Graded,
) -> dict[str, tuple[int, Question]]:
    """The questions with the strongest model's answer as the right one, where it gave one that can be compared with."""
    found: dict[str, tuple[int, Question]] = {}
    for query_id, (place, question) in order.items():
        reference = kept.get(Cell(query_id, strongest, 0))
        if reference is None:
            graded.ungradable[f"{strongest} has no answer to the question"] += 1
            continue
        known = replace(question, answers=(final_text(reference.output),))
        if _comparable(grader, known, reference.output):
            found[query_id] = (place, known)
        else:
            graded.ungradable[f"{strongest}'s answer gives nothing to compare with"] += 1
    return found


def _comparable(grader: Grader, question: Question, output: str) -> bool:
    if not final_text(output):
        return False
    if grader.needs != "answer":  # a judge, or a function of the user's: it compares whatever there is
        return True
    try:
        return worth(grader, question, output) == 1
    except UngradableError:
        return False


def _outcome(question: Question, cell: Cell, measured: Measured, correct: float, member: Member) -> dict[str, Any]:
    row = {
        "query_id": question.id,
        "query": question.text,
        "model": cell.model,
        "output": measured.output,
        "correct": correct,
        "input_tokens": measured.input_tokens,
        "output_tokens": measured.output_tokens,
        "ttft_ms": measured.ttft_ms,
        "tpot_ms": measured.tpot_ms,
        "e2el_ms": measured.e2el_ms,
        "cost_usd": member.cost_usd(measured),
        "finish_reason": measured.finish_reason,
        "token_logprobs": measured.token_logprobs,
        "token_margins": measured.token_margins,
        "run": cell.run,
        "task": question.task,
    }
    return {name: value for name, value in row.items() if value is not None}
