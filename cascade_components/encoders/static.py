"""Static embeddings: a text's vector is the mean of its tokens'. No network runs, so it takes microseconds."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cascade_components.atomic import put_all
from cascade_components.encoders.protocol import DEFAULT_ENCODER, Vectors, tail
from cascade_components.encoders.sentence import SentenceTransformerEncoder
from cascade_components.forks import forget_after_fork

WINDOW = 512
"""Tokens that are read, from a text's end, where the model does not say."""

_DIMENSIONS = 256
_RARE = 1e-3
_BATCH = 1024


class StaticEncoder:
    """Static token embeddings in the format of model2vec, loaded when first used. Safe to call from many threads.

    Some hundred times as fast as a sentence-transformer, and the coarser: word order is lost.

    Args:
        name: A folder, or the name of a model2vec model on the Hugging Face Hub, such as
            "minishlab/potion-base-8M".

    Example:
        >>> encoder = StaticEncoder.distilled("static-encoder/")                                   # doctest: +SKIP
        >>> policy = fit("outcomes.jsonl.gz", encoder=encoder)                                      # doctest: +SKIP
    """

    def __init__(self, name: str | os.PathLike[str]) -> None:
        self.name = str(name)
        self._model: _Table | None = None
        self.forget()
        forget_after_fork(self)

    @classmethod
    def distilled(
        cls, folder: str | os.PathLike[str], name: str = DEFAULT_ENCODER, *, dimensions: int = _DIMENSIONS
    ) -> Self:
        """Make static embeddings of a sentence-transformers model, and keep them in a folder: some minutes, once.

        Each token of its vocabulary is encoded by itself; then principal components are taken, and frequent tokens
        count less (model2vec's recipe; weights of Arora et al. 2017 with a Zipf law for frequencies).

        Args:
            folder: Where they are put; it goes where the policy goes.
            name: The sentence-transformers model.
            dimensions: Of the vectors.

        Raises:
            OSError: The model is not to be had, or the folder cannot be written.
        """
        model = SentenceTransformerEncoder(name)._sentence_transformer()
        vectors = _reduced(_token_vectors(model), dimensions)
        rank = np.arange(2, len(vectors) + 2)
        frequency = 1 / rank / (1 / rank).sum()
        vectors *= (_RARE / (_RARE + frequency))[:, None]
        _write(Path(folder), model.tokenizer.backend_tokenizer.to_str(), vectors.astype(np.float32))
        return cls(folder)

    @property
    def spec(self) -> str:
        """Names the encoder in a policy."""
        return f"static:{self.name}"

    def __repr__(self) -> str:
        return f"StaticEncoder({self.name!r})"

    def __deepcopy__(self, memo: object) -> StaticEncoder:
        return self

    def __reduce__(self) -> tuple[type[StaticEncoder], tuple[str]]:
        return StaticEncoder, (self.name,)

    def __call__(self, texts: list[str], /) -> Vectors:
        """Encode texts into unit vectors, shape (n, dim); a text of unknown words only has the zero vector.

        Raises:
            OSError: The embeddings are neither in this folder nor to be had from the Hub.
            ValueError: What lies there are no static embeddings.
        """
        with self._loading:
            if self._model is None:
                self._model = _Table(self._files())
            model = self._model
        return np.stack([model.vector(text) for text in texts])

    def forget(self) -> None:
        """Whoever held the lock is not in a forked process; the embeddings are."""
        self._loading = threading.Lock()

    def _files(self) -> Path:
        if Path(self.name).is_dir():
            return Path(self.name)
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(self.name, allow_patterns=["*.json", "*.safetensors"]))
        except Exception as error:
            msg = (
                f"The static embeddings {self.name!r} could not be loaded ({type(error).__name__}): it is no folder, "
                'and not to be had from the Hub. Make your own: StaticEncoder.distilled("a-folder/").'
            )
            raise OSError(msg) from error


class _Table:
    """A tokenizer and a vector for each token."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        try:
            found = load_file(folder / "model.safetensors")
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self.vectors: NDArray[Any] = found["embeddings"]
        except Exception as error:
            msg = f"{folder} holds no static embeddings in the format of model2vec ({type(error).__name__}: {error})."
            raise ValueError(msg) from error
        self.mapping: NDArray[Any] | None = found.get("mapping")
        self.weights: NDArray[Any] | None = found.get("weights")
        self.window = int(config.get("max_length") or WINDOW)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        unknown = json.loads(self.tokenizer.to_str())["model"].get("unk_token")
        self.unknown = self.tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None

    def vector(self, text: str) -> Vectors:
        ids = self.tokenizer.encode(tail(text, self.window), add_special_tokens=False).ids[-self.window :]
        tokens = np.array([token for token in ids if token != self.unknown], int)
        rows = self.vectors[tokens if self.mapping is None else self.mapping[tokens]].astype(np.float32)
        if self.weights is not None:
            rows = rows * self.weights[tokens, None]
        total = rows.sum(0, dtype=np.float32)
        return np.asarray(total / max(float(np.sqrt(total @ total)), 1e-12), np.float32)


def _token_vectors(model: Any) -> NDArray[Any]:
    import torch
    from tqdm import tqdm

    tokenizer = model.tokenizer
    alone = tokenizer.backend_tokenizer.encode("a")  # between the marks of a text's beginning and end, and padding
    at, end = alone.special_tokens_mask.index(0), sum(alone.attention_mask)
    before, after = alone.ids[:at], alone.ids[at + 1 : end]
    rows = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(tokenizer), _BATCH), desc="distil tokens", disable=None, leave=False):
            batch = range(start, min(start + _BATCH, len(tokenizer)))
            ids = torch.tensor([[*before, token, *after] for token in batch])
            columns = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            if "token_type_ids" in tokenizer.model_input_names:
                columns["token_type_ids"] = torch.zeros_like(ids)
            rows.append(model(columns)["sentence_embedding"].numpy())
    return np.concatenate(rows)


def _reduced(vectors: NDArray[Any], dimensions: int) -> NDArray[Any]:
    from sklearn.decomposition import PCA

    if dimensions >= vectors.shape[1]:
        return np.asarray(vectors - vectors.mean(0))
    return np.asarray(PCA(dimensions, svd_solver="full").fit_transform(vectors))


def _write(folder: Path, tokenizer: str, vectors: Vectors) -> None:
    from safetensors.numpy import save

    config = {"model_type": "model2vec", "normalize": True, "hidden_dim": vectors.shape[1]}
    contents = {
        "model.safetensors": save({"embeddings": np.ascontiguousarray(vectors)}),  # the buffer is written as it lies
        "tokenizer.json": tokenizer.encode(),
        "config.json": json.dumps(config).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    put_all(contents, folder)
