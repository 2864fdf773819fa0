"""A penalty on what additions do to a linear head's log-odds, as a change of coordinates: training takes no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shifts:
    """What additions do to a head's inputs, in orthogonal directions.

    With shifts S (k, width), weights w, and a ridge penalty r/2·|w|², the penalty s·|S w|²/k is what remains of ridge
    alone if each direction v of S with the mean square σ² is shrunk by (1 + 2·s·σ²/r)^-½ in the inputs, and in the
    weights that were trained on them.
    """

    directions: Tensor
    """Orthonormal rows, shape (directions, width)."""
    squares: Tensor
    """Mean square of the shifts along each, shape (directions,)."""

    @classmethod
    def of(cls, shifts: Tensor) -> Self:
        """From shifts, shape (k, width)."""
        _, lengths, directions = torch.linalg.svd(shifts, full_matrices=False)
        return cls(directions, lengths.square() / max(1, len(shifts)))

    def shrunk(self, rows: Tensor, ratio: float) -> Tensor:
        """Inputs or weights, shape (n, width), with each direction shrunk.

        Args:
            rows: The inputs or weights.
            ratio: s/r, how the penalty on shifts compares with ridge.
        """
        factors = (1 + 2 * ratio * self.squares).rsqrt() - 1
        return rows + (rows @ self.directions.T * factors) @ self.directions
