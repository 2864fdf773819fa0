import asyncio
import gc
import os
import threading
import time
import warnings
from contextvars import ContextVar
from types import SimpleNamespace

import numpy as np
import pytest

from cascade_components.deciding import decide_on
from cascade_components.encoders import CachedEncoder

asked = ContextVar("asked", default=None)


class Slow:
    """Remembers its batches, and which thread computed them."""

    def __init__(self, seconds=0.02, poison=None):
        self.seconds = seconds
        self.poison = poison
        self.batches = []
        self.threads = set()
        self.started = threading.Event()

    def __call__(self, texts):
        self.batches.append(list(texts))
        self.threads.add(threading.current_thread())
        self.started.set()
        time.sleep(self.seconds)
        if self.poison in texts:
            raise ValueError(f"{self.poison} cannot be read")
        return np.array([[float(len(text)), 1.0] for text in texts])


def policy_of(encoder):
    return SimpleNamespace(encoder=CachedEncoder(encoder))


def length(policy, text):
    """A decision: the first number of the text's vector."""
    return decide_on(text, policy, lambda: policy.encoder([text])[0, 0])


def lengths(policy, texts):
    return asyncio.gather(*[length(policy, text) for text in texts], return_exceptions=True)


async def test_64_callers_share_one_batch_and_one_thread():
    encoder = Slow()
    policy = policy_of(encoder)
    first = asyncio.ensure_future(length(policy, "first"))
    await asyncio.to_thread(encoder.started.wait)
    texts = ["x" * (number + 1) for number in range(64)]
    assert await lengths(policy, texts) == [len(text) for text in texts]
    assert await first == 5
    assert encoder.batches == [["first"], texts]
    assert len(encoder.threads) == 1
    assert threading.main_thread() not in encoder.threads


async def test_threads_and_tasks_share_batches():
    encoder = Slow()
    policy = policy_of(encoder)
    first = asyncio.ensure_future(length(policy, "first"))
    await asyncio.to_thread(encoder.started.wait)
    others = [asyncio.to_thread(policy.encoder, [text]) for text in ("a", "b")]
    found = await asyncio.gather(*others, lengths(policy, ["c", "d"]), first)
    assert [one[0, 0] for one in found[:2]] == [1, 1]
    assert sum(map(len, encoder.batches)) == 5
    assert len(encoder.batches) <= 3


async def test_a_known_vector_waits_for_no_batch():
    encoder = Slow(0)
    policy = policy_of(encoder)
    await length(policy, "known")
    encoder.seconds = 0.3
    encoder.started.clear()
    new = asyncio.ensure_future(length(policy, "new"))
    await asyncio.to_thread(encoder.started.wait)
    assert await asyncio.wait_for(length(policy, "known"), 0.2) == 5
    assert await new == 3


async def test_a_decision_without_a_text_or_an_encoder_is_made_by_itself():
    encoder = Slow()
    for policy, text in ((policy_of(encoder), " "), (object(), "a text")):
        assert await decide_on(text, policy, max, 2, 3) == 3
    assert not encoder.batches


async def test_a_text_that_cannot_be_read_fails_its_own_decision_only():
    policy = policy_of(Slow(0.001, poison="poison"))
    found = await lengths(policy, ["a", "bb", "poison", "ccc"])
    assert [found[0], found[1], found[3]] == [1, 2, 3]
    assert isinstance(found[2], ValueError)


async def test_an_encoder_that_panics_keeps_nobody_else_waiting():
    class Panic(BaseException):
        """As code in Rust raises."""

    def encode(texts):
        if "poison" in texts:
            raise Panic
        return np.array([[float(len(text))] for text in texts])

    policy = policy_of(encode)
    found = await asyncio.wait_for(lengths(policy, ["a", "poison", "bb"]), 5)
    assert [found[0], found[2]] == [1, 2]
    assert isinstance(found[1], Panic)
    assert await asyncio.wait_for(length(policy, "later"), 5) == 5


@pytest.mark.parametrize("text", ["", "a text"])
async def test_a_decision_that_runs_out_of_something_says_so(text):
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await asyncio.wait_for(decide_on(text, policy_of(Slow(0)), lambda: next(iter(()))), 5)


async def test_a_caller_who_is_cancelled_while_its_text_is_read_decides_nothing():
    encoder, done = Slow(0.05), []
    policy = policy_of(encoder)
    reading = asyncio.ensure_future(decide_on("a text", policy, done.append, "decided"))
    await asyncio.to_thread(encoder.started.wait)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await length(policy, "next") == 4
    assert not done


async def test_a_decision_has_its_callers_context_and_raises_where_it_is_awaited():
    policy = policy_of(Slow(0))

    async def ask(question):
        asked.set(question)
        return await decide_on(question, policy, asked.get)

    assert await asyncio.gather(ask("one"), ask("two")) == ["one", "two"]
    with pytest.raises(ValueError, match="no decision"):
        await decide_on("a text", policy, int, "no decision")
    assert await ask("three") == "three"


async def test_what_waits_when_its_caller_is_cancelled_is_neither_read_nor_decided():
    encoder, done = Slow(), []
    policy = policy_of(encoder)
    first = asyncio.ensure_future(length(policy, "first"))
    await asyncio.to_thread(encoder.started.wait)
    waiting = asyncio.ensure_future(decide_on("waits", policy, done.append, "waited"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await first == 5
    assert await length(policy, "next") == 4
    assert not done
    assert encoder.batches == [["first"], ["next"]]


def test_a_loop_that_ends_while_its_callers_wait_keeps_nobody_else_waiting():
    encoder = Slow(0.05)
    policy = policy_of(encoder)

    async def leave():
        asyncio.ensure_future(length(policy, "left"))  # noqa: RUF006 - nobody waits for it
        await asyncio.to_thread(encoder.started.wait)

    asyncio.run(leave())
    assert asyncio.run(length(policy, "next")) == 4


def test_it_works_in_a_process_forked_while_a_batch_runs():
    encoder = Slow(0.1)
    policy = policy_of(encoder)

    asking = threading.Thread(target=lambda: asyncio.run(length(policy, "first")))
    asking.start()
    encoder.started.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking while there are threads
        child = os.fork()
    if child == 0:
        encoder.seconds = 0
        os._exit(0 if asyncio.run(length(policy, "next")) == 4 else 1)
    asking.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_its_thread_goes_with_the_encoder():
    encoder = Slow(0)
    policy = policy_of(encoder)
    asyncio.run(length(policy, "a text"))
    (thread,) = encoder.threads
    del policy
    until = time.monotonic() + 5
    while thread.is_alive() and time.monotonic() < until:  # the thread may be about to end its last batch
        gc.collect()
        thread.join(0.1)
    assert not thread.is_alive()
