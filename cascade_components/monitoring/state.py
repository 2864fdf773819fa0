"""A monitor's state on disk: one JSON file, written whole or not at all, and looked at before it is used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cascade_components.atomic import put_all
from cascade_components.strict_json import parse_object

FORMAT = 1


def write_state(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write the state; a file that lies there is replaced.

    Raises:
        OSError: It could not be written; what lay there still does.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"format": FORMAT, **state}, ensure_ascii=False, allow_nan=False)
    put_all({file.name: content.encode()}, file.parent)


def read_state(path: str | os.PathLike[str], policy: str) -> dict[str, Any]:
    """Read the state of a policy's monitor.

    Args:
        path: The file.
        policy: The policy's fingerprint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, of another version, or of another policy's monitor.
    """
    file = Path(path)
    if not file.is_file():
        msg = f"There is no monitor's state in {file}; monitor.save({str(file)!r}) writes it."
        raise FileNotFoundError(msg)
    try:
        state = parse_object(file.read_bytes())
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if state.get("format") != FORMAT:
        msg = f"{file} has format {state.get('format')!r}, this version reads format {FORMAT}; start a new Monitor."
        raise ValueError(msg)
    if state.get("policy") != policy:
        msg = (
            f"{file} is the state of a monitor of policy {state.get('policy')!r}, this is policy {policy!r}: what one "
            "expects says nothing about the other. Load it with its own policy, or start a new Monitor(policy)."
        )
        raise ValueError(msg)
    return state


def damaged(path: str | os.PathLike[str], what: str) -> ValueError:
    """The error that says what is wrong with a file, and what to do."""
    return ValueError(f"{path} is damaged: {what}. Take a copy that is whole, or start a new Monitor.")


def check_like(found: Any, fresh: Any, place: str) -> None:
    """Check that data have the keys, the lengths and the types of a fresh state, and that no number is negative.

    Args:
        found: What was read.
        fresh: What a new monitor would write.
        place: What to call it in the error.

    Raises:
        ValueError: They do not; the message names the place.
    """
    if isinstance(fresh, dict):
        if not isinstance(found, dict) or set(found) != set(fresh):
            msg = f"{place} must have the keys {', '.join(fresh)}"
            raise ValueError(msg)
        for key, value in fresh.items():
            check_like(found[key], value, f"{place}.{key}")
    elif isinstance(fresh, list):
        if not isinstance(found, list) or len(found) != len(fresh):
            msg = f"{place} must be a list of {len(fresh)}"
            raise ValueError(msg)
        for number, value in enumerate(fresh):
            check_like(found[number], value, f"{place}[{number}]")
    else:
        kinds = (int, float) if isinstance(fresh, float) else (int,)
        if isinstance(found, bool) or not isinstance(found, kinds) or found < 0:
            msg = f"{place} must be a number of at least 0, found {found!r}"
            raise ValueError(msg)
