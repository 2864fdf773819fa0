"""Samples of EleutherAI's lm-evaluation-harness, as `--log_samples` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cascade_cli.importers.logged import Logged, Skipped, Source, dig, first_of, plain_text, score_of, without_none
from cascade_cli.rows import Row, read_rows
from cascade_components.cre_stats import read_json

_NAME = re.compile(r"samples_(?P<task>.+?)_(?P<date>\d{4}-\d\d-\d\dT[\d.\-]+)\.jsonl")
_QUESTIONS = ("question", "query", "problem", "Question", "input", "prompt", "goal", "ctx", "sentence")
_METRICS = ("exact_match", "acc", "acc_norm", "pass@1", "pass_at_1", "f1")
"""What usually says whether an answer is right, the surest first."""


def read(
    sources: Sequence[Source], skipped: Skipped, *, score: str | None = None, answer_filter: str | None = None
) -> Iterator[Logged]:
    """Read samples_TASK_DATE.jsonl files, or folders of them.

    The query is the document's question where it has one, else the whole prompt. The model's name is the one in
    results_DATE.json beside the samples, else that of the folder. Tasks that compare likelihoods have no answer's text.

    Args:
        sources: Files or folders.
        skipped: Counts what is left out.
        score: The metric; None: exact_match, acc, or the only one that there is.
        answer_filter: Rows of which filter, where a task has several.

    Raises:
        FileNotFoundError: A folder holds no samples.
        ValueError: A line is broken, it is not clear which filter or metric counts, or a value is not 0…1.
    """
    for source in sources:
        for file in source.files("samples_*.jsonl"):
            name = _NAME.fullmatch(file.name)
            task = name["task"] if name else file.stem.removeprefix("samples_")
            model = source.model or _model(file, name["date"] if name else "")
            rows = list(read_rows(file))
            wanted = _filter(rows, answer_filter, file)
            for place, row in rows:
                if wanted is not None and row.get("filter") != wanted:
                    skipped.add("another filter's row")
                    continue
                yield _logged(row, task, model, place, score)


def _model(file: Path, date: str) -> str:
    results = file.with_name(f"results_{date}.json")
    stated = first_of(read_json(results), ("model_name", "config.model_args.pretrained")) if results.is_file() else None
    return str(stated or file.parent.name.replace("__", "/"))


def _filter(rows: Sequence[tuple[str, Row]], wanted: str | None, file: Path) -> str | None:
    there = list(dict.fromkeys(str(row["filter"]) for _, row in rows if row.get("filter") is not None))
    if wanted in there:
        return wanted
    if len(there) > 1:
        msg = f"{file} has rows of the filters {', '.join(there)}; say which ones count: --filter {there[0]}."
        raise ValueError(msg)
    return there[0] if there else None


def _logged(row: Row, task: str, model: str, place: str, score: str | None) -> Logged:
    if "doc_id" not in row or not isinstance(row.get("doc"), dict):
        msg = f"{place}: no sample of lm-evaluation-harness: doc_id or doc is missing."
        raise ValueError(msg)
    query = plain_text(first_of(row["doc"], _QUESTIONS)) or _prompt(row)
    if not query:
        msg = f"{place}: there is neither a question in doc nor a prompt in arguments."
        raise ValueError(msg)
    metric = _metric(row, place, score)
    outcome = {
        "query_id": f"{task}-{row['doc_id']}",
        "query": query,
        "model": model,
        "task": task,
        "output": _output(row),
        "correct": score_of(row[metric], place, metric),
    }
    target = row.get("target")
    return Logged(place, without_none(outcome), () if target is None else (str(target),))


def _prompt(row: Row) -> str | None:
    found = first_of(row, ("arguments.gen_args_0.arg_0", "arguments.0.0"))
    return plain_text(found)


def _output(row: Row) -> str | None:
    """The answer's text; None where likelihoods were compared."""
    found = dig(row, "resps.0.0")
    return found if isinstance(found, str) else None


def _metric(row: Row, place: str, score: str | None) -> str:
    named: Any = row.get("metrics")
    there = [name for name in (named if isinstance(named, list) else _METRICS) if name in row]
    if score is not None:
        if score not in row:
            msg = f"{place}: there is no metric {score!r}; found {', '.join(there) or 'none'}."
            raise ValueError(msg)
        return score
    usual = [name for name in _METRICS if name in there]
    if usual or len(there) == 1:
        return (usual or there)[0]
    msg = f"{place}: it is not clear which metric counts: {', '.join(there) or 'none is known'}; name it by --score."
    raise ValueError(msg)
