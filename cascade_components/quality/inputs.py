"""What a head reads: the answer's features and the encoder's vectors, as one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cascade_components.answers import Answer
from cascade_components.arrays import Floats
from cascade_components.encoders import CachedEncoder, Encoder
from cascade_components.quality.features import FEATURES, answer_features, readable_text
from cascade_components.quality.reasoning import starts_within, without_stray_ends

_VECTOR_SCALE = 3.0
"""Unit vectors have small entries: scaled so that one penalty suits them and the standardised features."""

_HABIT = 0.05
"""Share of a model's answers that begin within a reasoning block, from which on it is the model's way."""


class HeadInputs:
    """Makes the input of a head: standardised features, query vector, answer vector, their product, model identity.

    Args:
        encoder: Text → vectors; None: to be set before use.
        models: Names of the models whose answers one head reads; each has a column that is 1 for its answers.
        thinkers: Names of the models whose answers begin within a reasoning block, as `fit` finds them. Of another
            model's answer, the end of a block that never began hides nothing: it would let the answer choose what
            is read of it. None: what comes before such an end is reasoning, whoever wrote it.
    """

    def __init__(
        self, encoder: Encoder | None = None, models: Sequence[str] = (), thinkers: Sequence[str] | None = None
    ) -> None:
        self.encoder = encoder
        self.models = tuple(models)
        self.thinkers = None if thinkers is None else tuple(thinkers)
        self.mean = np.zeros(len(FEATURES), np.float32)
        self.scale = np.ones(len(FEATURES), np.float32)

    def fit(self, queries: Sequence[str], answers: Sequence[Answer]) -> Tensor:
        """Learn what is usual, and return the inputs of these answers, shape (n, width)."""
        if self.thinkers is not None:
            self.thinkers = _thinkers(answers)
        answers = self._taken(answers)
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
        answers = self._taken(answers)
        return self._joined(answer_features(queries, answers), queries, answers)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `fit` learned, for safetensors."""
        return {"mean": self.mean, "scale": self.scale}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what `arrays` held."""
        self.mean, self.scale = np.array(arrays["mean"], np.float32), np.array(arrays["scale"], np.float32)

    def _taken(self, answers: Sequence[Answer]) -> Sequence[Answer]:
        """The answers, the very same ones where there is nothing to be wary of."""
        known = self.thinkers
        if known is None:
            return answers
        return [
            replace(answer, text=without_stray_ends(answer.text))
            if answer.model not in known and starts_within(answer.text)
            else answer
            for answer in answers
        ]

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


def _thinkers(answers: Sequence[Answer]) -> tuple[str, ...]:
    """The models whose answers begin within a reasoning block more than now and then."""
    within: dict[str, list[bool]] = {}
    for answer in answers:
        within.setdefault(answer.model, []).append(starts_within(answer.text))
    return tuple(sorted(model for model, found in within.items() if sum(found) > _HABIT * len(found)))
