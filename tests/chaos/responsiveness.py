"""How late the event loop is under many tasks: with cascades, and with plain clients, over the same faults."""

import asyncio
from dataclasses import replace

from tests.chaos.asking import asked
from tests.chaos.driver import wave
from tests.chaos.leftovers import lag_probe
from tests.chaos.pools import Threads, fitted, pools
from tests.chaos.serving import serving

_FIRST = 10**6
"""Questions that no other run has."""


def responsiveness(seed, *, calls=1500, callers=100):
    """Lags of the loop in ms, tick by tick, by who was asked."""
    policy = fitted(Threads())
    with serving(seed) as server:
        return asyncio.run(_lags(server, policy, seed, calls, callers))


async def _lags(server, policy, seed, calls, callers):
    every = [asked(seed, _FIRST + number) for number in range(calls)]
    wishes = [
        replace(one, framework="langchain", setting="bare", way=way, shape="text")
        for one in every
        for way in [one.way if one.is_async else f"a{one.way}"]
    ]
    found = {}
    async with pools(server, policy) as cascades:
        # A plain client answers as often as it is asked; a cascade asks 1.7 models for each answer.
        for name, pool in {"plain clients": cascades["langchain", "bare"].models["small"], "cascades": None}.items():
            chosen = cascades if pool is None else {("langchain", "bare"): pool}
            await wave(chosen, wishes[:100], 2 * callers)  # loads what is loaded once
            async with lag_probe(found.setdefault(name, [])):
                await wave(chosen, wishes[100:], 2 * callers)
    return found
