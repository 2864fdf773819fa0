"""Static embeddings of a sentence-transformers model: made when first used, and kept in the cache folder."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_components.encoders.model_files import keep, kept_folder
from cascade_components.encoders.protocol import DEFAULT_ENCODER
from cascade_components.encoders.sentence import SentenceTransformerEncoder
from cascade_components.encoders.static import StaticEncoder, Table

_FORMAT = "1"
"""Part of where embeddings are kept: made otherwise, they are kept elsewhere."""

_RARE = 1e-3
_BATCH = 1024

_log = logging.getLogger(__name__)


class DistilledEncoder(StaticEncoder):
    """A sentence-transformers model as static embeddings: each token of its vocabulary, encoded by itself.

    They are made when they are first used, which takes half a minute, and are kept in the user's cache folder; every
    machine makes the same ones. Their mean is taken off, and frequent tokens count less: weights of Arora et al.
    (2017) with a Zipf law for the frequencies, as in model2vec, but without its principal components, whose axes
    another machine may find turned.

    Args:
        name: The model's name on the Hub, or its folder.

    Raises (when called):
        OSError: The model is neither installed, nor cached, nor to be had from the Hub.
        ValueError: It has no fast tokenizer.

    Example:
        >>> policy = fit("outcomes.jsonl.gz", encoder=DistilledEncoder())                          # doctest: +SKIP
    """

    def __init__(self, name: str | os.PathLike[str] = DEFAULT_ENCODER) -> None:
        super().__init__(name)
        self._source = SentenceTransformerEncoder(self.name)

    @property
    def spec(self) -> str:
        """Names the encoder in a policy."""
        return f"distilled:{self.name}"

    @property
    def location(self) -> str:
        """Folder of the model that the vectors come from, or its name on the Hub."""
        return self._source.location

    def _load(self) -> Table:
        folder = kept_folder("distilled", _FORMAT, self.location)
        if folder is not None and (folder / "config.json").is_file():
            try:
                return Table.read(folder)
            except ValueError as error:
                _log.warning("%s They are made again.", error)
        _log.info("Distilling %s; it is done once.", self.name)
        table = _distil(self._source.sentence_transformer())
        folder = folder or kept_folder("distilled", _FORMAT, self.location)  # the model has been fetched
        if folder is not None:
            keep(table.files(), folder, "The embeddings")
        return table


def _distil(model: Any) -> Table:
    if not getattr(model.tokenizer, "is_fast", False):
        msg = "Only a model with a fast tokenizer can be distilled; this one has none. Use it as it is, or by onnx:."
        raise ValueError(msg)
    vectors = _token_vectors(model)
    rank = np.arange(2, len(vectors) + 2)
    frequency = 1 / rank / (1 / rank).sum()
    weighted = (vectors - vectors.mean(0)) * (_RARE / (_RARE + frequency))[:, None]
    return Table(weighted.astype(np.float32), model.tokenizer.backend_tokenizer.to_str())


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
