"""Facts as JSON has them, checked before anything is made of them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade_components.storage import DamagedFileError

Name = Annotated[str, Field(min_length=1, max_length=1000)]
Share = Annotated[float, Field(ge=-1e-9, le=1 + 1e-9)]
"""A mean of numbers in 0…1; they are rounded."""
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Positive = Annotated[float, Field(gt=0, le=1e15)]
AtLeast0 = Annotated[float, Field(ge=0, le=1e15)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Facts(BaseModel):
    """Of the very types, nothing more, nothing infinite."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


_Facts = TypeVar("_Facts", bound=Facts)


def read_facts(kind: type[_Facts], data: Mapping[str, Any], file: Path, place: str = "") -> _Facts:
    """Check facts.

    Args:
        kind: What they are of.
        data: As they were read.
        file: Where they lie.
        place: Where in it.

    Raises:
        ValueError: They are not such facts; the message says which, and what was found.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(filter(None, [place, *map(str, first["loc"])]))
        what = first["msg"].removeprefix("Value error, ")
        shown = "" if isinstance(first["input"], dict | Facts) else f", found {reprlib.repr(first['input'])}"
        raise DamagedFileError(file, f"{field}: {what}{shown}" if field else what) from None


def ascending(values: Sequence[float]) -> bool:
    """Whether no value is below the one before it."""
    return all(one <= next_ for one, next_ in pairwise(values))
