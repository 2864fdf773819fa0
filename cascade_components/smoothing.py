"""What a query's place on the map says about the worth of an option, before its cluster is asked."""

from __future__ import annotations

import numpy as np

from cascade_components.arrays import Floats

PENALTY = 40.0
"""Strength of the ridge penalty, in queries; coordinates are scaled to a mean square of 1."""


class Neighbourhood:
    """Foretells values of queries from those of all other queries: ridge regression, leave-one-out in closed form.

    Cluster means shrink towards it: neighbouring clusters are alike, and a small one learns from them.

    Args:
        coordinates: Place of each query, shape (queries, dim); without dimensions nothing is expected but 0.
    """

    def __init__(self, coordinates: Floats) -> None:
        self.places = np.zeros((len(coordinates), 0))
        if coordinates.size:
            scale = np.sqrt((coordinates**2).sum(1).mean()) or 1.0
            self.places = np.hstack([np.ones((len(coordinates), 1)), coordinates / scale])
        self._mask, self._solution = b"", (np.zeros((0, 0)), np.zeros(0))

    def expected(self, values: Floats) -> Floats:
        """What the other queries let expect of each value.

        Args:
            values: Shape (options, queries); NaN where unknown.

        Returns:
            Same shape; for a query whose value is unknown, what the known ones let expect.
        """
        found = np.zeros_like(values)
        if not self.places.size:
            return found
        known = ~np.isnan(values)
        alike: dict[bytes, list[int]] = {}
        for option, row in enumerate(np.packbits(known, axis=1)):
            alike.setdefault(row.tobytes(), []).append(option)
        for mask, options in alike.items():
            seen = known[options[0]]
            if seen.sum() > 1:
                found[options] = self._left_out(values[options], seen, mask)
        return found

    def _left_out(self, values: Floats, seen: Floats, mask: bytes) -> Floats:
        if mask != self._mask:
            places = self.places[seen]
            penalty = np.full(places.shape[1], PENALTY)
            penalty[0] = 1e-9  # the mean is free
            solved = np.linalg.solve(places.T @ places + np.diag(penalty), places.T)
            # Only the last is kept: the options of a start model mostly know the same queries, and many are large.
            self._mask, self._solution = mask, (solved, np.einsum("nd,dn->n", places, solved))
        solved, leverage = self._solution
        known = values[:, seen]
        expected = (known @ solved.T) @ self.places.T
        expected[:, seen] = (expected[:, seen] - leverage * known) / np.maximum(1 - leverage, 1e-6)
        return np.asarray(expected)
