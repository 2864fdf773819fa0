"""A folder of plain data: JSON and safetensors, versioned, checksummed, written whole or not at all.

`policy.json` names the arrays' files by their checksums, so a file that it names is never changed: a new policy brings
files of its own, and takes its place at the moment at which `policy.json` is replaced. Whoever reads finds the old
policy or the new one, whenever a writer is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import reprlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from cascade_components.atomic import UNFINISHED, alone, put, sync, unfinished
from cascade_components.strict_json import canonical, parse_object

Arrays = Mapping[str, NDArray[Any]]

FORMAT = 3
"""Raised whenever a folder written by this version cannot be read by the one before."""

GROUPS = ("clusters", "options", "evidence", "quality", "releases")
"""Of arrays; each has a file."""

LARGEST_INDEX = 64 << 20
"""Bytes of `policy.json`: a million queries have room."""

_INDEX, _FACTS = "policy.json", "facts"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OURS = re.compile(rf"({'|'.join(GROUPS)})(-[0-9a-f]{{16}})?\.safetensors|{UNFINISHED}")
_ATTEMPTS = 100


@dataclass(frozen=True)
class Stored:
    """What a folder holds."""

    folder: Path
    facts: dict[str, Any]
    """All but the arrays."""
    arrays: Mapping[str, Arrays]
    """Group → its arrays."""
    files: Mapping[str, Path]
    """Group → the file that they lie in."""

    @property
    def index(self) -> Path:
        """The file that the facts lie in."""
        return self.folder / _INDEX


class DamagedFileError(ValueError):
    """A file is not what was written.

    Args:
        file: Which.
        what: What is wrong with it.
    """

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(file, what)
        self.file, self.what = file, what

    def __str__(self) -> str:
        return f"{self.file} is damaged: {self.what}. Save the policy again, or take a copy that is whole."


def write_folder(path: str | os.PathLike[str], facts: Mapping[str, Any], groups: Mapping[str, Arrays]) -> None:
    """Write `policy.json` and one safetensors file per group of arrays; a policy that lies there is replaced.

    It is on the disk when this returns. Several may write into one folder, the last one's policy stays; what killed
    writers left is cleared away by the next one.

    Raises:
        FileExistsError: Something else than a policy lies there.
        OSError: It could not be written, because the disk is full, say; what lay there still does.
        ValueError: A fact is not finite.
    """
    target = Path(path)
    checksums = {_FACTS: hashlib.sha256(canonical(facts)).hexdigest()}
    _check_free(target)
    created = not target.exists()
    try:
        with alone(target) as locked:
            try:
                with unfinished(target) as scratch:
                    for name, arrays in groups.items():
                        checksums[name] = _write_arrays(target, name, arrays, Path(scratch, name))
                    fresh = Path(scratch, _INDEX)
                    index = {"format": FORMAT, "checksums": checksums, **facts}
                    fresh.write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
                    put(fresh, target / _INDEX)
            finally:
                if locked:
                    _clear(target)
        sync(target.parent)
    except BaseException:
        if created:
            with contextlib.suppress(OSError):  # another writer has put its policy there
                target.rmdir()
        raise


def read_folder(path: str | os.PathLike[str]) -> Stored:
    """Read what `write_folder` wrote, of this format or the one before; nothing in it is taken for the name of a file.

    Raises:
        FileNotFoundError: There is no policy in this folder.
        ValueError: It was written by a newer version, or one too old; or a file is damaged. The message names it.
    """
    folder = Path(path)
    for _ in range(_ATTEMPTS):
        with _open_index(folder) as index:
            try:
                return _read(folder, index)
            except (ValueError, FileNotFoundError):
                # An open file's number is nobody else's: with the same one it was there all the time.
                if os.path.samestat(os.fstat(index.fileno()), (folder / _INDEX).stat()):
                    raise
    msg = f"{folder} is replaced faster than it can be read; load it once its writers have done."
    raise ValueError(msg)


def _read(folder: Path, index: IO[bytes]) -> Stored:
    if os.fstat(index.fileno()).st_size > LARGEST_INDEX:
        raise DamagedFileError(folder / _INDEX, f"it is larger than {LARGEST_INDEX >> 20} MB")
    facts, checksums = _contents(folder / _INDEX, index.read())
    files = _files(folder, checksums)
    for group, file in files.items():
        _check_file(folder, file, checksums[group])
    return Stored(folder, facts, {group: _arrays(file) for group, file in files.items()}, files)


def _contents(index: Path, text: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts, and the checksums by group."""
    try:
        facts = parse_object(text)
    except ValueError as error:
        raise DamagedFileError(index, str(error)) from None
    checksums = _checksums(index, facts)
    if _FACTS in checksums and hashlib.sha256(canonical(facts)).hexdigest() != checksums[_FACTS]:
        raise DamagedFileError(index, "it was changed after it had been written (checksum)")
    return facts, checksums


