"""Conversations: which model goes on with them, and in what form it reads them."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from cascade_components.stickiness import Stay
from cascade_components.trace import Plan
from langchain_cascade.conversation import incumbent

from .doubles import GATED, ChatScripted, ScriptedPolicy, policy
from .ways import trace_of


def path(message):
    return trace_of(message)["path"]


def turns(model, **changes):
    """A conversation whose last answer came from the large model, and its next turn."""
    first = [HumanMessage("A hard question")]
    config = {"configurable": {"cascade": {"model": "large"}}}
    return [*first, model.invoke(first, config), HumanMessage("Thanks!")]


@pytest.mark.parametrize(("sticky", "expected"), [("thread", ["large"]), ("loop", ["small"]), (None, ["small"])])
async def test_from_turn_to_turn(make, sticky, expected):
    model = make(0.9, sticky=sticky)
    messages = turns(model)
    chunks = list(model.stream(messages))
    for message in (model.invoke(messages), await model.ainvoke(messages), chunks[0] + chunks[1:]):
        assert path(message) == expected
    if sticky == "thread":
        assert "the thread stays with it" in trace_of(model.invoke(messages))["reason"]


def test_a_model_that_stays_can_still_be_rejected(make):
    class Gates(ScriptedPolicy):
        def staying(self, route, model, available):
            return Stay(GATED if model == "small" else Plan(model))

    call = {"name": "look_up", "args": {}, "id": "1", "type": "tool_call"}
    made = AIMessage("", tool_calls=[call], response_metadata={"cascade": {"model": "small"}})
    loop = [HumanMessage("Who won?"), made, ToolMessage("Ada", tool_call_id="1")]
    for probability, expected in ((0.9, ["small"]), (0.1, ["small", "large"])):
        assert path(make(of=Gates(plan=Plan("large"), probability=probability)).invoke(loop)) == expected


def test_a_named_model_goes_before_the_incumbent(make):
    model = make(0.9, sticky="thread")
    config = {"configurable": {"cascade": {"model": "small"}}}
    assert path(model.invoke(turns(model), config)) == ["small"]


def test_what_the_incumbents_provider_has_cached_is_read_off_the_trace(make):
    messages = turns(make(0.1))
    found = incumbent(messages, policy().models)
    assert (found.model, found.in_tool_loop, found.cached_tokens) == ("large", False, 15)
    assert 0 < found.new_tokens < 10
    del messages[1].response_metadata["cascade"]["passes"]
    assert incumbent(messages, policy().models).cached_tokens > 0
    assert incumbent(messages, ("other",)) is None
    assert incumbent(messages[:1], policy().models) is None


# — another provider's history —


class ChatNamed(ChatScripted):
    """Speaks for a provider."""

    provider: str

    def _get_ls_params(self, stop=None, **kwargs):
        return {**super()._get_ls_params(stop=stop, **kwargs), "ls_provider": self.provider}


THOUGHTFUL = AIMessage(
    [
        {"type": "thinking", "thinking": "hmm", "signature": "s"},
        {"type": "text", "text": "Let me see.", "cache_control": {"type": "ephemeral"}},
        {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"name": "Ada"}},
    ],
    tool_calls=[{"name": "look_up", "args": {"name": "Ada"}, "id": "toolu_1", "type": "tool_call"}],
    response_metadata={"model_provider": "anthropic", "cascade": {"model": "small"}},
)
CONVERSATION = [HumanMessage("Who won?"), THOUGHTFUL, ToolMessage("Ada", tool_call_id="toolu_1"), HumanMessage("Why?")]


async def test_a_history_is_sanitised_where_the_provider_changes(make):
    model = make(0.1)
    model.models["small"] = ChatNamed(model_name="small", provider="anthropic")
    model.models["large"] = ChatNamed(model_name="large", provider="openai")
    for message in (model.invoke(CONVERSATION), await model.ainvoke(CONVERSATION)):
        assert path(message) == ["small", "large"]
    own, foreign = (model.models[name].calls[-1]["messages"] for name in ("small", "large"))
    assert own[1] is THOUGHTFUL
    assert foreign[1].content == "Let me see."
    assert [call["name"] for call in foreign[1].tool_calls] == ["look_up"]
    assert foreign[1].tool_calls[0]["id"] == foreign[2].tool_call_id


def test_a_message_that_names_no_provider_has_that_of_the_model_in_its_trace(make):
    unnamed = THOUGHTFUL.model_copy(update={"response_metadata": {"cascade": {"model": "small"}}})
    model = make(0.1)
    model.models["small"] = ChatNamed(model_name="small", provider="anthropic")
    model.models["large"] = ChatNamed(model_name="large", provider="openai")
    model.invoke([CONVERSATION[0], unnamed, *CONVERSATION[2:]])
    assert model.models["small"].calls[0]["messages"][1] is unnamed
    assert model.models["large"].calls[0]["messages"][1].content == "Let me see."
