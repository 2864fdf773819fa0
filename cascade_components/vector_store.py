"""Vectors on disk, by content: what was embedded once is not embedded again, by this fit, the next or one cut short.

Kept are hashes and vectors, no texts. Yet a vector tells much of its text (Morris et al., arXiv 2310.06816): the file
is as private as the outcomes, readable by its owner alone.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cascade_components.encoders import BATCH, CachedEncoder, Encoder, Vectors

_log = logging.getLogger(__name__)

MOST_BYTES = 2 * 1024**3
"""Size of a store beyond which the oldest vectors go: about a million of 384 dimensions."""

_PATIENCE = 60.0
"""Seconds to wait for another process that writes."""
_AT_ONCE = 500
"""Keys in one query; SQLite of old takes no more than 999."""

_SET_UP = (
    "PRAGMA page_size = 16384",  # of smaller pages a third stays empty
    "PRAGMA journal_mode = WAL",  # others read while one writes
    "PRAGMA synchronous = NORMAL",
    "CREATE TABLE IF NOT EXISTS vectors (key BLOB UNIQUE NOT NULL, vector BLOB NOT NULL)",
)


class VectorStore:
    """Texts' vectors in one SQLite file; several threads and processes may share it.

    Every batch is written as one transaction: a process killed midway loses no batch that was written before.

    Args:
        path: The file; it and its folder are made if they aren't there.
        identity: Names the encoder, and changes with anything that changes its vectors.
        most_bytes: Size beyond which the oldest vectors go.

    Raises:
        OSError: The folder cannot be made.
        sqlite3.Error: The file cannot be written, or is no store.

    Example:
        >>> import tempfile
        >>> store = VectorStore(Path(tempfile.mkdtemp()) / "vectors.sqlite", "an-encoder")
        >>> store.write(["a"], np.ones((1, 2), np.float32))
        >>> {text: vector.tolist() for text, vector in store.read(["a", "b"]).items()}
        {'a': [1.0, 1.0]}
    """

    def __init__(self, path: Path, identity: str, *, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._identity = identity.encode()
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            for statement in _SET_UP:
                self._connection.execute(statement)
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def read(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """The vectors of those texts that are here."""
        text_of = {self._key(text): text for text in texts}
        keys = list(text_of)
        found: dict[str, Vectors] = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            query = f"SELECT key, vector FROM vectors WHERE key IN ({','.join('?' * len(part))})"  # noqa: S608
            with self._lock:
                rows = self._connection.execute(query, part).fetchall()
            found |= {text_of[key]: np.frombuffer(vector, "<f4") for key, vector in rows}
        return found

    def write(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep vectors, shape (texts, dim), all of them or, where this is cut short, none."""
        rows = [(self._key(text), row.astype("<f4").tobytes()) for text, row in zip(texts, vectors, strict=True)]
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
                self._make_room()
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def has_room_for(self, vectors: int, dimensions: int) -> bool:
        """Whether a store could hold so many, by a rough reckoning, before the oldest went."""
        return vectors * (5 * dimensions + 100) <= self._most_bytes

    def _make_room(self) -> None:
        """Of a store that is too large a tenth of the vectors goes, the oldest first."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size > self._most_bytes:
            tenth = "SELECT rowid FROM vectors ORDER BY rowid LIMIT (SELECT count(*) / 10 + 1 FROM vectors)"
            self._connection.execute(f"DELETE FROM vectors WHERE rowid IN ({tenth})")  # noqa: S608

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(self._identity + b"\0" + text.encode(errors="surrogatepass")).digest()[:16]


class StoredEncoder:
    """An encoder that asks a store first, and tells it what it had to find out.

    A store that fails (a full disk, a damaged file) is told of once, and left alone: no fit ends for its sake.
    """

    def __init__(self, encoder: Encoder, store: VectorStore) -> None:
        self.encoder = CachedEncoder(encoder, size=0)  # remembers nothing, but checks
        self.store: VectorStore | None = store

    def __call__(self, texts: list[str], /) -> Any:
        """Encode texts, shape (n, dim); those that are new are kept batch by batch."""
        known = self._read(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            vectors = self.encoder(batch)
            self._write(batch, vectors)
            known.update(zip(batch, vectors, strict=True))
        return np.stack([known[text] for text in texts])

    def _read(self, texts: list[str]) -> dict[str, Vectors]:
        try:
            return {} if self.store is None else self.store.read(texts)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return {}

    def _write(self, texts: list[str], vectors: Vectors) -> None:
        try:
            if self.store is not None:
                self.store.write(texts, vectors)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        store, self.store = self.store, None
        if store is not None:
            _log.warning("The cache of embeddings %s is left alone: %s.", store.path, error)
