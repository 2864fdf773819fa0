"""The cascade beyond one machine: capture, embedding and serving on a Ray cluster.

Ray distributes the work: Ray Data hands questions and texts to workers and takes lost ones up again, Ray Serve runs the
gateway's replicas. Here is what the workers do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade_components.lazy import loaded_when_used

if TYPE_CHECKING:
    from cascade_ray.capturing import capture
    from cascade_ray.embedding import embed
    from cascade_ray.serving import deployment

_HOMES = {"capture": "capturing", "embed": "embedding", "deployment": "serving"}
"""Loaded when first used: each needs another part of Ray."""

__all__ = ["capture", "deployment", "embed"]

__getattr__, __dir__ = loaded_when_used(__name__, _HOMES)
