"""The sources: per-query outcomes of several models, as arrays, and their division into folds.

A source is a file `NAME.jsonl.gz` of one JSON object a line: `query_id`, `task`, `split` ("train" or "validation"),
`query`, and `models`: name → `correct` (0…1), `output` (or null), `cost_usd` (or null), `output_tokens`.
"""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_components import Answer
from cascade_components.arrays import Floats, Labels


@dataclass(frozen=True)
class Pool:
    """A source, and which of its models are offered."""

    source: str
    models: tuple[str, ...] = ()
    """None named: all of them."""


POOLS = {
    "zeroeval": Pool(
        "zeroeval",
        (
            "gpt-4o-mini-2024-07-18",
            "deepseek-v2.5-0908",
            "claude-3-5-sonnet-20241022",
            "gemini-1.5-flash",
            "gpt-4o-2024-08-06",
        ),
    ),
    "zeroeval-20": Pool("zeroeval"),
    "mmlu_pro": Pool("mmlu_pro", ("gemini-1.5-flash-002", "gemini-1.5-pro-002")),
    "mmlu_pro-12": Pool("mmlu_pro"),
    "routellm": Pool("routellm"),
    "routerarena": Pool("routerarena"),
    "llmrouter": Pool("llmrouter"),
}

PRICES = {
    "qwen2.5-7b-instruct": 0.20,
    "codegemma-7b": 0.20,
    "gemma-2-9b-it": 0.10,
    "llama-3.1-8b-instruct": 0.20,
    "llama3-chatqa-1.5-8b": 0.20,
    "mistral-7b-instruct-v0.3": 0.20,
    "llama-3.3-nemotron-super-49b-v1": 0.90,
    "llama-3.1-nemotron-51b-instruct": 0.90,
    "llama3-chatqa-1.5-70b": 0.90,
}
"""USD per million tokens, where a source has no costs: a query then costs its own tokens, four characters each."""


@dataclass(frozen=True)
class Queries:
    """Queries with the outcome of every model; arrays have the shape (queries, models)."""

    models: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    tasks: tuple[str, ...]
    groups: Labels
    """Number of each query's stem; queries that differ in little else than numbers or options share one."""
    for_training: NDArray[np.bool_]
    """By the source's own split."""
    correct: Floats
    cost: Floats
    """USD."""
    outputs: tuple[tuple[str | None, ...], ...]
    tokens: tuple[tuple[int | None, ...], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Labels) -> "Queries":
        """Some of the queries, in the order given."""

        def of(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[int(row)] for row in rows)

        return Queries(
            self.models,
            of(self.ids),
            of(self.texts),
            of(self.tasks),
            self.groups[rows],
            self.for_training[rows],
            self.correct[rows],
            self.cost[rows],
            of(self.outputs),
            of(self.tokens),
        )

    @cached_property
    def outcomes(self) -> list[dict[str, Any]]:
        """As `cascade_components.load_outcomes` takes them."""
        return [
            {
                "query_id": self.ids[row],
                "query": self.texts[row],
                "task": self.tasks[row],
                "model": model,
                "correct": self.correct[row, column],
                "cost_usd": self.cost[row, column],
                "output": self.outputs[row][column],
                "output_tokens": self.tokens[row][column],
            }
            for row in range(len(self))
            for column, model in enumerate(self.models)
        ]

    def answers(self, model: int) -> tuple[Labels, list[str], list[Answer]]:
        """The queries that a model's answer was recorded for: their rows, their texts, and the answers."""
        rows = [row for row in range(len(self)) if self.outputs[row][model] is not None]
        answers = [
            Answer(text=self.outputs[row][model] or "", model=self.models[model], output_tokens=self.tokens[row][model])
            for row in rows
        ]
        return np.array(rows, np.intp), [self.texts[row] for row in rows], answers


def read(pool: Pool, folder: Path) -> Queries:
    """Read a source.

    Raises:
        FileNotFoundError: The file isn't there.
        ValueError: It lacks one of the pool's models.
    """
    path = folder / f"{pool.source}.jsonl.gz"
    if not path.is_file():
        msg = f"{path} is not there: --data names the folder that holds the sources."
        raise FileNotFoundError(msg)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    models = pool.models or tuple(rows[0]["models"])
    if unknown := sorted(set(models) - set(rows[0]["models"])):
        msg = f"{path} has no outcomes of {', '.join(unknown)}."
        raise ValueError(msg)
    stems = [stem(row["query"]) for row in rows]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(stems))}
    return Queries(
        models,
        tuple(row["query_id"] for row in rows),
        tuple(row["query"] for row in rows),
        tuple(row["task"] for row in rows),
        np.array([numbers[name] for name in stems], np.intp),
        np.array([row["split"] == "train" for row in rows]),
        # RouterArena's METEOR scores may fall below 0.
        np.clip([[row["models"][model]["correct"] for model in models] for row in rows], 0.0, 1.0),
        np.array([[_cost(row, model) for model in models] for row in rows], float),
        tuple(tuple(row["models"][model]["output"] for model in models) for row in rows),
        tuple(tuple(row["models"][model]["output_tokens"] for model in models) for row in rows),
    )


def _cost(row: dict[str, Any], model: str) -> float:
    measured = row["models"][model]["cost_usd"]
    return PRICES[model] * 1e-6 * -(-len(row["query"]) // 4) if measured is None else float(measured)


_OPTIONS = re.compile(r"\n\s*(?:Options:|\(?A[.):]\s)")
_QUESTION = re.compile(r".*\nQuestion:", re.DOTALL)
_CODE = re.compile(r"\[PYTHON\](.*?)\nassert ", re.DOTALL)


def stem(query: str) -> str:
    r"""What a question and its variants share: no wrapper, no options, no test input, no particular numbers.

    >>> stem("Tom has 3 apples. How many?\nA. 1\nB. 2") == stem("Tom has 17 apples. How many?")
    True
    """
    code = _CODE.search(query)
    text = code[1] if code else _QUESTION.sub("", _OPTIONS.split(query, maxsplit=1)[0])
    return re.sub(r"[\W_]+", "", re.sub(r"\d+", "0", text.lower())) or query


def divisions(queries: Queries, folds: int, *, seed: int = 0) -> Iterator[tuple[Labels, Labels]]:
    """Rows to train on and rows to test on: each query is tested once, its whole group with it.

    One fold means the source's own split.
    """
    if folds == 1:
        yield np.flatnonzero(queries.for_training), np.flatnonzero(~queries.for_training)
        return
    number = grouped_folds(queries.groups, folds, seed=seed)
    for fold in range(folds):
        yield np.flatnonzero(number != fold), np.flatnonzero(number == fold)


def grouped_folds(groups: Labels, folds: int, *, seed: int = 0) -> Labels:
    """The fold of each query; a group stays together.

    >>> fold = grouped_folds(np.array([5, 5, 6, 7]), 3)
    >>> bool(fold[0] == fold[1]), sorted(set(fold.tolist()))
    (True, [0, 1, 2])
    """
    names, place = np.unique(groups, return_inverse=True)
    return np.asarray((np.random.default_rng(seed).permutation(len(names)) % folds)[place], np.intp)
