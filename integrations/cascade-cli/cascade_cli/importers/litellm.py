"""JSONL logs of LiteLLM (StandardLoggingPayload), and others in OpenAI's shape: request and response, batch files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cascade_cli.importers.logged import (
    Logged,
    Skipped,
    Source,
    dig,
    first_of,
    last_human,
    number,
    plain_text,
    score_of,
    text_id,
    times,
    without_none,
)
from cascade_cli.rows import Row, read_rows

_REQUESTS = ("request.body", "request", "body", "kwargs")
_RESPONSES = ("response.body", "response", "completion")
_SCORES = ("correct", "score", "metadata.correct", "metadata.score", "feedback.score")


def read(sources: Sequence[Source], skipped: Skipped, *, score: str | None = None) -> Iterator[Logged]:
    """Read calls that succeeded.

    Args:
        sources: One call a line. OpenAI's batches are two files, the requests and the results: name both.
        skipped: Counts what is left out.
        score: Dotted path of the field that says what an answer was worth; None: `correct` or `score`, at the top, in
            `metadata` or in `feedback`; where there is none, a grader must say.

    Raises:
        ValueError: A line is broken, or a score is no number between 0 and 1; the message names the line.
    """
    rows = [(source, place, _unwrapped(row)) for source in sources for place, row in read_rows(source.path)]
    asked = {row["custom_id"]: row for _, _, row in rows if _is_request(row)}
    for source, place, row in rows:
        if _is_request(row):
            continue
        found = _logged(row, asked.get(row.get("custom_id"), {}), source, place, score)
        if isinstance(found, str):
            skipped.add(found)
        else:
            yield found


def _unwrapped(row: Row) -> Row:
    inner = row.get("standard_logging_object")
    return {**row, **inner} if isinstance(inner, dict) else row


def _is_request(row: Row) -> bool:
    return "custom_id" in row and "body" in row and "response" not in row


def _logged(row: Row, request: Row, source: Source, place: str, score: str | None) -> Logged | str:
    status = dig(row, "response.status_code")
    if row.get("status") == "failure" or row.get("error") or (isinstance(status, int) and status >= 400):
        return "the call failed"
    asked = next((part for name in _REQUESTS for of in (row, request) if isinstance(part := dig(of, name), dict)), {})
    given = next((part for name in _RESPONSES if (part := dig(row, name)) is not None), None)
    messages = first_of(row, ("messages", "input", "prompt")) or first_of(asked, ("messages", "input", "prompt"))
    output, messages = _output(given, messages)
    query = last_human(messages)
    model = source.model or row.get("model_group") or row.get("model") or asked.get("model") or dig(given, "model")
    if not query or not query.strip():
        return "there is no question in it"
    if output is None:
        return "there is no answer in it"
    if not model:
        msg = f"{place}: the line names no model; name it as MODEL={source.path}."
        raise ValueError(msg)
    value = dig(row, score) if score else first_of(row, _SCORES)
    outcome = {
        "query_id": text_id(query),
        "query": query,
        "model": str(model),
        "output": output,
        "correct": None if value is None else score_of(value, place, score or "the score"),
        "finish_reason": dig(given, "choices.0.finish_reason"),
        **_measured(row, given),
    }
    return Logged(place, without_none(outcome))


def _output(given: Any, messages: Any) -> tuple[str | None, Any]:
    """The answer's text, and the conversation before it."""
    content = given
    if isinstance(given, dict):
        content = first_of(given, ("choices.0.message.content", "choices.0.text", "output_text", "content"))
    if content is None and isinstance(messages, list) and messages and dig(messages[-1], "role") == "assistant":
        return plain_text(messages[-1].get("content")), messages[:-1]
    return plain_text(content), messages


def _measured(row: Row, given: Any) -> dict[str, Any]:
    made = first_of(row, ("completion_tokens", "usage.completion_tokens")) or dig(given, "usage.completion_tokens")
    read = first_of(row, ("prompt_tokens", "usage.prompt_tokens")) or dig(given, "usage.prompt_tokens")
    found = {"input_tokens": read, "output_tokens": made}
    if row.get("cache_hit"):  # its time and cost are the cache's, not the model's
        return found
    took = times(row.get("startTime"), row.get("completionStartTime"), row.get("endTime"), made)
    return {**found, **took, "cost_usd": number(first_of(row, ("response_cost", "cost_usd", "cost")))}
