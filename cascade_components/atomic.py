"""Files that are there whole or not at all, whenever their writer is killed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

UNFINISHED = r"\.writing-\w+"
"""What the folders of files that are still being written are called."""


def unfinished(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder inside, for files to write and then `put` in their place; it goes, with what is left in it."""
    return tempfile.TemporaryDirectory(dir=folder, prefix=".writing-", ignore_cleanup_errors=True)


def put(fresh: Path, file: Path) -> None:
    """Move a file to its place at a stroke and for good: its content is on the disk before its name is."""
    sync(fresh)
    fresh.replace(file)
    sync(file.parent)


def put_all(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write files of a folder, by name, each at a stroke, and none before the content of all is written."""
    with unfinished(folder) as scratch:
        for name, content in contents.items():
            Path(scratch, name).write_bytes(content)
        for name in contents:
            put(Path(scratch, name), folder / name)


def sync(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk."""
    if sys.platform == "win32" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Make a folder where there is none, and wait until nobody else is alone in it.

    Yields:
        False where the system has no such lock. The lock goes with its holder, even if that is killed.
    """
    if sys.platform == "win32":
        folder.mkdir(parents=True, exist_ok=True)
        yield False
        return
    import fcntl

    handle, locked = _locked(folder)
    try:
        yield locked
    finally:
        if locked:
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process forked meanwhile would keep it
        os.close(handle)


def _locked(folder: Path) -> tuple[int, bool]:
    import fcntl

    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # some network file systems
            return handle, False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.stat()):
                return handle, True
        os.close(handle)  # who was alone in it has removed it
