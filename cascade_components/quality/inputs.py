"""What a head reads: the answer's features and the encoder's vectors, as one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cascade_components.answers import Answer
from cascade_components.arrays import Floats
from cascade_components.encoders import CachedEncoder, Encoder
from cascade_components.quality.features import FEATURES, answer_features, readable_text

_VECTOR_SCALE = 3.0
"""Unit vectors have small entries: scaled so that one penalty suits them and the standardised features."""


class HeadInputs:
    """Makes the input of a head: standardised features, query vector, answer vector, their product, model identity.

    Args:
        encoder: Text → vectors; None: to be set before use.
        models: Names of the models whose answers one head reads; each has a column that is 1 for its answers.
    """

    def __init__(self, encoder: Encoder | None = None, models: Sequence[str] = ()) -> None:
        self.encoder = encoder
        self.models = tuple(models)
        self.mean = np.zeros(len(FEATURES), np.float32)
        self.scale = np.ones(len(FEATURES), np.float32)

    def fit(self, queries: Sequence[str], answers: Sequence[Answer]) -> Tensor:
        """Learn what is usual, and return the inputs of these answers, shape (n, width)."""
        features = answer_features(queries, answers)
        known = ~np.isnan(features)
        count = np.maximum(1, known.sum(0))
        mean = np.where(known, features, 0).sum(0) / count
        spread = np.sqrt((np.where(known, features - mean, 0) ** 2).sum(0) / count)
        self.mean = mean.astype(np.float32)
        self.scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0).astype(np.float32)
        return self._joined(features, queries, answers)

    def __call__(self, queries: Sequence[str], answers: Sequence[Answer]) -> Tensor:
        """The inputs of answers, shape (n, width)."""
        return self._joined(answer_features(queries, answers), queries, answers)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `fit` learned, for safetensors."""
        return {"mean": self.mean, "scale": self.scale}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what `arrays` held."""
        self.mean, self.scale = np.array(arrays["mean"], np.float32), np.array(arrays["scale"], np.float32)

    def _joined(self, features: Floats, queries: Sequence[str], answers: Sequence[Answer]) -> Tensor:
        # What is missing, or never varied in training, counts as average.
        scaled = np.nan_to_num((features.astype(np.float32) - self.mean) * self.scale).clip(-5, 5)
        query, answer = self._vectors(queries, answers)
        identity = np.array([[answer.model == model for model in self.models] for answer in answers], np.float32)
        parts = [scaled, query, answer, query * answer * _VECTOR_SCALE, identity.reshape(len(answers), -1)]
        return torch.from_numpy(np.concatenate(parts, 1, dtype=np.float32))

    def _vectors(self, queries: Sequence[str], answers: Sequence[Answer]) -> tuple[Floats, Floats]:
        if self.encoder is None:
            msg = "This head has no encoder; pass one, or let fit give the policy's."
            raise RuntimeError(msg)
        if not isinstance(self.encoder, CachedEncoder):
            self.encoder = CachedEncoder(self.encoder)
        texts = [readable_text(answer) or " " for answer in answers]
        return self.encoder(list(queries)) * _VECTOR_SCALE, self.encoder(texts) * _VECTOR_SCALE
