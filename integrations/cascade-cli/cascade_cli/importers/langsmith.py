"""Runs of LangSmith with their feedback, as its client lists them and its export writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cascade_cli.importers.logged import (
    Logged,
    Skipped,
    Source,
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

_MODELS = (
    "extra.metadata.ls_model_name",
    "extra.invocation_params.model",
    "extra.invocation_params.model_name",
    "metadata.ls_model_name",
)
_QUESTIONS = ("messages", "prompts.0", "prompt", "input", "question", "query", "text")
_MESSAGE = "generations.0.0.message.kwargs."
_OUTPUTS = (
    _MESSAGE + "content",
    "generations.0.0.text",
    "generations.0.text",
    "choices.0.message.content",
    "message.content",
    "content",
    "output",
    "answer",
)
Scores = Mapping[str, float]


def read(sources: Sequence[Source], skipped: Skipped, *, score: str | None = None) -> Iterator[Logged]:
    """Read the model calls, each with the feedback on it or, where it is the only one of its trace, on the trace.

    Where there are no model calls, the traces' own runs are read, as an experiment lists them.

    Args:
        sources: Runs, one a line, with `feedback_stats`; files of feedback (`run_id`, `key`, `score`) beside them.
        skipped: Counts what is left out.
        score: The feedback's key; None: the only one that there is.

    Raises:
        ValueError: A line is broken, several keys are there and none was named, a score is no number between 0 and
            1, or a run names no model; the message names the line.
    """
    rows = [(source, place, row) for source in sources for place, row in read_rows(source.path)]
    runs = [(source, place, row) for source, place, row in rows if "run_type" in row]
    feedback = _feedback([row for _, _, row in rows])
    key = score or _only_key(feedback)
    calls = [run for run in runs if run[2]["run_type"] == "llm"] or [run for run in runs if _is_root(run[2])]
    per_trace = Counter(_trace(row) for _, _, row in calls)
    for source, place, row in calls:
        own = feedback.get(str(row.get("id")), {})
        whole = feedback.get(_trace(row), {}) if per_trace[_trace(row)] == 1 else {}
        found = _logged(row, source, place, {**whole, **own}, key)
        if isinstance(found, str):
            skipped.add(found)
        else:
            yield found


def _feedback(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Run → key → score; of several on one key, the mean."""
    found: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        for key, stats in (row.get("feedback_stats") or {}).items():
            value = stats.get("avg") if isinstance(stats, dict) else stats
            if value is not None:
                found.setdefault(str(row.get("id")), {})[key] = [value]
        if "run_type" not in row and "key" in row and row.get("score") is not None:
            found.setdefault(str(row.get("run_id")), {}).setdefault(str(row["key"]), []).append(row["score"])
    return {run: {key: _mean(values) for key, values in keys.items()} for run, keys in found.items()}


def _mean(values: Sequence[Any]) -> Any:
    numbers = [value for given in values if (value := number(given)) is not None]
    return sum(numbers) / len(numbers) if len(numbers) == len(values) else values[0]


def _only_key(feedback: Mapping[str, Mapping[str, Any]]) -> str | None:
    keys = sorted({key for scores in feedback.values() for key in scores})
    if len(keys) > 1:
        msg = f"There is feedback on {', '.join(keys)}; say which one counts: --score {keys[0]}."
        raise ValueError(msg)
    return keys[0] if keys else None


def _is_root(row: Row) -> bool:
    return not row.get("parent_run_id")


def _trace(row: Row) -> str:
    return str(row.get("trace_id") or row.get("id"))


def _logged(row: Row, source: Source, place: str, scores: Mapping[str, Any], key: str | None) -> Logged | str:
    if row.get("error"):
        return "the run failed"
    query = last_human(first_of(row.get("inputs"), _QUESTIONS))
    output = plain_text(first_of(row.get("outputs"), _OUTPUTS))
    if not query or not query.strip():
        return "there is no question in it"
    if output is None:
        return "there is no answer in it"
    model = source.model or first_of(row, _MODELS)
    if not model:
        msg = f"{place}: the run names no model; name it as MODEL={source.path}."
        raise ValueError(msg)
    tokens = row.get("completion_tokens")
    outcome = {
        "query_id": str(row.get("reference_example_id") or text_id(query)),
        "query": query,
        "model": str(model),
        "output": output,
        "correct": score_of(scores[key], place, f"the feedback {key!r}") if key and key in scores else None,
        "input_tokens": row.get("prompt_tokens"),
        "output_tokens": tokens,
        "cost_usd": number(row.get("total_cost")),
        "finish_reason": first_of(row.get("outputs"), (_MESSAGE + "response_metadata.finish_reason",)),
        **times(row.get("start_time"), row.get("first_token_time"), row.get("end_time"), tokens),
    }
    return Logged(place, without_none(outcome))
