"""Questions from what people have: JSON lines, CSV, a LangSmith export, a dataset of the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from cascade_cli.rows import Row, read_rows
from cascade_components.grading import Question

FIELDS: Mapping[str, tuple[str, ...]] = {
    "id": ("query_id", "id", "qid", "question_id"),
    "question": ("query", "question", "text", "prompt", "input", "instruction", "problem"),
    "messages": ("messages",),
    "answer": ("answer", "answers", "reference", "target", "expected", "expected_output", "ground_truth", "solution",
               "label", "output"),
    "choices": ("choices", "options"),
    "schema": ("schema", "json_schema"),
    "task": ("task", "category", "subject"),
}  # fmt: skip
"""What a field may be called, the likeliest first."""


def read_questions(
    source: str, *, names: Mapping[str, str] | None = None, options_in_prompt: bool = False, limit: int | None = None
) -> list[Question]:
    """Read questions.

    Args:
        source: A file (.jsonl, .csv, .json, each also .gz), or `hf:NAME`, `hf:NAME:CONFIG`, with `@SPLIT` behind
            (default: test), or `hf:FOLDER` of a dataset that was saved to disk.
        names: What a field is called in the source, where it is none of `FIELDS`: {"question": "stem"}.
        options_in_prompt: Put the `choices` behind a question that does not show them.
        limit: Only the first ones.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: A dataset of the Hub is asked for, and `datasets` is not installed.
        ValueError: A row is broken; the message names its line.
    """
    found: dict[str, Question] = {}
    rows = _dataset(source.removeprefix("hf:")) if source.startswith("hf:") else read_rows(Path(source))
    for place, row in rows:
        question = _question(_flat(row), place, names or {}, options_in_prompt=options_in_prompt)
        same = found.setdefault(question.id, question)
        if (same.text, same.answers, same.messages) != (question.text, question.answers, question.messages):
            msg = f"{place}: the id {question.id!r} stands for another question already ({same.place})."
            raise ValueError(msg)
        if len(found) == limit:
            break
    if not found:
        msg = f"{source} holds no questions."
        raise ValueError(msg)
    return list(found.values())


def _flat(row: Row) -> Row:
    """An example of LangSmith's as one row: its inputs, and its outputs as the answer."""
    inputs, outputs = row.get("inputs"), row.get("outputs") or row.get("reference_outputs")
    if not isinstance(inputs, dict):
        return row
    flat = {"id": row.get("id"), **inputs}
    if _first(flat, FIELDS["question"] + FIELDS["messages"]) is None and len(inputs) == 1:
        flat["question"] = next(iter(inputs.values()))
    if isinstance(outputs, dict) and outputs:
        known = _first(outputs, FIELDS["answer"])
        flat["answer"] = known if known is not None else next(iter(outputs.values()))
    return {**{name: value for name, value in (row.get("metadata") or {}).items() if name == "task"}, **flat}


def _question(row: Row, place: str, names: Mapping[str, str], *, options_in_prompt: bool) -> Question:
    def of(field: str) -> Any:
        if field in names:
            if names[field] not in row:
                msg = f"{place}: there is no field {names[field]!r}; found {', '.join(map(str, row))}."
                raise ValueError(msg)
            return row[names[field]]
        return _first(row, FIELDS[field])

    messages = _messages(of("messages"), place)
    text = of("question") if not messages else _last_human(messages, place)
    if not isinstance(text, str) or not text.strip():
        msg = (
            f"{place}: there is no question; name its field by --field question=NAME; found {', '.join(map(str, row))}."
        )
        raise ValueError(msg)
    choices = _choices(of("choices"), place)
    if options_in_prompt and choices and not messages and not any(choice in text for choice in choices):
        text += "\n" + "\n".join(
            f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False)
        )
    answers = tuple(_text(answer) for answer in _listed(of("answer")))
    given, task = of("id"), of("task")
    return Question(
        id=_text(given) if given not in (None, "") else _digest(text, answers, messages),
        text=text,
        answers=tuple(answer for answer in answers if answer.strip()),
        choices=choices,
        schema=_schema(of("schema"), place),
        task=None if task is None else _text(task),
        messages=messages,
        place=place,
    )


def _first(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # as SQuAD has it
        return list(value["text"])
    return [] if value is None else value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _choices(value: Any, place: str) -> tuple[str, ...]:
    if isinstance(value, str):  # a cell of a CSV file
        value = json.loads(value) if value.lstrip().startswith("[") else value.split("|")
    found = tuple(_text(choice) for choice in _listed(value))
    if len(found) > len(ascii_uppercase):
        msg = f"{place}: there are {len(found)} choices; 26 have letters."
        raise ValueError(msg)
    return found


def _schema(value: Any, place: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        found = value
    if found is not None and not isinstance(found, dict):
        msg = f"{place}: schema must be a JSON schema, found {_text(value)[:80]!r}."
        raise ValueError(msg)
    return found


def _messages(value: Any, place: str) -> tuple[Mapping[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(message, dict) and "role" in message for message in value):
        msg = f"{place}: messages must be a list of objects with role and content."
        raise ValueError(msg)
    return tuple(value)


def _last_human(messages: tuple[Mapping[str, Any], ...], place: str) -> str:
    said = [message.get("content") for message in messages if message["role"] in ("user", "human")]
    if not said:
        msg = f"{place}: messages has no message of the user."
        raise ValueError(msg)
    blocks = said[-1] if isinstance(said[-1], list) else [{"text": said[-1]}]
    return "\n".join(
        block["text"] for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str)
    )


def _digest(text: str, answers: tuple[str, ...], messages: tuple[Mapping[str, Any], ...]) -> str:
    """An id for a question without one: the same text has the same, wherever it stands."""
    asked = json.dumps([text, answers, messages], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _dataset(name: str) -> Iterator[tuple[str, Row]]:
    try:
        import datasets
    except ImportError:
        msg = "hf:… needs the package datasets: pip install datasets."
        raise ImportError(msg) from None
    repository, _, split = name.partition("@")
    path, _, config = repository.partition(":")
    try:
        if Path(path).is_dir() and (Path(path) / "state.json").is_file():
            found = datasets.load_from_disk(path)
        else:
            found = datasets.load_dataset(path, config or None, split=split or "test")
    except Exception as error:  # the package and its file readers have many kinds
        msg = f"hf:{name} cannot be loaded ({type(error).__name__}: {error!s:.200})."
        raise ValueError(msg) from error
    for number, row in enumerate(found, 1):
        yield f"hf:{name}, row {number}", dict(row)
