"""Decisions leave the event loop alone: they are made elsewhere, and it goes on meanwhile."""

import asyncio
import threading
from operator import attrgetter

from llama_index.core.base.llms.types import ChatMessage

import cascade_components as cc
from llama_index.llms.cascade import CascadeLLM
from tests.llama_index_cascade.doubles import ScriptedLLM, pool
from tests.slow_policy import SlowPolicy, SlowQuery, check_elsewhere, check_trial_is_left_to_others, fitted, lags


def question(number):
    return [ChatMessage(f"question {number}")]


async def test_the_loop_goes_on_while_64_callers_wait_for_their_decisions():
    policy = SlowPolicy()
    llm = CascadeLLM(policy=policy, models=pool())
    answers, late = await lags(asyncio.gather(*[llm.achat(question(number)) for number in range(64)]))
    assert {answer.message.content for answer in answers} == {"small says so"}
    check_elsewhere(policy.work, late, kinds={"route", "score"})


async def test_streams_leave_it_alone_too():
    policy = SlowPolicy(sure_after=1)
    llm = CascadeLLM(policy=policy, models=pool(small="small says so " * 30), release="early")

    async def read(number):
        return [part async for part in await llm.astream_chat(question(number))]

    streams, late = await lags(asyncio.gather(*[read(number) for number in range(16)]))
    assert all(streams)
    check_elsewhere(policy.work, late, kinds={"route", "release"})


async def test_64_callers_share_the_encoders_batches():
    policy = fitted()
    llm = CascadeLLM(policy=policy, models={name: ScriptedLLM(model_name=name) for name in policy.models})
    await asyncio.gather(*[llm.achat([ChatMessage(f"sums question new {number}")]) for number in range(64)])
    assert sum(policy.encoder.encoder.batches) == 64
    assert len(policy.encoder.encoder.batches) <= 8


async def test_the_users_own_query_is_taken_elsewhere_and_once():
    query = SlowQuery(attrgetter("content"))
    llm = CascadeLLM(policy=SlowPolicy(), models=pool(), query=query)
    await asyncio.gather(*[llm.achat(question(number)) for number in range(8)])
    assert len(query.threads) == 8
    assert threading.main_thread() not in query.threads


async def test_a_call_cancelled_while_its_text_is_read_leaves_a_trial_to_others():
    policy = fitted()
    models = {name: ScriptedLLM(model_name=name) for name in policy.models}
    settings = cc.Resilience(failures_to_open=1, failing_for=0, cool_down=0.05)
    llm = CascadeLLM(policy=policy, models=models, resilience=settings)

    async def ask(question):
        return (await llm.achat([ChatMessage(question)])).additional_kwargs["cascade"]

    def small(*, fails):
        models["small"].reply = ConnectionError("gone") if fails else "sure"

    await check_trial_is_left_to_others(ask, policy.encoder.encoder, small)
