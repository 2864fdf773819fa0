"""A bounded cache of vectors, and many texts encoded with a progress bar."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_components.encoders.batching import Batcher
from cascade_components.encoders.protocol import Encoder, Vectors
from cascade_components.encoders.together import Together
from cascade_components.forks import forget_after_fork
from cascade_components.progress import with_bar

CACHE_SIZE = 4096
"""Vectors remembered while serving (384 dimensions: 6 MB)."""


BATCH = 256
"""Texts that are encoded together, where there are many."""


class CachedEncoder:
    """Remembers the vectors of the latest texts, and refuses vectors that nothing can be learned from.

    Any number of threads may share it: what they ask at the same time is encoded together, by one thread at a time
    (see `Batcher`).

    Args:
        encoder: Called with the texts that are not remembered, each once.
        size: How many vectors are kept.

    Example:
        >>> encoder = CachedEncoder(lambda texts: [[float(len(text))] for text in texts])
        >>> encoder(["a", "bb"]).tolist()
        [[1.0], [2.0]]
    """

    def __init__(self, encoder: Encoder, size: int = CACHE_SIZE) -> None:
        self.encoder = encoder
        self.size = size
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()
        self.forget()
        self._shared = Batcher(lambda texts: self.encoder(texts))  # the encoder may be replaced
        self.together = Together(self)
        forget_after_fork(self)

    def __deepcopy__(self, memo: object) -> CachedEncoder:
        return self

    def __reduce__(self) -> tuple[type[CachedEncoder], tuple[Encoder, int]]:
        return CachedEncoder, (self.encoder, self.size)

    def __call__(self, texts: Sequence[str], /) -> Vectors:
        """Encode texts, shape (n, dim).

        Raises:
            ValueError: The encoder's result has another shape, or holds NaN or infinity.
        """
        known: dict[str, Vectors] = {}
        missing: list[str] = []
        with self._lock:
            for text in dict.fromkeys(texts):
                vector = self._vectors.get(text)
                if vector is None:
                    missing.append(text)
                else:
                    known[text] = vector
                    self._vectors.move_to_end(text)
        if missing:
            # Copies: a vector that is kept does not keep its batch.
            found = {text: vector.copy() for text, vector in zip(missing, self._encode(missing), strict=True)}
            known.update(found)
            with self._lock:
                self._vectors.update(found)
            self.trim(self.size)
        if len(texts) == 1:
            return known[texts[0]][None].copy()
        return np.stack([known[text] for text in texts])

    def knows(self, text: str) -> bool:
        """Whether the text's vector is remembered."""
        return text in self._vectors

    def trim(self, size: int) -> None:
        """Keep only this many vectors from now on."""
        with self._lock:
            self.size = size
            while len(self._vectors) > size:
                self._vectors.popitem(last=False)

    def forget(self) -> None:
        """Whoever held the lock is not in a forked process; the vectors are."""
        self._lock = threading.Lock()

    def _encode(self, texts: list[str]) -> Vectors:
        vectors: NDArray[Any] = np.asarray(self._shared(texts), np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            msg = (
                f"The encoder must return finite vectors of shape ({len(texts)}, dim) for {len(texts)} texts; "
                f"found shape {vectors.shape}{'' if np.isfinite(vectors).all() else ' with NaN or infinity'}."
            )
            raise ValueError(msg)
        return vectors


def encode_with_progress(encoder: CachedEncoder, texts: Sequence[str], what: str, *, progress: bool) -> Vectors:
    """Encode many texts in batches of similar length, with a progress bar on a terminal."""
    vectors: list[Vectors | None] = [None] * len(texts)
    for positions, found in _encoded(encoder, texts, what, progress=progress):
        for position, vector in zip(positions, found, strict=True):
            vectors[position] = vector
    return np.stack([vector for vector in vectors if vector is not None])


def read_ahead(encoder: CachedEncoder, texts: Sequence[str], what: str, *, progress: bool) -> None:
    """Encode texts into the encoder's memory, likewise; many vectors take much room, so nothing is returned."""
    for _ in _encoded(encoder, texts, what, progress=progress):
        pass


def _encoded(
    encoder: CachedEncoder, texts: Sequence[str], what: str, *, progress: bool
) -> Iterator[tuple[list[int], Vectors]]:
    order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
    batches = range(0, len(order), BATCH)
    for start in with_bar(batches, f"encode {what}", progress=progress, total=len(batches)):
        positions = order[start : start + BATCH]
        yield positions, encoder([texts[position] for position in positions])
