"""Decisions leave the event loop alone: they are made elsewhere, and it goes on meanwhile."""

import asyncio
import threading
from operator import attrgetter

import cascade_components as cc
from langchain_cascade import CascadeChatModel
from tests.langchain_cascade.doubles import ChatScripted, pool
from tests.langchain_cascade.ways import trace_of
from tests.slow_policy import SlowPolicy, SlowQuery, check_elsewhere, check_trial_is_left_to_others, fitted, lags


async def test_the_loop_goes_on_while_64_callers_wait_for_their_decisions():
    policy = SlowPolicy()
    model = CascadeChatModel(policy=policy, models=pool())
    answers, late = await lags(asyncio.gather(*[model.ainvoke(f"question {number}") for number in range(64)]))
    assert {answer.text for answer in answers} == {"small says so"}
    check_elsewhere(policy.work, late, kinds={"route", "score"})


async def test_streams_leave_it_alone_too():
    policy = SlowPolicy(sure_after=1)
    model = CascadeChatModel(policy=policy, models=pool(small="small says so " * 30), release="early")

    async def read(number):
        return [chunk async for chunk in model.astream(f"question {number}")]

    streams, late = await lags(asyncio.gather(*[read(number) for number in range(16)]))
    assert all(streams)
    check_elsewhere(policy.work, late, kinds={"route", "release"})


async def test_64_callers_share_the_encoders_batches():
    policy = fitted()
    models = {name: ChatScripted(model_name=name) for name in policy.models}
    model = CascadeChatModel(policy=policy, models=models)
    await asyncio.gather(*[model.ainvoke(f"sums question new {number}") for number in range(64)])
    assert sum(policy.encoder.encoder.batches) == 64
    assert len(policy.encoder.encoder.batches) <= 8


async def test_the_users_own_query_is_taken_elsewhere_and_once():
    query = SlowQuery(attrgetter("text"))
    model = CascadeChatModel(policy=SlowPolicy(), models=pool(), query=query)
    await asyncio.gather(*[model.ainvoke(f"question {number}") for number in range(8)])
    assert len(query.threads) == 8
    assert threading.main_thread() not in query.threads


async def test_a_call_cancelled_while_its_text_is_read_leaves_a_trial_to_others():
    policy = fitted()
    models = {name: ChatScripted(model_name=name) for name in policy.models}
    settings = cc.Resilience(failures_to_open=1, failing_for=0, cool_down=0.05)
    model = CascadeChatModel(policy=policy, models=models, resilience=settings)

    async def ask(question):
        return trace_of(await model.ainvoke(question))

    def small(*, fails):
        models["small"].reply = ConnectionError("gone") if fails else "sure"

    await check_trial_is_left_to_others(ask, policy.encoder.encoder, small)
