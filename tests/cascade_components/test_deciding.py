import asyncio
import threading
import time
from contextvars import ContextVar

import numpy as np
import pytest

from cascade_components.deciding import THREADS, decide
from cascade_components.encoders import CachedEncoder

asked = ContextVar("asked", default=None)


async def test_a_decision_has_its_callers_context_and_raises_where_it_is_awaited():
    asked.set("a question")
    assert await decide(asked.get) == "a question"
    with pytest.raises(ValueError, match="no decision"):
        await decide(int, "no decision")


async def test_decisions_that_wait_fill_a_batch():
    batches = []

    def encode(texts):
        batches.append(len(texts))
        time.sleep(0.02)
        return np.array([[float(len(text))] for text in texts])

    encoder = CachedEncoder(encode)
    found = await asyncio.gather(*[decide(encoder, ["x" * (number + 1)]) for number in range(48)])
    assert [vector[0, 0] for vector in found] == list(range(1, 49))
    assert max(batches) >= 8


async def test_what_waits_for_a_thread_when_its_caller_is_cancelled_is_not_done():
    release, done = threading.Event(), []
    blockers = [asyncio.ensure_future(decide(release.wait, 5)) for _ in range(THREADS)]
    await asyncio.sleep(0.05)
    waiting = asyncio.ensure_future(decide(done.append, "waited"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release.set()
    await asyncio.gather(*blockers)
    await decide(int)
    assert not done


async def test_the_event_loop_goes_on_meanwhile():
    """The lag of a probe that sleeps a millisecond at a time, while 64 callers decide."""
    lags, stop = [], False

    async def probe():
        while not stop:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append(time.perf_counter() - started - 0.001)

    def encode(texts):
        time.sleep(0.01)  # as a model does: without the interpreter's lock
        return np.array([[float(len(text))] for text in texts])

    encoder = CachedEncoder(encode)
    probing = asyncio.ensure_future(probe())
    for turn in range(5):
        await asyncio.gather(*[decide(encoder, ["x" * number + str(turn)]) for number in range(64)])
    stop = True
    await probing
    # Other programs on the machine make single probes late; a loop that is blocked makes most of them late.
    assert np.median(lags) < 0.005
