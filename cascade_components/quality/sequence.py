"""The paper's quality estimator: a fine-tuned encoder that reads query, answer and number of tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tokenizers import Tokenizer
from torch import Tensor

from cascade_components.answers import Answer
from cascade_components.arrays import Labels
from cascade_components.encoders import Encoder
from cascade_components.quality.checkpoints import build, fetch
from cascade_components.quality.early_stopping import ClassWeight, Training, batches, own_random_state, train
from cascade_components.quality.labels import checked_labels
from cascade_components.quality.reading import AnswerReader, Layout, checked_layout

DEFAULT_CHECKPOINT = "answerdotai/ModernBERT-base"
"""The paper's (arXiv 2606.27457): 149 million parameters, 8,192 tokens."""

PATIENCE = 4
"""The paper's: epochs without a better held-out loss."""

_TOKENIZER = "tokenizer"
"""Name of the array that holds the tokenizer's JSON; the others hold weights."""


class SequenceHead:
    """Estimates P(correct) by fine-tuning a Hugging Face encoder on `query [SEP] answer [SEP] output tokens`.

    Stage 2 of arXiv 2606.27457: the reasoning block is dropped, the last 1,000 words of the answer are read, and the
    number of output tokens is written out. Unlike there, the best epoch is chosen on a part of the training answers,
    by log-loss, and classes are unweighted by default: the scores are honest probabilities. Labels may be soft (a
    share of runs that were right). Where query and answer are longer than `max_length`, the longer of the two loses
    its beginning.

    The same answers and seed give the same estimator on one CPU; a GPU's sums vary in the last digits. It takes a GPU
    where there is one (training there in bfloat16): on a CPU the default checkpoint is slow, a small one is not.

    Args:
        checkpoint: Name on the Hugging Face Hub, or a folder; fetched when `fit` is called. No code of it is run.
        max_length: Tokens that are read, of query and answer together (the paper: 512 for short answers, 4,096 for
            long ones); never more than the checkpoint reads.
        epochs: At most; training stops after 4 epochs without improvement.
        learning_rate: Of AdamW; it falls linearly to 0 (the paper: 5e-5 or 2e-5).
        batch_size: Answers that are learned from at a time (the paper, with thousands of answers: 64).
        class_weight: "balanced" weighs right and wrong answers alike, as the paper does; the scores are then no
            probabilities.
        layout: How query, answer and number of tokens are laid out: "pair", as above; or "cre-router", the one text
            that cre-router's estimators read, cut at its end.
        seed: Seed of everything random.
        device: "auto": a CUDA GPU where there is one, else the CPU; or the name of a torch device.
        progress: Show a progress bar on a terminal.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> head = SequenceHead("my/small-bert", max_length=256).fit(queries, answers, correct)   # doctest: +SKIP
        >>> head.predict_proba(["2 + 2?"], [Answer("5")])                                         # doctest: +SKIP
        array([0.12])
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
        *,
        max_length: int = 512,
        epochs: int = 10,
        learning_rate: float = 5e-5,
        batch_size: int = 16,
        class_weight: ClassWeight = None,
        layout: Layout = "pair",
        seed: int = 0,
        device: str = "auto",
        progress: bool = True,
    ) -> None:
        if max_length < 16:
            msg = f"max_length must be at least 16 tokens, found {max_length}."
            raise ValueError(msg)
        self.checkpoint = os.fspath(checkpoint)
        self.max_length = max_length
        self.layout = checked_layout(layout)
        self.training = Training(epochs, PATIENCE, learning_rate, batch_size, class_weight, seed)
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.progress = progress
        self._fitted: tuple[AnswerReader, Any] | None = None

    @classmethod
    def trained(
        cls,
        folder: str | os.PathLike[str],
        *,
        max_length: int = 512,
        layout: Layout = "cre-router",
        device: str = "auto",
    ) -> Self:
        """Load a checkpoint that is fine-tuned already: a sequence classifier of two classes, 1 for a right answer.

        Those that `cre qe-train` of cre-router wrote score answers here as they did there, in the layout that they
        were trained on; on a GPU in float32, where cre-router computes in bfloat16. `fit` fine-tunes it further.

        Args:
            folder: The checkpoint with its tokenizer; or its name on the Hugging Face Hub.
            max_length: Tokens that are read. Give what cre-router's serving configuration says, or 4096, which is what
                it takes where that says nothing: a text that is cut earlier has another score.
            layout: How query, answer and number of tokens were laid out when it was trained.
            device: As for `SequenceHead`.

        Raises:
            ValueError: It has not two classes, or no trained classification layer, or no tokenizer; it is damaged;
                or an argument is out of range.
            OSError: It is neither a folder, nor cached, nor to be had from the Hub.

        Example:
            >>> head = SequenceHead.trained("qe-vibethinker/", max_length=4096)            # doctest: +SKIP
            >>> policy = read_cre_artifacts("artifacts/", quality={"VibeThinker-1.5B": head})   # doctest: +SKIP
        """
        head = cls(folder, max_length=max_length, layout=layout, device=device)
        reader, network = fetch(head.checkpoint, max_length, head.layout, trained=True, progress=head.progress)
        head._fitted = reader, network.to(head.device)
        return head

    def fit(self, queries: Sequence[str], answers: Sequence[Answer], correct: ArrayLike) -> Self:
        """Fine-tune the checkpoint on answers and what they were worth (0…1, shape (n,)).

        Raises:
            ValueError: The lengths differ, there are fewer than 10 answers, a label is outside 0…1, or the
                checkpoint is no encoder.
            OSError: The checkpoint is neither a folder, nor cached, nor to be had from the Hub.
        """
        label = checked_labels(queries, answers, correct)
        with own_random_state(self.training.seed):
            reader, network = fetch(
                self.checkpoint, self.max_length, self.layout, trained=False, progress=self.progress
            )
            network.to(self.device)
            read = reader.read(queries, answers)

            def log_odds(rows: Labels) -> Tensor:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                    return _log_odds(network, reader.batch([read[row] for row in rows], self.device))

            train(
                network,
                log_odds,
                label,
                queries,
                self.training,
                lengths=[len(tokens.ids) for tokens in read],
                progress="fine-tune" if self.progress else None,
            )
        self._fitted = reader, network
        return self

    def predict_proba(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[np.float64]:
        """P(correct) of each answer, shape (n,).

        Raises:
            RuntimeError: The head has not been fitted.
        """
        reader, network = self._trained()
        read = reader.read(queries, answers)
        lengths = np.array([len(tokens.ids) for tokens in read], float)
        scores = np.empty(len(read))
        with torch.inference_mode():
            for rows in batches(np.arange(len(read)), lengths, self.training.batch_size):
                found = _log_odds(network, reader.batch([read[row] for row in rows], self.device))
                scores[rows] = torch.sigmoid(found).double().cpu().numpy()
        return scores

    @property
    def config(self) -> dict[str, Any]:
        """What `from_arrays` needs beside the arrays, as JSON data."""
        reader, network = self._trained()
        return {
            "checkpoint": self.checkpoint,
            "max_length": self.max_length,
            "layout": self.layout,
            **{name: value for name, value in asdict(self.training).items() if name != "patience"},
            "inputs": list(reader.inputs),
            "separator": reader.separator,
            "pad": reader.pad,
            "network": json.loads(network.config.to_json_string(use_diff=False)) | {"_name_or_path": ""},
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The learned weights, and the tokenizer's JSON as bytes, for safetensors."""
        reader, network = self._trained()
        text = np.frombuffer(reader.tokenizer.to_str().encode(), np.uint8)
        return {_TOKENIZER: text, **{name: weight.cpu().numpy() for name, weight in network.state_dict().items()}}

    @classmethod
    def from_arrays(
        cls,
        config: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        encoder: Encoder | None = None,  # noqa: ARG003 - the estimators that read vectors are given the policy's
    ) -> SequenceHead:
        """Rebuild a fitted head from its config and `arrays()`: offline, and without running any code of its own."""
        given = dict(config)
        inputs, separator, pad, network = (given.pop(name) for name in ("inputs", "separator", "pad", "network"))
        head = cls(**given)
        tokenizer: Any = Tokenizer.from_str(arrays[_TOKENIZER].tobytes().decode())
        with own_random_state(0):  # the layers draw weights that those of the file replace
            made = build(network)
        made.load_state_dict({name: torch.tensor(array) for name, array in arrays.items() if name != _TOKENIZER})
        head._fitted = AnswerReader(tokenizer, tuple(inputs), separator, pad, head.layout), made.to(head.device).eval()
        return head

    def _trained(self) -> tuple[AnswerReader, Any]:
        if self._fitted is None:
            msg = "This SequenceHead is not fitted; call fit first."
            raise RuntimeError(msg)
        return self._fitted


def _log_odds(network: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    logits: Tensor = network(**inputs).logits
    return logits[:, 1] - logits[:, 0]
