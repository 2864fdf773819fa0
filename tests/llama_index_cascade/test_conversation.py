"""What a conversation says: the text that is routed, who answered last, which tools were called."""

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock
from llama_index.core.llms import MessageRole

from llama_index.llms.cascade import CascadeLLM
from llama_index.llms.cascade.responses import CascadeMessage

from .contract import CHATS, TOOL_CHATS, WEATHER, ask
from .doubles import policy, pool

SYSTEM, USER, ASSISTANT, TOOL = MessageRole.SYSTEM, MessageRole.USER, MessageRole.ASSISTANT, MessageRole.TOOL
IMAGE = ChatMessage(role=USER, blocks=[ImageBlock(url="https://example.org/cat.png")])


def make(probability=None, *, of=None, sticky="loop", query=None, **replies):
    return CascadeLLM(policy=of or policy(probability), models=pool(**replies), sticky=sticky, query=query)


def trace_of(response):
    return response.additional_kwargs["cascade"]


def said(text, role):
    return ChatMessage(text, role=role)


# — what is routed —


@pytest.mark.parametrize("way", CHATS)
async def test_the_last_user_turn_is_routed(way):
    found = policy(0.9)
    messages = [said("Be brief.", SYSTEM), said("first", USER), said("yes", ASSISTANT), said("second", USER)]
    await ask(make(of=found), way, messages)
    assert found.asked == ["second"]


def test_the_text_blocks_of_a_turn_are_routed():
    found = policy(0.9)
    blocks = [TextBlock(text="What is"), ImageBlock(url="https://example.org/cat.png"), TextBlock(text="this?")]
    make(of=found).chat([ChatMessage(role=USER, blocks=blocks)])
    assert found.asked == ["What is\nthis?"]


def test_the_extractor_says_what_is_routed():
    found = policy(0.9)
    llm = make(of=found, query=lambda messages: messages[-1].content.rpartition("Query: ")[2])
    llm.chat([said("Context: ...\nQuery: What is 2 + 2?", USER)])
    llm.complete("Context: ...\nQuery: What is 3 + 3?")
    assert found.asked == ["What is 2 + 2?", "What is 3 + 3?"]


@pytest.mark.parametrize("messages", [[IMAGE], [said("Look.", USER), said("At what?", ASSISTANT), IMAGE]])
@pytest.mark.parametrize("way", CHATS)
async def test_without_text_to_route_the_strongest_is_asked(messages, way):
    trace = trace_of((await ask(make(0.9), way, messages))[-1])
    assert trace["path"] == ["large"]
    assert "no text to route" in trace["reason"]


@pytest.mark.parametrize("messages", [[], [said("", USER)], [said(" \n", USER), said("", SYSTEM)]])
@pytest.mark.parametrize("way", CHATS)
async def test_nothing_at_all_is_an_error(messages, way):
    llm = make()
    with pytest.raises(ValueError, match="nothing to answer"):
        await ask(llm, way, messages)
    assert llm.models["small"].calls == []


def test_without_a_user_turn_the_error_names_the_remedy():
    messages = [said("Be brief.", SYSTEM), said("Hello.", ASSISTANT)]
    with pytest.raises(ValueError, match=r"no human message to route \(found: system, assistant\).*query=.*cascade="):
        make(0.9).chat(messages)
    assert make(0.9, query=lambda found: found[0].content).chat(messages).message.content == "small says so"
    assert make(0.9).chat(messages, cascade={"model": "large"}).message.content == "large says so"


# — a conversation stays with its LLM —


def tool_loop(written_by, question="Who won?"):
    block = ToolCallBlock(tool_call_id="1", tool_name="weather", tool_kwargs={"city": "Oslo"})
    call = ChatMessage(role=ASSISTANT, blocks=[block])
    result = ChatMessage("rain", role=TOOL, additional_kwargs={"tool_call_id": "1"})
    return [said(question, USER), CascadeMessage.of(call, written_by) if written_by else call, result]


