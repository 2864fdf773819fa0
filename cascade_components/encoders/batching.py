"""Concurrent callers share an encoder's batches: whoever comes while a batch runs is in the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_components.encoders.line import MOST_CHARACTERS, MOST_TEXTS, Line
from cascade_components.forks import forget_after_fork


class Batcher:
    """Calls an encoder from one thread at a time, with the texts of all who wait.

    There is no thread of its own: a caller who finds the encoder idle encodes at once; those who come meanwhile wait,
    and one of them encodes for all (see `Line`). So an encoder that knows nothing of threads can be shared by them. A
    batch that fails is tried again call by call: the error is raised where it belongs.

    Args:
        encode: Texts → vectors, shape (n, dim).
        most_texts: Texts of a batch. A call with more has a batch of its own.
        most_characters: Characters of a batch, likewise.

    Example:
        >>> Batcher(lambda texts: np.array([[len(text)] for text in texts]))(["a", "bb"]).tolist()
        [[1], [2]]
    """

    def __init__(
        self,
        encode: Callable[[list[str]], Any],
        *,
        most_texts: int = MOST_TEXTS,
        most_characters: int = MOST_CHARACTERS,
    ) -> None:
        self._encode = encode
        self._most_texts = most_texts
        self._most_characters = most_characters
        self.forget()
        forget_after_fork(self)

    def __call__(self, texts: Sequence[str], /) -> NDArray[Any]:
        """Encode texts, shape (n, dim).

        Raises:
            Exception: What the encoder raised on these very texts.
        """
        request = _Request(list(texts))
        with self._turn:
            self._line.join(request)
        try:
            while not request.done:
                self._wait_or_encode(request)
        except BaseException:  # the caller was interrupted: nobody wants the vectors
            with self._turn:
                self._line.leave(request)
            raise
        if request.vectors is None:
            raise request.error or RuntimeError("The texts were not encoded.")
        return request.vectors

    def forget(self) -> None:
        """Nobody waits, nobody encodes: as in a forked process, where those who did are not."""
        lock = threading.Lock()
        self._turn = threading.Condition(lock)
        self._line: Line[_Request] = Line(lock, self._most_texts, self._most_characters)
        self._busy = False

    def _wait_or_encode(self, request: _Request) -> None:
        with self._turn:
            while self._busy and not request.done:
                self._turn.wait()
            if request.done:
                return
            self._busy = True
        batch: list[_Request] = []
        try:
            with self._turn:
                batch = self._line.take()
            self._serve(batch)
        finally:
            with self._turn:
                self._busy = False
                self._line.served(batch)
                # This caller may have been interrupted; the others of its batch still wait.
                self._line.put_back(one for one in batch if not one.done and one is not request)
                self._turn.notify_all()

    def _serve(self, batch: list[_Request]) -> None:
        if len(batch) == 1:
            try:
                batch[0].vectors = np.asarray(self._encode(batch[0].texts))
            except Exception as error:
                batch[0].error = error
            return
        texts = list(dict.fromkeys(text for request in batch for text in request.texts))
        row = {text: number for number, text in enumerate(texts)}
        try:
            vectors = np.asarray(self._encode(texts))
            if vectors.ndim != 2 or len(vectors) != len(texts):
                msg = f"The encoder returned an array of shape {vectors.shape} for {len(texts)} texts."
                raise ValueError(msg)
        except Exception:  # one text is enough to fail them all
            for request in batch:
                self._serve([request])
            return
        for request in batch:
            request.vectors = vectors[[row[text] for text in request.texts]]


class _Request:
    """One call's texts, and what became of them."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.vectors: NDArray[Any] | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.vectors is not None or self.error is not None
