"""Run a pool of chat models over questions, grade the answers, and keep every one of them: outcomes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from langchain_core.language_models import BaseChatModel

from cascade_components.failures import told
from langchain_cascade.captures.measuring import measure


class CaptureQuestion(Protocol):
    """What a question needs to be captured."""

    @property
    def id(self) -> str:
        """Stands for the text; never changes."""
        ...

    @property
    def text(self) -> str:
        """What the models are asked."""
        ...


Q = TypeVar("Q", bound=CaptureQuestion)


def capture(
    models: Mapping[str, BaseChatModel],
    questions: Iterable[Q],
    path: str | os.PathLike[str],
    *,
    grade: Callable[[Q, str], float | bool],
    prices: Mapping[str, tuple[float, float]] | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Ask every model every question by streaming, one after the other, so that the times are its own.

    Every answer is on disk before the next question is asked; called again, it goes on where it stopped.

    Args:
        models: Chat models by the name they have in the pool.
        questions: Each with an `id` and a `text`; a `family`, where there is one, becomes the outcome's `task`.
        path: JSON lines, one outcome a line; made, or continued.
        grade: Says what an answer's text is worth: 0…1, or whether it is right.
        prices: USD per input and per output token of each model; None: no `cost_usd`.
        progress: Show a progress bar on a terminal.

    Returns:
        One outcome row for each question and model, ready for `load_outcomes`.

    Raises:
        RuntimeError: A model failed; the message names it and the question, the cause is chained. What was captured
            is kept.
        ValueError: The file has a broken line, or belongs to other questions; or a question's id stands twice.

    Example:
        >>> rows = capture({"small": small}, questions, "outcomes.jsonl", grade=my_grader)   # doctest: +SKIP
    """
    from tqdm import tqdm

    file, asked = Path(path), list(questions)
    rows = _kept(file, _texts(asked))
    missing = [(name, question) for name in models for question in asked if (question.id, name) not in rows]
    with file.open("a", encoding="utf-8") as log:
        for name, question in tqdm(missing, desc="capture", unit="answer", disable=None if progress else True):
            row = _ask(models[name], name, question, grade, (prices or {}).get(name))
            log.write(json.dumps(row, ensure_ascii=False) + "\n")
            log.flush()
            os.fsync(log.fileno())
            rows[question.id, name] = row
    return [rows[question.id, name] for name in models for question in asked]


def _texts(questions: Sequence[CaptureQuestion]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for question in questions:
        if question.id in texts:
            msg = f"question id {question.id!r} stands twice; give each question its own id."
            raise ValueError(msg)
        texts[question.id] = question.text
    return texts


def _kept(file: Path, texts: Mapping[str, str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows captured earlier. A last line that was cut off by a crash is dropped from the file."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    content = file.read_bytes() if file.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(file, len(whole))
    # Cut at line feeds alone: `str.splitlines` would also cut at U+2028, which may stand in an answer.
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            row = json.loads(line)
            name, text = row["query_id"], row["query"]
            rows[name, row["model"]] = row
        except (ValueError, KeyError, TypeError):
            msg = f"{file}, line {number} is no outcome; mend or delete the line, or choose another path."
            raise ValueError(msg) from None
        if texts.get(name, text) != text:
            msg = f"{file}, line {number}: question {name!r} had another text; choose another path."
            raise ValueError(msg)
    return rows


def _ask(
    model: BaseChatModel, name: str, question: Q, grade: Callable[[Q, str], float | bool], price: Any
) -> dict[str, Any]:
    try:
        found = measure(model, question.text, name)
    except Exception as error:  # whatever a provider raises: told with its place, never recorded as a wrong answer
        msg = f"{name} failed at question {question.id!r} ({told(error)}); captured answers are kept."
        raise RuntimeError(msg) from error
    cost = None
    if price and found.input_tokens is not None and found.output_tokens is not None:
        cost = found.input_tokens * price[0] + found.output_tokens * price[1]
    row = {
        "query_id": question.id,
        "query": question.text,
        "model": name,
        "output": found.output,
        "correct": float(grade(question, found.output)),
        "input_tokens": found.input_tokens,
        "output_tokens": found.output_tokens,
        "ttft_ms": found.ttft_ms,
        "tpot_ms": found.tpot_ms,
        "e2el_ms": found.e2el_ms,
        "cost_usd": cost,
        "finish_reason": found.finish_reason,
        "token_logprobs": found.token_logprobs,
        "token_margins": found.token_margins,
        "run": 0,
        "task": getattr(question, "family", None),
    }
    return {key: value for key, value in row.items() if value is not None}
