"""The cascade beyond one machine: capture, embedding and serving on a Ray cluster.

Ray distributes the work: Ray Data hands questions and texts to workers and takes lost ones up again, Ray Serve runs the
gateway's replicas. Here is what the workers do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_ray.capturing import capture
    from cascade_ray.embedding import embed
    from cascade_ray.serving import deployment

_HOMES = {"capture": "capturing", "embed": "embedding", "deployment": "serving"}
"""Loaded when first used: each needs another part of Ray."""

__all__ = ["capture", "deployment", "embed"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
