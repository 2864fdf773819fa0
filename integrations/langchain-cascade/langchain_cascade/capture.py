"""Run a pool of chat models over questions, grade the answers, and keep every one of them: outcomes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_cascade.answers import answer_of


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
    questions: Sequence[Q],
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
        ValueError: The file has a broken line, or belongs to other questions.

    Example:
        >>> rows = capture({"small": small}, questions, "outcomes.jsonl", grade=my_grader)   # doctest: +SKIP
    """
    from tqdm import tqdm

    file = Path(path)
    rows = {(row["query_id"], row["model"]): row for row in _kept(file, questions)}
    missing = [(name, question) for name in models for question in questions if (question.id, name) not in rows]
    with file.open("a", encoding="utf-8") as log:
        for name, question in tqdm(missing, desc="capture", unit="answer", disable=None if progress else True):
            row = _ask(models[name], name, question, grade, (prices or {}).get(name))
            log.write(json.dumps(row, ensure_ascii=False) + "\n")
            log.flush()
            os.fsync(log.fileno())
            rows[question.id, name] = row
    return [rows[question.id, name] for name in models for question in questions]


def _kept(file: Path, questions: Sequence[CaptureQuestion]) -> Iterator[dict[str, Any]]:
    """Rows captured earlier. A last line that was cut off by a crash is dropped from the file."""
    if not file.exists():
        return
    texts = {question.id: question.text for question in questions}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(file, len(whole))
    for number, line in enumerate(whole.decode("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            known = texts.get(row["query_id"])
        except (ValueError, KeyError, TypeError):
            msg = f"{file}, line {number} is no outcome; mend or delete the line, or choose another path."
            raise ValueError(msg) from None
        if known is not None and known != row["query"]:
            msg = f"{file}, line {number}: question {row['query_id']!r} had another text; choose another path."
            raise ValueError(msg)
        if known is not None:
            yield row


def _ask(
    model: BaseChatModel, name: str, question: Q, grade: Callable[[Q, str], float | bool], price: Any
) -> dict[str, Any]:
    started = time.perf_counter()
    first, whole = None, None
    try:
        for chunk in model.stream(question.text):
            if first is None and (chunk.text or getattr(chunk, "tool_call_chunks", None)):
                first = time.perf_counter()
            whole = chunk if whole is None else whole + chunk
    except Exception as error:  # whatever a provider raises: told with its place, never recorded as a wrong answer
        msg = f"{name} failed at question {question.id!r} ({type(error).__name__}: {error}); captured answers are kept."
        raise RuntimeError(msg) from error
    ended = time.perf_counter()
    message = whole if isinstance(whole, AIMessageChunk) else AIMessage("")
    answer, usage = answer_of(message, name), message.usage_metadata
    ttft = 1000 * ((first or ended) - started)
    row = {
        "query_id": question.id,
        "query": question.text,
        "model": name,
        "output": answer.text,
        "correct": float(grade(question, answer.text)),
        "input_tokens": usage["input_tokens"] if usage else None,
        "output_tokens": answer.output_tokens,
        "ttft_ms": round(ttft, 3),
        "tpot_ms": round((1000 * (ended - started) - ttft) / max(1, (answer.output_tokens or 1) - 1), 3),
        "e2el_ms": round(1000 * (ended - started), 3),
        "cost_usd": usage["input_tokens"] * price[0] + usage["output_tokens"] * price[1] if usage and price else None,
        "finish_reason": answer.finish_reason,
        "token_logprobs": answer.token_logprobs,
        "token_margins": answer.token_margins,
        "run": 0,
        "task": getattr(question, "family", None),
    }
    return {key: value for key, value in row.items() if value is not None}
