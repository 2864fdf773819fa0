"""A monitor hears of every call, a shadow asks the target off the caller's path."""

import pytest
from llama_index.core.base.llms.types import ChatMessage

import cascade_components as cc
from llama_index.llms.cascade import CascadeLLM

from .doubles import policy, pool

QUESTION = [ChatMessage("What is 2 + 2?")]
CHATS = ("chat", "achat", "stream_chat", "astream_chat")


async def ask(llm, way):
    """The last response of one way."""
    found = getattr(llm, way)(QUESTION)
    if way.startswith("a"):
        found = await found
    if "stream" not in way:
        return found
    return ([one async for one in found] if way.startswith("a") else list(found))[-1]


class Recorder:
    def __init__(self):
        self.told = []

    def record(self, trace, *, latency_ms):
        self.told.append(trace)


@pytest.mark.parametrize("way", CHATS)
async def test_a_monitor_hears_how_a_call_ended(way):
    monitor = Recorder()
    response = await ask(CascadeLLM(policy=policy(0.2), models=pool(), monitor=monitor), way)
    assert monitor.told == [response.additional_kwargs["cascade"]]


@pytest.mark.parametrize("way", CHATS)
async def test_a_shadow_asks_the_target_as_well(way):
    answers = []
    shadow = cc.Shadow(1.0, sink=answers.append)
    response = await ask(CascadeLLM(policy=policy(0.9), models=pool(), shadow=shadow), way)
    await shadow.aclose()
    (found,) = answers
    assert response.message.content == found.answer == "small says so"
    assert (found.target, found.target_answer) == ("large", "large says so")
