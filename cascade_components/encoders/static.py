"""Static embeddings: a text's vector is the mean of its tokens'. No network runs, so it takes microseconds."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cascade_components.encoders.protocol import Vectors, tail
from cascade_components.forks import forget_after_fork

WINDOW = 512
"""Tokens that are read, from a text's end, where the model does not say."""


class StaticEncoder:
    """Static token embeddings in the format of model2vec, loaded when first used. Safe to call from many threads.

    Some hundred times as fast as a sentence-transformer; word order is lost.

    Args:
        name: A folder, or the name of a model2vec model on the Hugging Face Hub, such as
            "minishlab/potion-base-8M".

    Example:
        >>> policy = fit("outcomes.jsonl.gz", encoder=StaticEncoder("minishlab/potion-base-8M"))   # doctest: +SKIP
    """

    def __init__(self, name: str | os.PathLike[str]) -> None:
        self.name = str(name)
        self._table: Table | None = None
        self.forget()
        forget_after_fork(self)

    @property
    def spec(self) -> str:
        """Names the encoder in a policy."""
        return f"static:{self.name}"

    @property
    def location(self) -> str:
        """Folder of the model that the vectors come from, or its name on the Hub."""
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.name,)

    def __call__(self, texts: list[str], /) -> Vectors:
        """Encode texts into unit vectors, shape (n, dim); a text of unknown words only has the zero vector.

        Raises:
            OSError: The embeddings are neither in this folder nor to be had from the Hub.
            ValueError: What lies there are no static embeddings.
        """
        with self._loading:
            if self._table is None:
                self._table = self._load()
            table = self._table
        return np.stack([table.vector(text) for text in texts])

    def forget(self) -> None:
        """Whoever held the lock is not in a forked process; the embeddings are."""
        self._loading = threading.Lock()

    def _load(self) -> Table:
        return Table.read(self._files())

    def _files(self) -> Path:
        if Path(self.name).is_dir():
            return Path(self.name)
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(self.name, allow_patterns=["*.json", "*.safetensors"]))
        except Exception as error:
            msg = (
                f"The static embeddings {self.name!r} could not be loaded ({type(error).__name__}): it is no folder, "
                'and not to be had from the Hub. Of a sentence-transformers model they are made by "distilled:MODEL".'
            )
            raise OSError(msg) from error


@dataclass(frozen=True)
class Table:
    """A tokenizer and a vector for each token."""

    vectors: NDArray[Any]
    """Shape (tokens, dim)."""
    tokens: str
    """The tokenizer, as JSON."""
    window: int = WINDOW
    """Tokens that are read, from a text's end."""
    mapping: NDArray[Any] | None = None
    """Row of each token, shape (tokens,); None: its own."""
    weights: NDArray[Any] | None = None
    """Of each token, shape (tokens,); None: all alike."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder in the format of model2vec.

        Raises:
            ValueError: It holds something else.
        """
        from safetensors.numpy import load_file

        try:
            found = load_file(folder / "model.safetensors")
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            tokens = (folder / "tokenizer.json").read_text(encoding="utf-8")
            window = int(config.get("max_length") or WINDOW)
            table = cls(found["embeddings"], tokens, window, found.get("mapping"), found.get("weights"))
            _ = table.tokenizer, table.unknown
        except Exception as error:
            msg = f"{folder} holds no static embeddings in the format of model2vec ({type(error).__name__}: {error})."
            raise ValueError(msg) from error
        return table

    def files(self) -> dict[str, bytes]:
        """Vectors and tokenizer as the files of such a folder, by name."""
        from safetensors.numpy import save

        vectors = np.ascontiguousarray(self.vectors)  # the buffer is written as it lies
        config = {"model_type": "model2vec", "normalize": True, "hidden_dim": vectors.shape[1]}
        return {
            "model.safetensors": save({"embeddings": vectors}),
            "tokenizer.json": self.tokens.encode(),
            "config.json": json.dumps(config).encode(),
        }

    def vector(self, text: str) -> Vectors:
        """The unit vector of a text, shape (dim,)."""
        ids = self.tokenizer.encode(tail(text, self.window), add_special_tokens=False).ids[-self.window :]
        tokens = np.array([token for token in ids if token != self.unknown], int)
        rows = self.vectors[tokens if self.mapping is None else self.mapping[tokens]].astype(np.float32)
        if self.weights is not None:
            rows = rows * self.weights[tokens, None]
        total = rows.sum(0, dtype=np.float32)
        return np.asarray(total / max(float(np.sqrt(total @ total)), 1e-12), np.float32)

    @cached_property
    def tokenizer(self) -> Any:
        """Text → token ids."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.tokens)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def unknown(self) -> int | None:
        """Id of the token for what is none."""
        name = json.loads(self.tokenizer.to_str())["model"].get("unk_token")
        return self.tokenizer.token_to_id(name) if isinstance(name, str) else None
