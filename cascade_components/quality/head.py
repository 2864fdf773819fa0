"""The default quality estimator: a small torch head on the encoder's vectors and the answer's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from cascade_components.answers import Answer
from cascade_components.arrays import Floats
from cascade_components.encoders import CachedEncoder, Encoder
from cascade_components.quality.features import FEATURES, answer_features, readable_text


class EmbeddingHead(nn.Module):
    """Estimates P(correct) from query and answer vectors, their interaction, and the answer's features.

    Trained on correctness labels, which may be soft (a share of runs that were right). A held-out part of the
    training answers decides when to stop; nothing is selected on data that plans or evaluations use.

    Args:
        encoder: Text → vectors; None: `fit` gives the policy's encoder.
        hidden: Width of the hidden layer.
        dropout: Share of inputs dropped in training.
        weight_decay: AdamW's.
        epochs: The most passes over the training answers.
        class_weight: "balanced" weighs right and wrong answers alike, as arXiv 2606.27457 does; the scores are
            then no probabilities.
        seed: Seed of initial weights, order and held-out part.

    Example:
        >>> head = EmbeddingHead().fit(queries, answers, correct)   # doctest: +SKIP
        >>> head.predict_proba(["2 + 2?"], [Answer("5")])           # doctest: +SKIP
        array([0.12])
    """

    kind = "embedding"

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        hidden: int = 32,
        dropout: float = 0.3,
        weight_decay: float = 0.05,
        epochs: int = 60,
        class_weight: Literal["balanced"] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.config: dict[str, Any] = {
            "hidden": hidden,
            "dropout": dropout,
            "weight_decay": weight_decay,
            "epochs": epochs,
            "class_weight": class_weight,
            "seed": seed,
        }

    def fit(self, queries: Sequence[str], answers: Sequence[Answer], correct: ArrayLike) -> Self:
        """Train on answers and what they were worth (0…1, shape (n,)).

        Raises:
            ValueError: The lengths differ, or there are fewer than 10 answers.
        """
        label = np.asarray(correct, np.float32)
        if not len(queries) == len(answers) == len(label) or len(label) < 10:
            msg = f"Training needs at least 10 queries, answers and labels, found {len(queries)}, {len(answers)}, "
            raise ValueError(msg + f"{len(label)}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config["seed"])
            features = answer_features(queries, answers)
            vectors = self._vectors(queries, answers)
            self._build(vectors.shape[1], features)
            self._train(vectors, self._standardised(features), torch.from_numpy(label))
        return self

    def predict_proba(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[np.float64]:
        """P(correct) of each answer, shape (n,).

        Raises:
            RuntimeError: The head has not been fitted.
        """
        if not hasattr(self, "mix"):
            msg = "This EmbeddingHead is not fitted; call fit first."
            raise RuntimeError(msg)
        with torch.inference_mode():
            logits = self(self._vectors(queries, answers), self._standardised(answer_features(queries, answers)))
            return np.asarray(torch.sigmoid(logits).double().numpy())

    def forward(self, vectors: Tensor, features: Tensor) -> Tensor:
        """Log-odds of being correct, shape (n,)."""
        logits: Tensor = self.mix(vectors).squeeze(-1) + self.shape(features).squeeze(-1)
        return logits

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The learned weights, for safetensors."""
        return {name: tensor.numpy() for name, tensor in self.state_dict().items()}

    @classmethod
    def from_arrays(
        cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], encoder: Encoder
    ) -> EmbeddingHead:
        """Rebuild a fitted head from its config and `arrays()`."""
        head = cls(encoder, **config)
        head._build(arrays["mix.1.weight"].shape[1], np.zeros((1, len(FEATURES))))
        head.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        head.eval()
        return head

    def _build(self, dim: int, features: Floats) -> None:
        hidden, dropout = self.config["hidden"], self.config["dropout"]
        self.mix = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )
        self.shape = nn.Sequential(nn.Linear(len(FEATURES), 8), nn.GELU(), nn.Linear(8, 1))
        known = ~np.isnan(features)
        count = np.maximum(1, known.sum(0))
        mean = np.where(known, features, 0).sum(0) / count
        spread = np.sqrt((np.where(known, features - mean, 0) ** 2).sum(0) / count)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)).float())

    def _standardised(self, features: Floats) -> Tensor:
        """Zero mean, unit spread; what is missing, or never varied in training, counts as average."""
        raw = torch.from_numpy(features).float()
        scaled = (raw - self.get_buffer("mean")) * self.get_buffer("scale")
        return torch.nan_to_num(scaled, nan=0.0).clamp(-5, 5)

    def _vectors(self, queries: Sequence[str], answers: Sequence[Answer]) -> Tensor:
        if self.encoder is None:
            msg = "This EmbeddingHead has no encoder; pass one, or let fit give the policy's."
            raise RuntimeError(msg)
        if not isinstance(self.encoder, CachedEncoder):
            self.encoder = CachedEncoder(self.encoder)
        query = torch.from_numpy(self.encoder(list(queries)))
        answer = torch.from_numpy(self.encoder([readable_text(answer) or " " for answer in answers]))
        # Unit vectors have entries of about 1/√dim: scaled so that every input is of order one.
        scale = query.shape[1] ** 0.5
        return torch.cat([query * scale, answer * scale, query * answer * scale**2, (query - answer).abs() * scale], 1)

    def _train(self, vectors: Tensor, features: Tensor, label: Tensor) -> None:
        order = torch.randperm(len(label))
        held_out, rest = order[: max(2, len(label) // 7)], order[max(2, len(label) // 7) :]
        weight = self._weights(label)
        optimizer = torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=self.config["weight_decay"])
        best, best_state, patience = float("inf"), self._copy(), 0
        for _ in range(self.config["epochs"]):
            self.train()
            for batch in torch.split(rest[torch.randperm(len(rest))], 64):
                optimizer.zero_grad()
                loss = self._loss(vectors[batch], features[batch], label[batch], weight[batch])
                torch.autograd.backward(loss)
                optimizer.step()
            self.eval()
            with torch.no_grad():
                loss = self._loss(vectors[held_out], features[held_out], label[held_out], weight[held_out])
            patience += 1
            if loss < best:
                best, best_state, patience = float(loss), self._copy(), 0
            if patience > 8:
                break
        self.load_state_dict(best_state)
        self.eval()

    def _loss(self, vectors: Tensor, features: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(self(vectors, features), label, weight)

    def _weights(self, label: Tensor) -> Tensor:
        if self.config["class_weight"] != "balanced":
            return torch.ones_like(label)
        share = label.mean().clamp(0.01, 0.99)
        return label / (2 * share) + (1 - label) / (2 * (1 - share))

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.state_dict().items()}
