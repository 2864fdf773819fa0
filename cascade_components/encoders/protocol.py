"""What an encoder is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
"""The paper's encoder (arXiv 2606.27457): 384 dimensions, 256 tokens."""


class Encoder(Protocol):
    """Any callable from texts to vectors; the same one when fitting and when serving."""

    def __call__(self, texts: list[str], /) -> Any:
        """Return a float array of shape (n, dim)."""
        ...


CHARACTERS_PER_TOKEN = 16
"""More than a token of any prose or code takes, so that what is cut off before tokenising would be cut off after it."""


def tail(text: str, tokens: int) -> str:
    """As much of a text's end as an encoder of so many tokens can read: a prompt of a megabyte costs no more.

    Example:
        >>> tail("word " * 1_000_000 + "the question?", 256)[-13:]
        'the question?'
    """
    return text[-CHARACTERS_PER_TOKEN * tokens :]
