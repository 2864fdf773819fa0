"""Decisions leave the event loop alone: they are made elsewhere, and it goes on meanwhile."""

import asyncio

from llama_index.core.base.llms.types import ChatMessage

from llama_index.llms.cascade import CascadeLLM
from tests.llama_index_cascade.doubles import pool
from tests.slow_policy import SlowPolicy, check_elsewhere, lags


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