def _open_index(folder: Path) -> IO[bytes]:
    index = folder / _INDEX
    if not index.is_file():
        msg = f"{folder} holds no policy ({_INDEX} is missing); save one with policy.save({str(folder)!r})."
        raise FileNotFoundError(msg)
    _check_inside(folder, index)
    return index.open("rb")


def _checksums(index: Path, facts: dict[str, Any]) -> dict[str, str]:
    """Take the format and the checksums out of what was read, and check them."""
    version, found = facts.pop("format", None), facts.pop("checksums", None)
    if type(version) is not int or version < 1:
        raise DamagedFileError(index, f"format must be a number from 1, found {_short(version)}")
    if version > FORMAT:
        msg = f"{index} was written by a newer version (format {version}, this one reads up to {FORMAT}): upgrade with "
        raise ValueError(msg + "pip install -U cascade-components.")
    if version < FORMAT - 1:
        raise ValueError(f"{index} was written by an older version (format {version}): fit the policy again.")
    if not isinstance(found, dict):
        raise DamagedFileError(index, f"checksums must be an object, found {_short(found)}")
    if version == FORMAT - 1:  # it named files, and had no checksum of the facts
        found = {name.removesuffix(".safetensors"): checksum for name, checksum in found.items()}
    needed = {_FACTS, *GROUPS[:3]} if version == FORMAT else set(GROUPS[:3])
    if missing := sorted(needed - set(found)):
        raise DamagedFileError(index, f"checksums must have {', '.join(missing)}")
    for name, checksum in found.items():
        if name not in (*GROUPS, *needed):
            raise DamagedFileError(index, f"checksums has {_short(name)}; there are {', '.join(GROUPS)}")
        if not isinstance(checksum, str) or not _SHA256.fullmatch(checksum):
            raise DamagedFileError(index, f"checksums.{name} must be 64 hexadecimal digits, found {_short(checksum)}")
    return found


def _files(folder: Path, checksums: Mapping[str, str]) -> dict[str, Path]:
    """Each group's file; the format before, without a checksum of the facts, named it by the group alone."""
    named = {group: f"-{checksum[:16]}" if _FACTS in checksums else "" for group, checksum in checksums.items()}
    return {group: folder / f"{group}{tag}.safetensors" for group, tag in named.items() if group != _FACTS}


def _check_file(folder: Path, file: Path, checksum: str) -> None:
    if not file.is_file():
        raise DamagedFileError(file, "it is missing")
    _check_inside(folder, file)
    if _sha256(file) != checksum:
        raise DamagedFileError(file, "its content is not what was written (checksum)")


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    try:
        return load_file(file)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise DamagedFileError(file, f"it cannot be read as safetensors ({error})") from None


def _check_inside(folder: Path, file: Path) -> None:
    if not file.resolve().is_relative_to(folder.resolve()):
        raise DamagedFileError(file, "it is a link out of the policy's folder; put the file itself there")


def _check_free(target: Path) -> None:
    if not target.exists() or (target / _INDEX).is_file():
        return
    if not target.is_dir() or not all(_OURS.fullmatch(entry.name) for entry in target.iterdir()):
        msg = f"{target} exists and is no policy folder; choose another path."
        raise FileExistsError(msg)


def _write_arrays(folder: Path, group: str, arrays: Arrays, fresh: Path) -> str:
    """Write a group's file, under another name first; return its checksum."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    contiguous = {key: array.copy(order="C") for key, array in arrays.items()}  # the buffer is written as it lies
    fresh.touch()
    mode = fresh.stat().st_mode
    try:
        save_file(contiguous, fresh)
    except SafetensorError as error:
        msg = f"{folder / group}.safetensors could not be written: {error}"
        raise OSError(msg) from error
    fresh.chmod(mode)  # safetensors lets nobody else read it
    checksum = _sha256(fresh)
    put(fresh, _files(folder, {_FACTS: "", group: checksum})[group])
    return checksum


def _clear(folder: Path) -> None:
    """Remove what `policy.json` does not name."""
    try:
        _, checksums = _contents(folder / _INDEX, (folder / _INDEX).read_bytes())
        named = set(_files(folder, checksums).values())
    except FileNotFoundError:
        named = set()
    except ValueError:
        return  # what a damaged one names, nobody knows
    for entry in list(folder.iterdir()):
        if _OURS.fullmatch(entry.name) and entry not in named:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _short(value: Any) -> str:
    return reprlib.repr(value)
