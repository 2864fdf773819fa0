"""Every answer that was paid for, in one SQLite file, whatever becomes of the process that asked."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

from cascade_components.grading import Question
from langchain_cascade.captures.measuring import Measured

_SEQUENCES = ("token_logprobs", "token_margins")
_COLUMNS = tuple(field.name for field in fields(Measured))
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS models (name TEXT PRIMARY KEY, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS questions (id TEXT PRIMARY KEY, asked TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    query_id TEXT, model TEXT, run INTEGER, {", ".join(_COLUMNS)}, PRIMARY KEY (query_id, model, run)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    query_id TEXT, model TEXT, run INTEGER, reason TEXT NOT NULL, PRIMARY KEY (query_id, model, run)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS judgements (prompt TEXT PRIMARY KEY, model TEXT, {", ".join(_COLUMNS)}) WITHOUT ROWID;
"""


class Cell(NamedTuple):
    """One answer to have: a question, a model, a repetition."""

    query_id: str
    model: str
    run: int


class StoreError(OSError):
    """The file cannot be read or written; what was written stays."""


class AnswerStore:
    """Answers by question, model and run. Safe to call from many threads; one process at a time.

    What `add` has written when it returns survives a killed process and a power cut.

    Args:
        path: The file; made where there is none.

    Raises:
        StoreError: It cannot be opened, is no such file, or another process captures into it.

    Example:
        >>> with AnswerStore("outcomes.capture.sqlite") as store:      # doctest: +SKIP
        ...     len(store.answered())
        1200
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._told():
            self._connection = sqlite3.connect(path, timeout=0.5, check_same_thread=False)
            try:
                # Held as long as this process lives: two at once would ask, and pay for, everything twice.
                self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.executescript(_SCHEMA)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def expect(self, questions: Iterable[Question], models: Mapping[str, str]) -> None:
        """Make sure that the answers kept are to these questions, by these models; note the new ones.

        Args:
            questions: With their ids.
            models: What tells a model's settings apart, by its name.

        Raises:
            ValueError: A question's text or a model's settings are others than when they were captured.
        """
        known_models, known = dict(self._all("SELECT * FROM models")), dict(self._all("SELECT * FROM questions"))
        for name, settings in models.items():
            if known_models.get(name, settings) != settings:
                msg = f"{self.path} holds answers of {name!r} with other settings; give the model another name, "
                raise ValueError(msg + "choose another --output, or set the pool file back.")
        asked = {question.id: _asked(question) for question in questions}
        for query_id, text in asked.items():
            if known.get(query_id, text) != text:
                msg = f"{self.path} holds answers to {query_id!r} with another text; give the question another id, "
                raise ValueError(msg + "or choose another --output.")
        new = [(name, settings) for name, settings in models.items() if name not in known_models]
        fresh = [(query_id, text) for query_id, text in asked.items() if query_id not in known]
        with self._writing() as connection:
            connection.executemany("INSERT INTO models VALUES (?, ?)", new)
            connection.executemany("INSERT INTO questions VALUES (?, ?)", fresh)

    def add(self, cell: Cell, measured: Measured) -> None:
        """Keep an answer, for good; a failure noted earlier is forgotten."""
        marks = ", ".join("?" * (3 + len(_COLUMNS)))
        with self._writing() as connection:
            connection.execute(f"INSERT INTO answers VALUES ({marks})", (*cell, *_values(measured)))  # noqa: S608
            connection.execute("DELETE FROM failures WHERE query_id = ? AND model = ? AND run = ?", cell)

    def add_failure(self, cell: Cell, reason: str) -> None:
        """Note why there is no answer; the next run asks again."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", (*cell, reason))

    def add_judgement(self, prompt: str, model: str, measured: Measured) -> None:
        """Keep what a judge replied to a prompt."""
        marks = ", ".join("?" * (2 + len(_COLUMNS)))
        with self._writing() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO judgements VALUES ({marks})",  # noqa: S608
                (_digest(model, prompt), model, *_values(measured)),
            )

    def judgement(self, prompt: str, model: str) -> str | None:
        """What the judge replied to this prompt before; None: it was not asked."""
        found = self._all("SELECT output FROM judgements WHERE prompt = ?", (_digest(model, prompt),))
        return found[0][0] if found else None

    def answered(self) -> set[Cell]:
        """What there is."""
        return {Cell(*row) for row in self._all("SELECT query_id, model, run FROM answers")}

    def answers(self) -> Iterator[tuple[Cell, Measured]]:
        """All answers, by question, model and run."""
        for row in self._all("SELECT * FROM answers ORDER BY query_id, model, run"):
            yield Cell(*row[:3]), _measured(row[3:])

    def failures(self) -> dict[Cell, str]:
        """Why the others are missing, where they were asked for."""
        return {Cell(*row[:3]): row[3] for row in self._all("SELECT * FROM failures")}

    def tokens(self) -> list[tuple[str, int, int, int, int]]:
        """Model, then tokens of input, output, cache read and cache creation of all its calls, judgements included."""
        columns = ("input_tokens", "output_tokens", "cache_read", "cache_creation")
        sums = ", ".join(f"SUM(COALESCE({column}, 0))" for column in columns)
        calls = f"SELECT model, {', '.join(columns)} FROM"
        return self._all(
            f"SELECT model, {sums} FROM ({calls} answers UNION ALL {calls} judgements) GROUP BY model"  # noqa: S608
        )

    def _all(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock, self._told():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._told(), self._connection:
            yield self._connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            busy = "locked" in str(error)
            advice = (
                "another capture is writing to it; wait for it, or choose another --output."
                if busy
                else "what was captured is kept; make room or choose another place, then run the same command again."
            )
            msg = f"{self.path}: {error}: {advice}"
            raise StoreError(msg) from error


def _asked(question: Question) -> str:
    """What the models are asked, short: enough to see that it has changed."""
    return _digest(question.text, *(json.dumps(message, sort_keys=True) for message in question.messages))


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _values(measured: Measured) -> list[Any]:
    row = asdict(measured)
    return [json.dumps(value) if name in _SEQUENCES and value is not None else value for name, value in row.items()]


def _measured(values: Iterable[Any]) -> Measured:
    row = dict(zip(_COLUMNS, values, strict=True))
    for name in _SEQUENCES:
        row[name] = None if row[name] is None else tuple(json.loads(row[name]))
    return Measured(**row)
