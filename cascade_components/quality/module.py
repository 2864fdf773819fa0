"""A network of the user's own as a quality estimator."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from cascade_components.answers import Answer
from cascade_components.encoders import Encoder
from cascade_components.quality.early_stopping import ClassWeight, Training, own_random_state, train
from cascade_components.quality.inputs import HeadInputs
from cascade_components.quality.labels import checked_labels

PATIENCE = 5
"""Epochs without a better held-out loss."""

_MODULE = "module."
"""Before the names of the module's weights; the other arrays are those of the inputs."""


class ModuleEstimator:
    """Estimates P(correct) by any `nn.Module`, trained on the same inputs as `EmbeddingHead`.

    `fit(quality=module)` makes one of these from a module. Its `forward` takes a float tensor of shape (n, width): the
    answer's standardised features, then the query's vector, the answer's, and their product; it returns log-odds of
    being correct, shape (n,) or (n, 1). `nn.LazyLinear` takes whatever width the encoder leads to. AdamW, stopped by
    the log-loss on a part of the training answers; labels may be soft (a share of runs that were right).

    A policy saves the weights. The module's code is given again: `CascadePolicy.load(path, quality=MyModule())`.

    Args:
        module: The network. Training starts from its weights, on a copy: the module itself is never changed.
        encoder: Text → vectors; None: `fit` gives the policy's encoder.
        epochs: At most; training stops after 5 epochs without improvement.
        learning_rate: Of AdamW; it falls linearly to 0.
        batch_size: Answers that are learned from at a time.
        class_weight: "balanced" weighs right and wrong answers alike; the scores are then no probabilities.
        seed: Seed of everything random.

    Raises:
        TypeError: `module` is no `nn.Module`.
        ValueError: An argument is out of range.

    Example:
        >>> network = nn.Sequential(nn.LazyLinear(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
        >>> estimator = ModuleEstimator(network, epochs=20).fit(queries, answers, correct)   # doctest: +SKIP
    """

    def __init__(
        self,
        module: nn.Module,
        encoder: Encoder | None = None,
        *,
        epochs: int = 50,
        learning_rate: float = 2e-3,
        batch_size: int = 32,
        class_weight: ClassWeight = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(module, nn.Module):
            msg = f"module must be an nn.Module, with its layers made; found {module!r}."
            raise TypeError(msg)
        self.module = module
        self.training = Training(epochs, PATIENCE, learning_rate, batch_size, class_weight, seed)
        self._inputs = HeadInputs(encoder)
        self._width = 0
        self._fitted: nn.Module | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> ModuleEstimator:
        copied = copy.copy(self)  # what is never changed may be shared: the module, and the trained copy of it
        copied._inputs = copy.deepcopy(self._inputs, memo)
        return copied

    @property
    def encoder(self) -> Encoder | None:
        """Text → vectors."""
        return self._inputs.encoder

    @encoder.setter
    def encoder(self, encoder: Encoder) -> None:
        self._inputs.encoder = encoder

    def fit(self, queries: Sequence[str], answers: Sequence[Answer], correct: ArrayLike) -> Self:
        """Train a copy of the module on answers and what they were worth (0…1, shape (n,)).

        Raises:
            ValueError: The lengths differ, there are fewer than 10 answers, a label is outside 0…1, or the module
                does not take the inputs, returns another shape, or has nothing to train.
        """
        label = checked_labels(queries, answers, correct)
        inputs = self._inputs.fit(queries, answers)
        with own_random_state(self.training.seed):
            self._width = inputs.shape[1]
            network = self._copy(self._width)
            train(network, lambda rows: _log_odds(network, inputs[rows]), label, queries, self.training)
        self._fitted = network
        return self

    def predict_proba(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[np.float64]:
        """P(correct) of each answer, shape (n,).

        Raises:
            RuntimeError: The estimator has not been fitted.
        """
        network = self._trained()
        with torch.inference_mode():
            logits = _log_odds(network, self._inputs(queries, answers))
            return np.asarray(torch.sigmoid(logits).double().numpy())

    @property
    def config(self) -> dict[str, Any]:
        """What `from_arrays` needs beside the arrays and the module, as JSON data."""
        settings = {name: value for name, value in asdict(self.training).items() if name != "patience"}
        return {**settings, "width": self._width}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The learned weights, for safetensors."""
        weights = {_MODULE + name: weight.numpy() for name, weight in self._trained().state_dict().items()}
        return weights | self._inputs.arrays()

    @classmethod
    def from_arrays(
        cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], encoder: Encoder, module: nn.Module
    ) -> ModuleEstimator:
        """Rebuild a fitted estimator: the saved weights in a copy of the module.

        Raises:
            ValueError: The weights are not those of such a module.
        """
        settings = dict(config)
        width = settings.pop("width")
        found = cls(module, encoder, **settings)
        found._inputs.load(arrays)
        found._width = width
        saved = {name.removeprefix(_MODULE): torch.tensor(arrays[name]) for name in arrays if name.startswith(_MODULE)}
        with own_random_state(0):  # lazy layers draw weights that the saved ones replace
            network = found._copy(width)
        try:
            network.load_state_dict(saved)
        except RuntimeError as error:
            msg = f"The saved weights do not fit the {type(module).__name__} that was given. {error}"
            raise ValueError(msg) from None
        found._fitted = network.eval()
        return found

    def _trained(self) -> nn.Module:
        if self._fitted is None:
            msg = "This ModuleEstimator is not fitted; call fit first."
            raise RuntimeError(msg)
        return self._fitted

    def _copy(self, width: int) -> nn.Module:
        """A copy of the module, lazy layers made for this width, that has been tried on two inputs."""
        # Torch copies lazy parameters, but not lazy buffers (those of nn.LazyBatchNorm1d).
        lazy = [buffer for buffer in self.module.buffers() if isinstance(buffer, UninitializedBuffer)]
        network = copy.deepcopy(self.module, {id(buffer): UninitializedBuffer() for buffer in lazy}).eval()
        name = type(network).__name__
        try:
            with torch.no_grad():
                _log_odds(network, torch.zeros(2, width))
        except RuntimeError as error:
            msg = f"{name} does not take inputs of shape (n, {width}): {error}. nn.LazyLinear takes any width."
            raise ValueError(msg) from error
        if not any(weight.requires_grad for weight in network.parameters()):
            msg = f"{name} has no parameters to train; give an object with predict_proba instead."
            raise ValueError(msg)
        return network


def _log_odds(network: nn.Module, inputs: Tensor) -> Tensor:
    found = network(inputs)
    shape = tuple(getattr(found, "shape", ()))
    if not isinstance(found, Tensor) or shape not in {(len(inputs),), (len(inputs), 1)}:
        msg = f"forward of {type(network).__name__} must return log-odds of shape (n,) or (n, 1); found shape {shape} "
        raise ValueError(f"{msg}for n = {len(inputs)}.")
    return found.reshape(len(inputs))