@pytest.mark.parametrize("way", TOOL_CHATS)
@pytest.mark.parametrize(
    ("written_by", "path"), [("large", ["large"]), ("small", ["small"]), ("gone", ["small"]), (None, ["small"])]
)
async def test_a_tool_loop_stays_with_its_llm(way, written_by, path):
    last = (await ask(make(0.9), way, [WEATHER], chat_history=tool_loop(written_by)))[-1]
    assert trace_of(last)["path"] == path


def test_a_tool_loop_goes_on_where_the_user_turn_was_trimmed_away():
    response = make(0.9).chat_with_tools([WEATHER], chat_history=tool_loop("large")[1:])
    assert trace_of(response)["path"] == ["large"]


def test_a_tool_loop_leaves_its_llm_for_a_weak_answer_and_where_it_need_not_stay():
    trace = trace_of(make(0.1).chat_with_tools([WEATHER], chat_history=tool_loop("small")))
    assert trace["path"] == ["small", "large"]
    trace = trace_of(make(0.9, sticky=None).chat_with_tools([WEATHER], chat_history=tool_loop("large")))
    assert trace["path"] == ["small"]


def test_a_real_tool_loop_stays():
    llm = make(small=ConnectionError("down"))
    first = llm.chat_with_tools([WEATHER], "Oslo?")
    llm.models["small"].reply = "small is back"
    result = ChatMessage("rain", role=TOOL, additional_kwargs={"tool_call_id": "call_large_0"})
    history = [said("Oslo?", USER), first.message, result]
    assert trace_of(llm.chat_with_tools([WEATHER], chat_history=history))["path"] == ["large"]


@pytest.mark.parametrize(("sticky", "path"), [("thread", ["large"]), ("loop", ["small"]), (None, ["small"])])
def test_a_thread_stays_with_its_llm_on_request(sticky, path):
    llm = make(0.1, sticky=sticky)
    first = llm.chat([said("Hello", USER)])
    llm.policy = policy()
    second = llm.chat([said("Hello", USER), first.message, said("And?", USER)])
    assert trace_of(second)["path"] == path


def test_a_conversation_may_leave_the_cascade_and_come_back():
    llm = make(0.1)
    history = [said("Hello", USER), llm.chat([said("Hello", USER)]).message, said("And?", USER)]
    assert llm.models["small"].chat(history).message.content == "small says so"
    sent = llm.models["small"].calls[-1]["messages"][1]
    assert (sent.role, sent.content, sent.additional_kwargs) == (ASSISTANT, "large says so", {})


# — calls that were made —


@pytest.mark.parametrize("way", TOOL_CHATS)
@pytest.mark.parametrize("written_by", ["small", None])
async def test_a_call_whose_result_was_seen_is_not_repeated(way, written_by):
    block = ToolCallBlock(tool_call_id="9", tool_name="weather", tool_kwargs={"city": "Oslo"})
    again = ChatMessage(role=ASSISTANT, blocks=[block])
    llm = make(small=again, large="Rain.")
    last = (await ask(llm, way, [WEATHER], chat_history=tool_loop(written_by)))[-1]
    assert (trace_of(last)["path"], trace_of(last)["failed_checks"]) == (["small", "large"], ["repeated_tool_call"])
    assert (last.message.content, llm.get_tool_calls_from_response(last, error_on_no_tool_call=False)) == ("Rain.", [])


def test_another_call_and_a_call_of_an_earlier_turn_are_none_that_was_made():
    block = ToolCallBlock(tool_call_id="9", tool_name="weather", tool_kwargs={"city": "Rome"})
    other = ChatMessage(role=ASSISTANT, blocks=[block])
    assert trace_of(make(small=other).chat_with_tools([WEATHER], chat_history=tool_loop("small")))["path"] == ["small"]
    later = [*tool_loop("small"), said("Rain.", ASSISTANT), said("Oslo", USER)]
    assert trace_of(make().chat_with_tools([WEATHER], chat_history=later))["path"] == ["small"]
