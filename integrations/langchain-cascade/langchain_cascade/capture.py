"""Run a pool of chat models over questions, grade the answers, and keep every one of them: outcomes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    ttft, e2el = 1000 * ((first or ended) - started), 1000 * (ended - started)
    tokens = answer.output_tokens
    row = {
        "query_id": question.id,
        "query": question.text,
        "model": name,
        "output": answer.text,
        "correct": float(grade(question, answer.text)),
        "input_tokens": usage["input_tokens"] if usage else None,
        "output_tokens": tokens,
        "ttft_ms": round(ttft, 3),
        "tpot_ms": None if tokens is None else round((e2el - ttft) / max(1, tokens - 1), 3),
        "e2el_ms": round(e2el, 3),
        "cost_usd": usage["input_tokens"] * price[0] + usage["output_tokens"] * price[1] if usage and price else None,
        "finish_reason": answer.finish_reason,
        "token_logprobs": answer.token_logprobs,
        "token_margins": answer.token_margins,
        "run": 0,
        "task": getattr(question, "family", None),
    }
    return {key: value for key, value in row.items() if value is not None}
