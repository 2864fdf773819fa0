"""What is read off an LLM's response: tokens, log-probabilities, why it ended, tool calls."""

import copy
import pickle
from types import SimpleNamespace

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LogProb, TextBlock, ToolCallBlock
from llama_index.core.llms import MessageRole, MockLLM

import cascade_components as cc
from cascade_components.serving.account import Usage
from llama_index.llms.cascade import CascadeLLM
from llama_index.llms.cascade.responses import CascadeMessage, answer_of, larger, usage_of, usage_words

from .contract import CHATS, ask
from .doubles import ScriptedLLM, policy, pool


def response(text="fine", **fields):
    return ChatResponse(message=ChatMessage(text, role=MessageRole.ASSISTANT), **fields)


# — tokens —


def as_object(value):
    return (
        SimpleNamespace(**{name: as_object(one) for name, one in value.items()}) if isinstance(value, dict) else value
    )


OPENAI = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 80}}
RESPONSES = {"input_tokens": 100, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 80}}
ANTHROPIC = {"input_tokens": 15, "output_tokens": 7, "cache_read_input_tokens": 80, "cache_creation_input_tokens": 5}


@pytest.mark.parametrize("form", [dict, as_object])
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (OPENAI, Usage(100, 7, cache_read=80)),
        (RESPONSES, Usage(100, 7, cache_read=80)),
        (ANTHROPIC, Usage(100, 7, cache_read=80, cache_creation=5)),
        ({"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": None}, Usage(100, 7)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
    ],
)
def test_tokens_are_read_wherever_a_provider_tells_them(usage, expected, form):
    assert usage_of(response(raw=form({"usage": form(usage)}))) == expected


def test_tokens_may_stand_beside_the_answer():
    assert usage_of(response(raw={"usage_metadata": {"prompt_token_count": 9, "candidates_token_count": 2}})) == Usage(
        9, 2
    )
    assert usage_of(response(additional_kwargs={"prompt_tokens": 9, "completion_tokens": 2})) == Usage(9, 2)
    for unknown in (None, {}, object(), {"usage": None}):
        assert usage_of(response(raw=unknown)) is None


def test_a_streams_counts_grow():
    first, last = Usage(100, 1, cache_read=80), Usage(0, 7)
    assert larger(first, last) == Usage(100, 7, cache_read=80)
    assert larger(None, first) == larger(first, None) == first
    assert larger(None, None) is None


def test_tokens_as_plain_data():
    assert usage_words(None) is None
    assert usage_words(Usage(9, 2)) == {"input_tokens": 9, "output_tokens": 2}
    assert usage_words(Usage(9, 2, cache_read=4)) == {"input_tokens": 9, "output_tokens": 2, "cache_read": 4}


@pytest.mark.parametrize("way", CHATS)
async def test_cached_tokens_have_their_own_price(way):
    small = {"usage_details": {"prompt_tokens_details": {"cached_tokens": 8}}}
    prices = {"small": cc.TokenPrice(input=1.0, output=10.0, cache_read=0.5), "large": (1.0, 1.0)}
    llm = CascadeLLM(policy=policy(), models=pool(small=small), prices=prices)
    trace = (await ask(llm, way, [ChatMessage("Hello")]))[-1].additional_kwargs["cascade"]
    assert trace["passes"][0]["usage"] == {"input_tokens": 10, "output_tokens": 5, "cache_read": 8}
    assert trace["cost_usd"] == pytest.approx(2 * 1.0 + 8 * 0.5 + 5 * 10.0)


# — a stream may tell before its last part —


class Chatty(ScriptedLLM):
    """Tells tokens, then why it ends, then nothing."""

    def _parts(self, messages, kwargs):
        parts = list(super()._parts(messages, kwargs))
        parts[0].raw = {"usage": {"prompt_tokens": 10, "completion_tokens": 1}}
        yield from parts
        yield parts[-1].model_copy(update={"raw": {"choices": []}, "additional_kwargs": {}})


@pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
async def test_what_a_stream_tells_early_is_kept(way):
    llm = CascadeLLM(policy=policy(), models={**pool(), "small": Chatty(model_name="small", finish_reason="length")})
    trace = (await ask(llm, way, [ChatMessage("Hello")]))[-1].additional_kwargs["cascade"]
    assert trace["failed_checks"] == ["truncated"]
    assert trace["passes"][0]["usage"] == {"input_tokens": 10, "output_tokens": 5}


# — what an estimator reads —


def test_log_probabilities_and_margins():
    position = [LogProb(token="a", logprob=-0.1), LogProb(token="b", logprob=-2.5)]
    found = answer_of(response(logprobs=[position, []]), "small", MockLLM())
    assert (found.token_logprobs, found.token_margins) == ((-0.1,), (0.8228,))
    alone = answer_of(response(logprobs=[position[:1]]), "small", MockLLM())
    assert (alone.token_logprobs, alone.token_margins) == ((-0.1,), None)
    assert answer_of(response(), "small", MockLLM()).token_logprobs is None


@pytest.mark.parametrize("form", [dict, as_object])
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"stop_reason": "max_tokens"}, "max_tokens"),
        ({"done_reason": "length"}, "length"),
        ({"model": "m"}, None),
    ],
)
def test_why_an_answer_ended(raw, expected, form):
    assert answer_of(response(raw=form(raw)), "small", MockLLM()).finish_reason == expected


@pytest.mark.parametrize(
    "choice", [{"finish_reason": "stop", "message": {"refusal": "No."}}, {"finish_reason": "refusal"}]
)
def test_a_refusal(choice):
    assert answer_of(response(raw={"choices": [choice]}), "small", MockLLM()).finish_reason == "refusal"
    refused = ChatMessage("", role=MessageRole.ASSISTANT, additional_kwargs={"refusal": "No."})
    assert answer_of(ChatResponse(message=refused), "small", MockLLM()).finish_reason == "refusal"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({"city": "Oslo"}, {"city": "Oslo"}), ('{"city": "Oslo"}', {"city": "Oslo"}), ('{"city": "Os', None), ("", {})],
)
def test_tool_calls_and_those_that_are_no_json(arguments, expected):
    block = ToolCallBlock(tool_call_id="1", tool_name="weather", tool_kwargs=arguments)
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])
    found = answer_of(ChatResponse(message=message), "small", ScriptedLLM())
    assert found.tool_calls == ({"name": "weather", "args": expected},)
    assert answer_of(ChatResponse(message=message), "small", MockLLM()).tool_calls == ()


# — a message that knows who wrote it —


def test_a_message_knows_its_writer_and_sends_it_nowhere():
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text="fine")], additional_kwargs={"a": 1})
    found = CascadeMessage.of(message, "small", tokens=15)
    assert (found.answered_by, found.tokens, found.content) == ("small", 15, "fine")
    assert found.model_dump() == message.model_dump()
    assert "small" not in found.model_dump_json()
    for again in (copy.copy(found), copy.deepcopy(found), found.model_copy(), pickle.loads(pickle.dumps(found))):
        assert (again.answered_by, again.tokens) == ("small", 15)
    found.additional_kwargs["b"] = 2
    assert message.additional_kwargs == {"a": 1}
