"""Where the files of a model lie on this machine, and where what is made of them is kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from cascade_components.atomic import put_all
from cascade_components.cache_folder import cache_folder

_log = logging.getLogger(__name__)


def local_folder(location: str) -> Path | None:
    """The folder of a model's files; None where they are not here yet.

    Args:
        location: That folder, or the model's name on the Hub.
    """
    if Path(location).is_dir():
        return Path(location)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    name = location if "/" in location else f"sentence-transformers/{location}"
    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # no name of a model's: the path of a folder that is not there
        return None
    return Path(found).parent if isinstance(found, str) else None


def stamp(folder: Path, *more: str) -> str:
    """Sixteen hex digits of the names, sizes and dates of a folder's files, and of what else tells two apart."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = [(path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((facts, more)).encode()).hexdigest()[:16]


def kept_folder(kind: str, version: str, location: str) -> Path | None:
    """The folder that what is made of a model is kept in, in the user's cache folder; None: the model is not here yet.

    Args:
        kind: What is made of it.
        version: Of the way in which it is made.
        location: As for `local_folder`.
    """
    folder = local_folder(location)
    return None if folder is None else cache_folder() / kind / stamp(folder, version)


def keep(contents: Mapping[str, bytes], folder: Path, what: str) -> None:
    """Write files into such a folder; where it cannot be written, the next process makes them again.

    Args:
        contents: The files, by name.
        folder: As `kept_folder` names it.
        what: What they are, for the warning.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        put_all(contents, folder)
    except OSError as error:  # a read-only home
        _log.warning("%s cannot be kept in %s: %s", what, folder, error)
