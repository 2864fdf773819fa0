"""What a cascade has learnt about its models while it served."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from cascade_components.serving.circuits import Circuits
from cascade_components.serving.lanes import Lanes
from cascade_components.serving.latencies import Latencies


class Health:
    """Circuits, latest times, and calls given up. One for each cascade object; nothing of a single call; thread-safe.

    A copy, or what is unpickled in another process, has learnt nothing yet.

    Args:
        clock: Tells seconds, for the circuits.
        jitter: Draws a number in [0, 1), for the waits between retries.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self.circuits = Circuits(clock)
        self.latencies = Latencies()
        self.lanes = Lanes()
        self.jitter = jitter

    def __reduce__(self) -> tuple[Any, ...]:
        return Health, ()
