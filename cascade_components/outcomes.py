"""Outcomes: what each model's answer to each query was worth. Load, validate, split, save."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cascade_components.answers import Answer
from cascade_components.progress import with_bar

Metric = Literal["cost_usd", "tpot_ms", "e2el_ms"]
"""A measurement that can serve as Cost."""

OutcomeSource = "Outcomes | str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Iterable[Mapping[str, Any]]"
"""Whatever `load_outcomes` takes."""


def _nan_is_missing(value: Any) -> Any:
    """Parquet and pandas write a missing number as NaN."""
    return None if isinstance(value, float) and value != value else value


_Name = Annotated[str, Field(min_length=1)]
_Measurement = Annotated[Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, BeforeValidator(_nan_is_missing)]
_Count = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_nan_is_missing)]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="ignore"))
class Outcome:
    """One model's answer to one query, and what it was worth.

    Example:
        >>> Outcome(query_id="q1", query="2 + 2?", model="small", output="4", correct=1, cost_usd=0.0001).correct
        1.0
    """

    query_id: _Name
    query: Annotated[str, Field(pattern=r"\S")]
    model: _Name
    correct: Annotated[float, Field(ge=0, le=1)]
    """1 for a right answer, 0 for a wrong one, or a share of credit between."""
    output: str | None = None
    """The answer's text; None: no quality estimation from this row."""
    input_tokens: _Count = None
    output_tokens: _Count = None
    ttft_ms: _Measurement = None
    """Time to first token, ms."""
    tpot_ms: _Measurement = None
    """Time per output token after the first, ms."""
    e2el_ms: _Measurement = None
    """End-to-end latency, ms."""
    cost_usd: _Measurement = None
    finish_reason: str | None = None
    token_logprobs: tuple[float, ...] | None = None
    token_margins: tuple[float, ...] | None = None
    run: Annotated[int, Field(ge=0)] = 0
    """Number of the repetition, where a query was asked several times."""
    task: str | None = None

    @property
    def answer(self) -> Answer:
        """The row as an `Answer`; its text is empty where no output was recorded."""
        return Answer(
            text=self.output or "",
            model=self.model,
            output_tokens=self.output_tokens,
            token_logprobs=self.token_logprobs,
            token_margins=self.token_margins,
            finish_reason=self.finish_reason,
        )


_ROW = TypeAdapter(Outcome)
_REPEATED = ("query_id", "query", "model", "finish_reason", "task")


