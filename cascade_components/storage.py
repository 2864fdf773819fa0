"""A folder of plain data: JSON and safetensors, versioned, checksummed, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

FORMAT = 2
"""Raised whenever a folder written by this version cannot be read by the one before."""

_INDEX = "policy.json"


def write_folder(path: str | os.PathLike[str], facts: Mapping[str, Any], groups: Mapping[str, Arrays]) -> None:
    """Write `policy.json` and one safetensors file per group of arrays; a policy that lies there is replaced.

    Raises:
        FileExistsError: Something else than a policy lies there.
    """
    from safetensors.numpy import save_file

    target = Path(path)
    if target.exists() and not ((target / _INDEX).is_file() or (target.is_dir() and not any(target.iterdir()))):
        msg = f"{target} exists and is no policy folder; choose another path."
        raise FileExistsError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        checksums = {}
        for name, arrays in groups.items():
            file = fresh / f"{name}.safetensors"
            save_file({key: _contiguous(array) for key, array in arrays.items()}, file)
            checksums[file.name] = _sha256(file)
        index = {"format": FORMAT, "checksums": checksums, **facts}
        (fresh / _INDEX).write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if target.exists():
            target.replace(Path(scratch) / "old")
        fresh.replace(target)


def read_folder(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, dict[str, NDArray[Any]]]]:
    """Read what `write_folder` wrote.

    Raises:
        FileNotFoundError: There is no policy in this folder.
        ValueError: It was written by a newer version, or a file is damaged; the message names it.
    """
    from safetensors.numpy import load_file

    folder = Path(path)
    index = folder / _INDEX
    if not index.is_file():
        msg = f"{folder} holds no policy ({_INDEX} is missing); save one with policy.save({str(folder)!r})."
        raise FileNotFoundError(msg)
    try:
        facts = json.loads(index.read_text(encoding="utf-8"))
        version, checksums = facts.pop("format"), facts.pop("checksums")
    except (ValueError, KeyError, AttributeError) as error:
        msg = f"{index} is damaged ({error}); save the policy again."
        raise ValueError(msg) from None
    if version != FORMAT:
        msg = f"{index} has format {version}, this version reads format {FORMAT}; upgrade, or fit again."
        raise ValueError(msg)
    for name, checksum in checksums.items():
        if not (folder / name).is_file() or _sha256(folder / name) != checksum:
            msg = f"{folder / name} is missing or damaged (checksum); save the policy again."
            raise ValueError(msg)
    return facts, {Path(name).stem: load_file(folder / name) for name in checksums}


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _contiguous(array: NDArray[Any]) -> NDArray[Any]:
    return array.copy(order="C")  # safetensors writes the buffer as it lies
