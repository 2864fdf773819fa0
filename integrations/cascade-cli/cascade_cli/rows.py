"""Rows of the files that people have: JSON lines, JSON, CSV; each with the words that name its place."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Read a file row by row.

    Args:
        path: .csv; .json (a list of objects, or one); anything else is JSON lines. Each may be .gz.

    Yields:
        "FILE, line N" (in .json "FILE, row N") and the row.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged; the message names the line.
    """
    if not path.is_file():
        msg = f"There is no file {path}."
        raise FileNotFoundError(msg)
    kind = (path.with_suffix("") if path.suffix == ".gz" else path).suffix
    with _opened(path) as file:
        try:
            yield from {".csv": _csv, ".json": _json}.get(kind, _lines)(file, path)
        except (EOFError, gzip.BadGzipFile) as error:
            msg = f"{path} cannot be read to its end ({error}): the file is damaged, or not what its name says."
            raise ValueError(msg) from None


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _lines(file: IO[bytes], path: Path) -> Iterator[tuple[str, Row]]:
    # Cut at line feeds alone: U+2028 may stand in a text.
    for number, line in enumerate(file, 1):
        if line.strip():
            place = f"{path}, line {number}"
            yield place, _object(_parsed(_decoded(line, place), place), place)


def _json(file: IO[bytes], path: Path) -> Iterator[tuple[str, Row]]:
    found = _parsed(_decoded(file.read(), str(path)), str(path))
    for number, row in enumerate(found if isinstance(found, list) else [found], 1):
        place = f"{path}, row {number}"
        yield place, _object(row, place)


def _csv(file: IO[bytes], path: Path) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a document may be one cell
    lines = (_decoded(line, f"{path}, line {number}") for number, line in enumerate(file, 1))
    reader = csv.DictReader(lines, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            msg = f"{path}, line {reader.line_num + 1}: not valid CSV ({error})."
            raise ValueError(msg) from None
        if row is None:
            return
        place = f"{path}, line {reader.line_num}"
        if None in row or None in row.values():
            msg = f"{place}: the row has {'more' if None in row else 'fewer'} cells than the first line has names."
            raise ValueError(msg)
        yield place, {name: value for name, value in row.items() if value != ""}


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{place}: not valid UTF-8 (byte {error.start + 1})."
        raise ValueError(msg) from None


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if "\n" in text.strip() else f"column {error.colno}"
        msg = f"{place}: not valid JSON ({error.msg} at {where})."
    except RecursionError:
        msg = f"{place}: nested too deeply."
    raise ValueError(msg) from None


def _object(row: Any, place: str) -> Row:
    if not isinstance(row, dict):
        msg = f"{place}: must be a JSON object, found {type(row).__name__}."
        raise ValueError(msg)
    return row