class Outcomes(Sequence[Outcome]):
    """Validated outcomes: one row per query × model × run; cells may be missing.

    Args:
        rows: Outcomes in any order.

    Raises:
        ValueError: No row, a row that stands twice, or one `query_id` with two texts.

    Example:
        >>> rows = [{"query_id": "q1", "query": "2 + 2?", "model": m, "correct": 1} for m in ("small", "large")]
        >>> load_outcomes(rows).models
        ('large', 'small')
    """

    def __init__(self, rows: Iterable[Outcome]) -> None:
        self._rows = tuple(rows)
        if not self._rows:
            msg = "There are no outcomes: at least one row of query_id, query, model and correct is needed."
            raise ValueError(msg)
        self.queries: dict[str, str] = {}
        """Text of each query by its id, in order of first appearance."""
        seen: set[tuple[str, str, int]] = set()
        for row in self._rows:
            key = (row.query_id, row.model, row.run)
            if key in seen:
                msg = (
                    f"query {row.query_id!r}, model {row.model!r}, run {row.run} stands twice; "
                    "keep one row, or number repetitions in `run`."
                )
                raise ValueError(msg)
            seen.add(key)
            if self.queries.setdefault(row.query_id, row.query) != row.query:
                msg = f"query_id {row.query_id!r} stands for two different texts; give each text its own id."
                raise ValueError(msg)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __repr__(self) -> str:
        return f"Outcomes({len(self)} rows, {len(self.queries)} queries, models: {', '.join(self.models)})"

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names of the models, sorted."""
        return tuple(sorted({row.model for row in self._rows}))

    def where(self, keep: Callable[[Outcome], bool]) -> Outcomes:
        """The rows for which `keep` holds, as new outcomes; raises ValueError where none is left."""
        return Outcomes(row for row in self._rows if keep(row))

    def split(self, share: float, *, seed: int = 0) -> tuple[Outcomes, Outcomes]:
        """Cut by query into two parts, the first with about `share` of the queries; stable under added rows.

        Raises:
            ValueError: `share` is not between 0 and 1, or a part would be empty.
        """
        if not 0 < share < 1:
            msg = f"share must lie between 0 and 1, found {share}."
            raise ValueError(msg)

        def is_first(row: Outcome) -> bool:
            digest = hashlib.sha256(f"{seed}:{row.query_id}".encode()).digest()
            return int.from_bytes(digest[:8]) < share * 2**64

        return self.where(is_first), self.where(lambda row: not is_first(row))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write .jsonl, .jsonl.gz or .parquet, by the name's ending; the file appears whole or not at all."""
        target = Path(path)
        rows = [_ROW.dump_python(row, exclude_none=True) for row in self._rows]
        partial = target.with_name(f".{target.name}.partial")
        try:
            if target.suffix == ".parquet":
                _parquet().write_table(_arrow().Table.from_pylist(rows), partial)
            else:
                with _open_text(partial, target.name, "w") as file:
                    file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def load_outcomes(source: Any, *, progress: bool = False) -> Outcomes:
    """Read and validate outcomes.

    Args:
        source: A path (.jsonl, .jsonl.gz, .parquet), a list of paths, an iterable of dicts, or `Outcomes`.
            Fields that an outcome doesn't have are ignored.
        progress: Show a progress bar on a terminal, where it takes long.

    Returns:
        The outcomes, in the order read.

    Raises:
        FileNotFoundError: A path doesn't exist.
        ImportError: A Parquet file, and pyarrow is not installed.
        ValueError: A row is broken; the message names the file, the line or row number and the field.

    Example:
        >>> outcomes = load_outcomes("outcomes.jsonl.gz")  # doctest: +SKIP
    """
    if isinstance(source, Outcomes):
        return source
    if isinstance(source, str | os.PathLike):
        return Outcomes(_validated(_read(Path(source)), progress=progress))
    items: list[Any] = list(source)
    if items and all(isinstance(item, str | os.PathLike) for item in items):
        rows = (row for path in items for row in _read(Path(path)))
        return Outcomes(_validated(rows, progress=progress))
    return Outcomes(_validated(((f"row {number}", item) for number, item in enumerate(items, 1)), progress=progress))


def _validated(rows: Iterable[tuple[str, Any]], *, progress: bool) -> Iterator[Outcome]:
    same: dict[str, str] = {}
    for place, row in with_bar(rows, "read outcomes", progress=progress):
        try:
            yield row if isinstance(row, Outcome) else _ROW.validate_python(_shared(row, same))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"]) or "row"
            msg = f"{place}: {name}: {first['msg']} (found {first['input']!r:.80})"
            raise ValueError(msg) from None


def _shared(row: Any, same: dict[str, str]) -> Any:
    """The row with what it repeats of others held in memory once: a query's text stands in a row of every model."""
    if not isinstance(row, dict):
        return row
    repeated = {name: row[name] for name in _REPEATED if isinstance(row.get(name), str)}
    return row | {name: same.setdefault(value, value) for name, value in repeated.items()}


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Each row of a file with the words that name its place."""
    if path.suffix == ".parquet":
        rows = _parquet().read_table(path).to_pylist()
        yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))
        return
    with _open_text(path, path.name, "r") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}, line {number}", _parsed(line, path, number)
        except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
            msg = f"{path} cannot be read to its end ({error}): the file is damaged, or not what its name says."
            raise ValueError(msg) from None


def _parsed(line: str, path: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        msg = f"{path}, line {number}: not valid JSON ({error.msg} at column {error.colno})."
        raise ValueError(msg) from None


def _open_text(path: Path, name: str, mode: Literal["r", "w"]) -> IO[str]:
    if name.endswith(".gz"):
        # No time stamp: the same outcomes make the same file.
        compressed = gzip.GzipFile(path, mode + "b", mtime=0)
        return io.TextIOWrapper(compressed, encoding="utf-8")
    return path.open(mode, encoding="utf-8")


def _parquet() -> Any:
    _arrow()
    import pyarrow.parquet

    return pyarrow.parquet


def _arrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        msg = 'Parquet needs pyarrow: pip install "cascade-components[parquet]"'
        raise ImportError(msg) from None
    return pa
