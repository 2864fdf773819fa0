"""What arrays that were read must be: their shapes against each other, their types, their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cascade_components.storage import Arrays, DamagedFileError

LARGEST = 1e15
"""Of any number: products of such numbers are finite."""

_TYPES = {"float": (np.float32, np.float64), "int": (np.int32, np.int64), "byte": (np.uint8,)}


@dataclass(frozen=True)
class Wanted:
    """One array."""

    shape: tuple[int | str, ...]
    """Sizes, or names of sizes: what has one name has one size."""
    low: float = -LARGEST
    high: float | str = LARGEST
    """Or the name of a size: below it."""
    kind: Literal["float", "int", "byte"] = "float"
    nan: bool = False
    """Whether NaN stands for what is not known."""
    infinite: bool = False
    """Whether it may be infinitely large."""
    optional: bool = False
    """Whether it may be missing, or empty: not known at all."""


def check_arrays(file: Path, arrays: Arrays, wanted: Mapping[str, Wanted], sizes: dict[str, int]) -> None:
    """Check a group of arrays.

    Args:
        file: Where they lie.
        arrays: The arrays.
        wanted: What they must be.
        sizes: Name → size, as far as known; what is found is added.

    Raises:
        ValueError: They are something else; the message says which array, and what was found.
    """
    if unknown := sorted(set(arrays) - set(wanted)):
        raise DamagedFileError(
            file, f"it has {unknown[0]!r}, which nothing reads; there are {', '.join(sorted(wanted))}"
        )
    for name, one in wanted.items():
        found = arrays.get(name)
        if one.optional and (found is None or not found.size):
            continue
        if found is None:
            raise DamagedFileError(file, f"{name} is missing")
        problem = _type_problem(found, one) or _shape_problem(found, one, sizes) or _range_problem(found, one, sizes)
        if problem:
            raise DamagedFileError(file, f"{name} must {problem}")


def _type_problem(found: NDArray[Any], wanted: Wanted) -> str | None:
    types = _TYPES[wanted.kind]
    return None if found.dtype in types else f"be of type {np.dtype(types[-1])}, found {found.dtype}"


def _shape_problem(found: NDArray[Any], wanted: Wanted, sizes: dict[str, int]) -> str | None:
    if found.ndim == len(wanted.shape):
        for name, size in zip(wanted.shape, found.shape, strict=True):
            if isinstance(name, str):
                sizes.setdefault(name, size)
        if found.shape == (known := tuple(sizes[size] if isinstance(size, str) else size for size in wanted.shape)):
            return None
        told = f" = {known}"
    else:
        told = ""
    return f"have the shape ({', '.join(map(str, wanted.shape))}){told}, found {found.shape}"


def _range_problem(found: NDArray[Any], wanted: Wanted, sizes: dict[str, int]) -> str | None:
    high = sizes[wanted.high] - 1 if isinstance(wanted.high, str) else wanted.high
    outside = ~((found >= wanted.low) & (found <= high))  # NaN is, too
    if wanted.nan:
        outside &= ~np.isnan(found)
    if wanted.infinite:
        outside &= found != np.inf
    if not outside.any():
        return None
    place = tuple(int(index) for index in np.argwhere(outside)[0])
    return f"lie in {wanted.low:g}…{high:g}{' (or be NaN)' if wanted.nan else ''}, found {found[place]} at {place}"
