"""A policy that takes its time over each decision, and a probe of what the event loop feels of it."""

import asyncio
import threading
import time
from dataclasses import dataclass, field

import numpy as np

import cascade_components as cc
from tests.langchain_cascade.doubles import GATED, ScriptedPolicy
from tests.toy import make_rows, toy_encoder

SECONDS = 0.01


@dataclass(frozen=True)
class SlowPolicy(ScriptedPolicy):
    """Sleeps where a model would run (without the interpreter's lock); remembers in which thread."""

    plan: object = GATED
    probability: object = 0.9
    work: list = field(default_factory=list)
    """What was decided, and the thread that did."""

    def route(self, query, available):
        self._decide("route")
        return super().route(query, available)

    def estimator(self, model):
        self._decide("score")
        return super().estimator(model)

    def early_release(self, query, answer, threshold):
        self._decide("release")
        return super().early_release(query, answer, threshold)

    def _decide(self, what):
        self.work.append((what, threading.current_thread()))
        time.sleep(SECONDS)


class SlowEncoder:
    """Sleeps where a model would run; remembers how many texts it encoded together."""

    def __init__(self):
        self.batches = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, texts):
        self.batches.append(len(texts))
        time.sleep(SECONDS)
        self.free.wait(10)
        return toy_encoder(texts)


class SlowQuery:
    """Takes its time over the text that is routed; remembers in which threads it was asked."""

    def __init__(self, text_of):
        self.text_of = text_of
        self.threads = []

    def __call__(self, messages):
        self.threads.append(threading.current_thread())
        time.sleep(SECONDS)
        return self.text_of(messages[-1])


def fitted():
    """A fitted policy of an encoder that takes its time."""
    policy = cc.fit(make_rows(90), encoder=SlowEncoder(), clusters=3, quality=None, cost_weight=50.0)
    policy.encoder.encoder.batches.clear()
    return policy


async def check_trial_is_left_to_others(ask, encoder, small):
    """A call that is cancelled while its text is read does not keep a model out that could be tried again.

    Args:
        ask: Ask a cascade of a `fitted` policy whose breakers open at once, and try again after 50 ms.
        encoder: Of the policy.
        small: Sets whether its small model fails.
    """
    small(fails=True)
    await ask("sums question one")
    small(fails=False)
    await asyncio.sleep(0.1)
    encoder.free.clear()
    read = len(encoder.batches)
    left = asyncio.ensure_future(ask("sums question two"))
    await asyncio.sleep(0.1)
    assert len(encoder.batches) == read + 1
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    encoder.free.set()
    assert (await ask("sums question three"))["path"] == ["small"]


async def lags(work):
    """The result of `work`, and by how many seconds each sleep of a millisecond beside it was late."""
    late, running = [], asyncio.ensure_future(work)
    while not running.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - began - 0.001)
    return running.result(), late


def check_elsewhere(work, late, *, kinds):
    """Decisions of these kinds were made in other threads than the loop's, and meanwhile the loop went on."""
    assert {kind for kind, _ in work} == kinds
    assert threading.main_thread() not in {thread for _, thread in work}
    # Other programs on the machine make single sleeps late; a loop that is blocked makes most of them late.
    assert np.median(late) < 0.005
