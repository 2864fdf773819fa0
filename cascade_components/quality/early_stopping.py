"""Training by epochs: AdamW, stopped once answers that are not learned from are judged no better."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from cascade_components.arrays import Floats, Labels

HELD_OUT = 0.15
"""Share of the training queries that decide when to stop. No answer outside the training data ever does."""

LEAST_GAIN = 0.001
"""Log-loss that has to be gained within the patience: what is separable would be polished for ever."""

ClassWeight = Literal["balanced"] | None


@dataclass(frozen=True)
class Training:
    """How long and how fast a network is trained; plain data, so it saves as JSON.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    epochs: int
    """At most."""
    patience: int
    """Epochs without a clearly better held-out log-loss after which training stops."""
    learning_rate: float
    """At the start; it falls linearly to 0 at the last epoch."""
    batch_size: int
    class_weight: ClassWeight = None
    """"balanced" weighs right and wrong answers alike; the scores are then no probabilities."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "learning_rate", "batch_size"):
            if not getattr(self, name) > 0:
                msg = f"{name} must be positive, found {getattr(self, name)!r}."
                raise ValueError(msg)
        if self.class_weight not in (None, "balanced"):
            msg = f'class_weight must be None or "balanced", found {self.class_weight!r}.'
            raise ValueError(msg)


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed; those of the caller go on afterwards as if nothing had been drawn."""
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def train(
    model: nn.Module,
    log_odds: Callable[[Labels], Tensor],
    label: Floats,
    queries: Sequence[str],
    training: Training,
    *,
    lengths: Sequence[int] | None = None,
    progress: str | None = None,
) -> None:
    """Train a network in place, and leave it, ready to use, as it was after its best epoch.

    Args:
        model: The network; its parameters lie where they shall be trained.
        log_odds: Rows → the network's log-odds of these answers being correct, shape (rows,).
        label: 0…1, shape (n,).
        queries: Of each answer: all answers to a query are on one side, learned from or held out.
        training: How long and how fast.
        lengths: Of each answer; similar ones share a batch, so that little is padded.
        progress: What a progress bar, on a terminal, says; None: no bar.

    Raises:
        ValueError: The log-loss is not finite after any epoch.
    """
    from tqdm import tqdm

    rng = np.random.default_rng(training.seed)
    seen, held_out = _split(queries, rng)
    length = np.zeros(len(label)) if lengths is None else np.asarray(lengths, float)
    losses = _losses(log_odds, label, training.class_weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, fused=True)
    steps = training.epochs * math.ceil(len(seen) / training.batch_size)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)

    def epoch() -> float:
        """Learn from every answer once; the held-out log-loss afterwards."""
        model.train()
        for rows in _shuffled(seen, length, training.batch_size, rng):
            optimizer.zero_grad()
            torch.autograd.backward(losses(rows).mean())
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            slower.step()
        model.eval()
        with torch.no_grad():
            return float(torch.cat([losses(rows) for rows in batches(held_out, length, training.batch_size)]).mean())

    best, kept, waited = math.inf, None, 0
    with tqdm(range(training.epochs), desc=progress, disable=None if progress else True, leave=False) as bar:
        for _ in bar:
            loss = epoch()
            bar.set_postfix(held_out_loss=f"{loss:.3f}")
            if loss < best - LEAST_GAIN:
                best, kept, waited = loss, copy.deepcopy(model.state_dict()), 0
            elif (waited := waited + 1) == training.patience:
                break
    if kept is None:
        msg = f"Training diverged: the log-loss is never finite. Lower learning_rate (now {training.learning_rate})."
        raise ValueError(msg)
    model.load_state_dict(kept)


def batches(rows: Labels, length: Floats, size: int) -> list[Labels]:
    """Rows of similar length together, so that little is padded."""
    order = rows[np.argsort(length[rows], kind="stable")]
    count = math.ceil(len(rows) / size)
    return np.array_split(order, count) if count else []  # even: a lone last answer would upset batch normalisation


def _shuffled(rows: Labels, length: Floats, size: int, rng: np.random.Generator) -> list[Labels]:
    """Batches in another order, and of other company, each time; lengths are still similar."""
    rows = rng.permutation(rows)
    blurred = length * rng.uniform(0.8, 1.25, len(length))
    found = batches(rows, blurred, size)
    return [found[number] for number in rng.permutation(len(found))]


def _split(queries: Sequence[str], rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Rows to learn from, and rows held out; whole queries, or single answers where all are to one query."""
    _, group = np.unique(np.asarray(queries), return_inverse=True)
    if not group.any():
        group = np.arange(len(group))
    order = rng.permutation(group.max() + 1)
    out = np.isin(group, order[: max(1, round(HELD_OUT * len(order)))])
    return np.flatnonzero(~out), np.flatnonzero(out)


def _losses(
    log_odds: Callable[[Labels], Tensor], label: Floats, class_weight: ClassWeight
) -> Callable[[Labels], Tensor]:
    """Rows → the log-loss of each. Soft labels count as that share of right answers."""
    weight = np.ones(len(label))
    if class_weight == "balanced":
        share = np.clip(label.mean(), 0.01, 0.99)
        weight = label / (2 * share) + (1 - label) / (2 * (1 - share))

    def losses(rows: Labels) -> Tensor:
        found = log_odds(rows).float()
        wanted, weights = (torch.tensor(values[rows], dtype=torch.float32) for values in (label, weight))
        return nn.functional.binary_cross_entropy_with_logits(
            found, wanted.to(found.device), weights.to(found.device), reduction="none"
        )

    return losses
