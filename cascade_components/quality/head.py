"""The default quality estimator: a torch head on the encoder's vectors and the answer's shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from cascade_components.answers import Answer
from cascade_components.encoders import Encoder
from cascade_components.quality.additions import some, with_addition
from cascade_components.quality.inputs import HeadInputs
from cascade_components.quality.labels import checked_labels
from cascade_components.quality.steadiness import Shifts

PENALTIES = (100.0, 30.0, 10.0, 3.0)
"""Strengths of the L2 penalty that are tried, in answers' worth of loss."""

STEADINESS = 0.1
"""How strongly scores are held still under additions: as far as costs nothing on answers that nobody tampered with."""

_ADDITIONS = 100
"""Training answers that are read with an addition, too."""

_FOLDS = 3
_ONE_THREAD = 2_000_000
"""Numbers in the training matrix below which one thread trains as fast as several."""


@contextmanager
def _few_threads(numbers: int) -> Iterator[None]:
    """Small problems are trained on one thread: more gain nothing, and wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if numbers < _ONE_THREAD else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class EmbeddingHead(nn.Module):
    """Estimates P(correct) from query and answer vectors, their product, and the answer's features.

    One linear layer with an L2 penalty, trained to its optimum: with the hundreds to thousands of labelled answers
    that users have, hidden layers on sentence vectors rank worse and need luck with their seed. Labels may be soft
    (a share of runs that were right). The penalty is chosen by cross-validation within the training answers.

    What an answer says about itself, how it is dressed up and padded tells nothing about its correctness, so training
    penalises the square of what such an addition does to the log-odds, measured on 100 training answers
    (`quality/additions.py`; docs/security.md has the figures).

    Args:
        encoder: Text → vectors; None: `fit` gives the policy's encoder.
        penalty: Strength of the L2 penalty; None: the best of `PENALTIES`.
        class_weight: "balanced" weighs right and wrong answers alike, as arXiv 2606.27457 does; the scores are
            then no probabilities.
        models: Names of the models whose answers this one head reads, each with a feature of its own; none: the
            head reads the answers of one model.
        steadiness: Weight of that penalty. The default costs nothing on answers that nobody tampered with; where
            people gain by having a wrong answer accepted, take 1.0.
        thinkers: Names of the models whose answers begin within a reasoning block; found by `fit`.
        seed: Seed of the folds that choose the penalty.

    Example:
        >>> head = EmbeddingHead().fit(queries, answers, correct)   # doctest: +SKIP
        >>> head.predict_proba(["2 + 2?"], [Answer("5")])           # doctest: +SKIP
        array([0.12])
    """

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        penalty: float | None = None,
        class_weight: Literal["balanced"] | None = None,
        models: Sequence[str] = (),
        steadiness: float = STEADINESS,
        thinkers: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = HeadInputs(encoder, models, thinkers)
        self.penalty = penalty
        self.chosen_penalty = penalty
        self.class_weight = class_weight
        self.steadiness = steadiness
        self.seed = seed

    @property
    def encoder(self) -> Encoder | None:
        """Text → vectors."""
        return self.inputs.encoder

    @encoder.setter
    def encoder(self, encoder: Encoder) -> None:
        self.inputs.encoder = encoder

    @property
    def config(self) -> dict[str, Any]:
        """What `from_arrays` needs beside the arrays, as JSON data."""
        names = {"models": self.inputs.models, "thinkers": self.inputs.thinkers}
        lists = {name: list(found) for name, found in names.items() if found}
        return {"penalty": self.penalty, "class_weight": self.class_weight, "seed": self.seed, **lists}

    def fit(self, queries: Sequence[str], answers: Sequence[Answer], correct: ArrayLike) -> Self:
        """Train on answers and what they were worth (0…1, shape (n,)).

        Raises:
            ValueError: The lengths differ, there are fewer than 10 answers, or a label is outside 0…1.
        """
        label = checked_labels(queries, answers, correct)
        inputs, wanted = self.inputs.fit(queries, answers), torch.from_numpy(label).float()
        self._build(inputs.shape[1])
        with _few_threads(inputs.numel()):
            shifts = self._shifts(inputs, queries, answers)
            penalty = self.chosen_penalty = self.penalty or self._best_penalty(inputs, wanted, shifts)
            self._train(inputs, wanted, penalty, shifts)
        self.eval()
        return self

    def predict_proba(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[np.float64]:
        """P(correct) of each answer, shape (n,).

        Raises:
            RuntimeError: The head has not been fitted.
        """
        if not hasattr(self, "linear"):
            msg = "This EmbeddingHead is not fitted; call fit first."
            raise RuntimeError(msg)
        with torch.inference_mode():
            return np.asarray(torch.sigmoid(self(self.inputs(queries, answers))).double().numpy())

    def settled(self) -> EmbeddingHead:
        """An untrained head with the penalty that this one chose."""
        chosen = {"penalty": self.chosen_penalty, "steadiness": self.steadiness}
        return EmbeddingHead(self.encoder, **self.config | chosen)

    def forward(self, inputs: Tensor) -> Tensor:
        """Log-odds of being correct, shape (n,), from the inputs that `HeadInputs` makes."""
        logits: Tensor = self.linear(inputs).squeeze(-1)
        return logits

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The learned weights, for safetensors."""
        return {name: tensor.numpy() for name, tensor in self.state_dict().items()} | self.inputs.arrays()

    @classmethod
    def from_arrays(
        cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], encoder: Encoder
    ) -> EmbeddingHead:
        """Rebuild a fitted head from its config and `arrays()`."""
        head = cls(encoder, **config)
        head._build(arrays["linear.weight"].shape[1])
        head.inputs.load(arrays)
        head.load_state_dict({name: torch.tensor(arrays[name]) for name in head.state_dict()})
        head.eval()
        return head

    def _build(self, width: int) -> None:
        with torch.random.fork_rng(devices=[]):  # the layer draws weights that training replaces
            self.linear = nn.Linear(width, 1)

    def _shifts(self, inputs: Tensor, queries: Sequence[str], answers: Sequence[Answer]) -> Shifts:
        """What additions to some of the answers do to their inputs."""
        rows = some(queries, answers, _ADDITIONS if self.steadiness else 0)
        asked = [queries[row] for row in rows]
        added = [with_addition(queries[row], answers[row]) for row in rows]
        return Shifts.of(self.inputs(asked, added) - inputs[rows] if rows else inputs[:0])

    def _best_penalty(self, inputs: Tensor, label: Tensor, shifts: Shifts) -> float:
        fold = torch.from_numpy(np.random.default_rng(self.seed).permutation(len(label)) % _FOLDS)
        losses = dict.fromkeys(PENALTIES, 0.0)
        for number in range(_FOLDS):
            seen, unseen = fold != number, fold == number
            for penalty in losses:
                self._train(inputs[seen], label[seen], penalty, shifts)
                with torch.no_grad():
                    losses[penalty] += float(self._loss(inputs[unseen], label[unseen]))
        return min(losses, key=lambda penalty: losses[penalty])

    def _train(self, inputs: Tensor, label: Tensor, penalty: float, shifts: Shifts) -> None:
        """Go to the optimum of the penalised log-loss; it is convex, so there is one."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        optimizer = torch.optim.LBFGS(self.linear.parameters(), max_iter=200, line_search_fn="strong_wolfe")
        ridge = penalty / len(label)
        inputs = shifts.shrunk(inputs, self.steadiness / ridge)

        def objective() -> Tensor:
            optimizer.zero_grad()
            loss = self._loss(inputs, label) + ridge / 2 * self.linear.weight.square().sum()
            torch.autograd.backward(loss)
            return loss

        optimizer.step(objective)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.linear.weight.copy_(shifts.shrunk(self.linear.weight, self.steadiness / ridge))

    def _loss(self, inputs: Tensor, label: Tensor) -> Tensor:
        weight = None
        if self.class_weight == "balanced":
            share = label.mean().clamp(0.01, 0.99)
            weight = label / (2 * share) + (1 - label) / (2 * (1 - share))
        return nn.functional.binary_cross_entropy_with_logits(self(inputs), label, weight)
