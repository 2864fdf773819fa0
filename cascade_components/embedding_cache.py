"""Where embeddings are kept between fits, and whose.

By default they are: to embed is what a fit spends most of its time on. The file lies in the user's cache folder, on the
machine that holds the outcomes, readable by the user alone.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade_components.cache_folder import cache_folder
from cascade_components.encoders import CachedEncoder, Encoder, SentenceTransformerEncoder, StaticEncoder
from cascade_components.encoders.model_files import local_folder, stamp
from cascade_components.vector_store import MOST_BYTES, StoredEncoder, VectorStore

Cache = bool | str | os.PathLike[str] | None
"""True: the file of `default_path`; a path: this file; None or False: embeddings are not kept."""

_log = logging.getLogger(__name__)


@contextmanager
def kept_on_disk(cached: CachedEncoder, cache: Cache) -> Iterator[None]:
    """Within it, what the encoder finds out is kept on disk, and what lies there is not found out again.

    Args:
        cached: Its inner encoder is replaced for the time being.
        cache: Where. Of an encoder without identity nothing is kept.

    Raises:
        ValueError: A path was given, and it cannot be used, or the encoder has no identity.
    """
    inner = cached.encoder
    store = store_of(inner, cache)
    if store is None:
        yield
        return
    cached.encoder = StoredEncoder(inner, store)
    try:
        yield
    finally:
        cached.encoder = inner
        store.close()


def default_path() -> Path:
    """The file that embeddings are kept in where none is named: in the user's cache folder, or in `CASCADE_CACHE`."""
    return cache_folder() / "embeddings.sqlite"


def identity(encoder: Encoder) -> str | None:
    """What names an encoder, and changes whenever its vectors do; None: nothing tells.

    It is the encoder's `cache_key`, if it has one. One of ours is known by its name, and by the names, sizes and dates
    of its model's files.
    """
    if isinstance(encoder, CachedEncoder):
        return identity(encoder.encoder)
    key = getattr(encoder, "cache_key", None)
    if key is None and isinstance(encoder, SentenceTransformerEncoder | StaticEncoder):
        folder = _files(encoder)
        key = None if folder is None else f"{encoder!r} {stamp(folder)}"
    return None if key is None else str(key)


def store_of(encoder: Encoder, cache: Cache) -> VectorStore | None:
    """Where an encoder's vectors are kept; None: nowhere. A file that the user names may grow as large as it will.

    Raises:
        ValueError: A path was given, and it cannot be used, or the encoder has no identity.
    """
    path = default_path() if cache is True else Path(cache) if cache else None
    if path is None:
        return None
    named = identity(encoder)
    try:
        if named is not None:
            most_bytes = MOST_BYTES if cache is True else sys.maxsize
            return VectorStore(path / "embeddings.sqlite" if path.is_dir() else path, named, most_bytes=most_bytes)
        msg = "this encoder has no identity; give it an attribute cache_key, a text that changes with its vectors"
    except (OSError, sqlite3.Error) as error:
        msg = str(error)
        _log.info("Embeddings are not kept on disk: %s: %s", path, msg)
    if cache is True:
        return None
    raise ValueError(f"Embeddings cannot be kept in {path}: {msg}.")


def _files(encoder: SentenceTransformerEncoder | StaticEncoder) -> Path | None:
    """Where the model's files lie; they are fetched, if need be."""
    if (folder := local_folder(encoder.location)) is None:
        encoder(["."])
    return folder or local_folder(encoder.location)
