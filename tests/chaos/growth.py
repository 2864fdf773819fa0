"""Does memory grow with the number of calls?"""

import gc
import tracemalloc

import numpy as np

from tests.chaos.run import run

USED_BYTES = 500
"""For each call, at most, of memory in use: an answer and its trace would be more."""

TRACED_BYTES = 100
"""For each call, at most, of what Python itself holds."""

KEPT_BYTES = 100_000
"""Whatever the number of calls: caches that fill, connections, the probes' own notes."""

_FRAMES = 8


def growth(used_mb, wave):
    """What to say of memory in use after each wave: nothing where it is flat over the later half."""
    later = used_mb[len(used_mb) // 2 :]
    if len(later) < 4:
        return []
    slope = np.polyfit(range(len(later)), later, 1)[0] * 2**20 / wave
    return [f"memory in use grows by {slope:.0f} bytes a call"] if slope > USED_BYTES else []


def traced(calls, *, callers, seed):
    """What Python holds more after the last wave than two waves before: bytes, calls between, places with the most."""
    size, held, snapshots = calls // 4, [], []

    def look(_):
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        snapshots.append(tracemalloc.take_snapshot())

    tracemalloc.start()
    try:
        run(calls, callers=callers, seed=seed, size=size, on_wave=look)
    finally:
        tracemalloc.stop()
    places = snapshots[-1].compare_to(snapshots[1], "lineno")[:_FRAMES]
    return held[-1] - held[1], 2 * size, places


def held_too_much(grown, calls):
    """Whether it is more than what fills once."""
    return grown > KEPT_BYTES + TRACED_BYTES * calls
