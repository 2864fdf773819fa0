"""What the arrays of a saved quality estimator must be, before it is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cascade_components.answers import Answer
from cascade_components.array_checks import Wanted, check_arrays
from cascade_components.quality.features import FEATURES
from cascade_components.storage import Arrays, DamagedFileError

_INPUTS = {"mean": Wanted((len(FEATURES),)), "scale": Wanted((len(FEATURES),), low=0)}


def check_weights(kind: str, config: Mapping[str, Any], arrays: Arrays, *, name: str, dim: int, file: Path) -> None:
    """Check the arrays of one estimator.

    Args:
        kind: Of the estimator.
        config: Its settings.
        arrays: Its own.
        name: What stands before their names in the file.
        dim: Of the policy's vectors.
        file: Where they lie.

    Raises:
        ValueError: They are something else; the message says which, and what was found.
    """
    width = len(FEATURES) + 3 * dim + len(config.get("models", ()))
    wanted: dict[str, Wanted] = {}
    if kind == "embedding":
        wanted = {"linear.weight": Wanted((1, width)), "linear.bias": Wanted((1,)), **_INPUTS}
    elif kind == "module":
        wanted = _INPUTS
        if config["width"] != width:
            what = f"{name}: width must be {width} for vectors of {dim} numbers, found {config['width']}"
            raise DamagedFileError(file, what)
    elif kind == "sequence":
        wanted = {"tokenizer": Wanted(("bytes",), low=0, high=255, kind="byte")}
    free = {"module": "module.", "sequence": ""}.get(kind)
    weights = set() if free is None else {key for key in arrays if key.startswith(free)} - set(wanted)
    for key in weights:  # of a network of any shape
        if np.isnan(arrays[key]).any():
            raise DamagedFileError(file, f"{name}/{key} must be numbers, found NaN")
    check_arrays(
        file,
        {f"{name}/{key}": array for key, array in arrays.items() if key not in weights},
        {f"{name}/{key}": one for key, one in wanted.items()},
        {},
    )
    if kind == "sequence":
        _check_network(config["network"], arrays, name, file)


def check_reader(head: Any, *, name: str, file: Path) -> None:
    """Check that a rebuilt `SequenceHead` has tokens that its network knows, and no more than it reads.

    Raises:
        ValueError: It has others.
    """
    reader, network = head._trained()
    known = network.get_input_embeddings().num_embeddings
    tokens = {*reader.read(["?"], [Answer("?")])[0].ids, *reader.tokenizer.get_vocab().values(), reader.pad}
    if max(tokens) >= known:
        raise DamagedFileError(file, f"{name}/tokenizer has a token {max(tokens)}, where its network knows {known}")
    cut = reader.tokenizer.truncation
    if cut is None or cut["max_length"] > head.max_length:
        raise DamagedFileError(file, f"{name}/tokenizer must cut texts at {head.max_length} tokens at most")


def _check_network(config: Mapping[str, Any], arrays: Arrays, name: str, file: Path) -> None:
    """Refuse a config that would make another network than that of the arrays, before there is room made for it."""
    import torch

    from cascade_components.quality.checkpoints import build

    for key, value in config.items():
        # A network has weights in each of its layers.
        if "layers" in key and isinstance(value, int) and value > len(arrays):
            raise DamagedFileError(
                file, f"{name}: network.{key} must be that of its {len(arrays)} arrays, found {value}"
            )
    with torch.device("meta"):
        wanted = {key: tuple(weight.shape) for key, weight in build(config).state_dict().items()}
    found = {key: array.shape for key, array in arrays.items() if key != "tokenizer"}
    for key in sorted({*wanted, *found}):
        if wanted.get(key) != found.get(key):
            raise DamagedFileError(file, f"{name}/{key} must have the shape {wanted.get(key)}, found {found.get(key)}")
