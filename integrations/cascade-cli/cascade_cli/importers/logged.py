"""What every importer gives: one answer of a log, and how to find its parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass
class Logged:
    """One answer of a log."""

    place: str
    """Where it was read."""
    row: dict[str, Any]
    """Fields of an outcome; `correct` may be missing, then a grader must say."""
    answers: tuple[str, ...] = ()
    """Right answers, where the log knows them."""


@dataclass
class Skipped:
    """What was left out, and why."""

    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        """Count one row."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


@dataclass(frozen=True)
class Source:
    """A file or folder of the command line, and the model that it is of, where that is said."""

    path: Path
    model: str | None = None

    @classmethod
    def parse(cls, given: str) -> Source:
        """FILE or MODEL=FILE.

        Raises:
            FileNotFoundError: There is no such file or folder.
        """
        whole = Path(given)
        model, equals, rest = given.partition("=")
        found = cls(whole) if whole.exists() or not equals else cls(Path(rest), model)
        if not found.path.exists():
            msg = f"There is no file or folder {found.path}."
            raise FileNotFoundError(msg)
        return found

    def files(self, pattern: str) -> Iterator[Path]:
        """The file itself, or those in the folder and the folders in it, sorted.

        Raises:
            FileNotFoundError: There is none in it.
        """
        found = [self.path] if self.path.is_file() else sorted(self.path.rglob(pattern))
        if not found:
            msg = f"{self.path} holds no {pattern}."
            raise FileNotFoundError(msg)
        yield from found


def text_id(text: str) -> str:
    """An id for a query that has none: the same in every log."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def dig(row: Any, path: str) -> Any:
    """What stands at a dotted path; None: nothing.

    Example:
        >>> dig({"choices": [{"text": "4"}]}, "choices.0.text")
        '4'
    """
    for part in path.split("."):
        if isinstance(row, dict):
            row = row.get(part)
        elif isinstance(row, list) and part.isdecimal() and int(part) < len(row):
            row = row[int(part)]
        else:
            return None
    return row


def first_of(row: Any, paths: Sequence[str]) -> Any:
    """What stands at the first of the paths where there is something."""
    return next((found for path in paths if (found := dig(row, path)) is not None), None)


def plain_text(content: Any) -> str | None:
    """The text of a message's content: a string, or blocks; None: there is none."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [plain_text(block.get("text")) if isinstance(block, dict) else plain_text(block) for block in content]
        return "\n".join(text for text in texts if text) or None
    return None


def last_human(messages: Any) -> str | None:
    """The last human turn of a conversation, in OpenAI's shape or as LangChain writes its messages down."""
    while isinstance(messages, list) and messages and isinstance(messages[0], list):
        messages = messages[0]
    if isinstance(messages, str):
        return messages
    for message in reversed(messages if isinstance(messages, list) else []):
        inner = message.get("kwargs", message) if isinstance(message, dict) else {}
        kind = inner.get("role") or inner.get("type") or ""
        if kind in ("user", "human") or (message.get("id") or [""])[-1] == "HumanMessage":
            return plain_text(inner.get("content"))
    return None


def moment(value: Any) -> float | None:
    """A point in time in seconds: a number, or a text as ISO 8601 has it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def times(started: Any, first: Any, ended: Any, tokens: int | None) -> dict[str, float]:
    """TTFT, TPOT and E2EL in ms, as far as the log knows them; what came at once has no time to first token."""
    start, shown, end = moment(started), moment(first), moment(ended)
    if start is None or end is None or end < start:
        return {}
    found = {"e2el_ms": 1000 * (end - start)}
    if shown is not None and start <= shown < end:
        found["ttft_ms"] = 1000 * (shown - start)
        if tokens is not None:
            found["tpot_ms"] = 1000 * (end - shown) / max(1, tokens - 1)
    return {name: round(value, 3) for name, value in found.items()}


def number(value: Any) -> float | None:
    """A number, also where the log has it as text; None: it is none."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def score_of(value: Any, place: str, what: str) -> float:
    """A score, checked.

    Raises:
        ValueError: It is no number between 0 and 1.
    """
    found = number(value)
    if found is None or not 0 <= found <= 1:
        msg = f"{place}: {what} must be 0…1, or true or false; found {value!r:.60}. Grade by --grader instead."
        raise ValueError(msg)
    return found


def without_none(row: dict[str, Any]) -> dict[str, Any]:
    """Only what is known."""
    return {name: value for name, value in row.items() if value is not None}
