"""The conformance suite finds what is wrong: each faulty LLM fails the check that is there for it."""

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.llms import MessageRole
from llama_index.core.llms.callbacks import llm_chat_callback
from pydantic import PrivateAttr

from .backends import ScriptedBackend
from .conformance import LLMConformance
from .contract import CHATS, run_check
from .doubles import ScriptedLLM

SECRET = "sk-nobody-may-see-this"


class Suite(LLMConformance):
    text = "a fine answer"
    error = ConnectionError
    secret = SECRET


class Forgetful(ScriptedLLM):
    """Drops the arguments."""

    def chat(self, messages, **kwargs):
        return super().chat(messages)


class Blocking(ScriptedLLM):
    """Its asynchronous call is a synchronous one."""

    async def achat(self, messages, **kwargs):
        return self.chat(messages, **kwargs)


class Moody(ScriptedLLM):
    """Answers differently when asked asynchronously."""

    async def achat(self, messages, **kwargs):
        found = await super().achat(messages, **kwargs)
        return found.model_copy(update={"message": ChatMessage("no", role=MessageRole.ASSISTANT)})


class Decorated(ScriptedLLM):
    """Tells of the call that it delegates."""

    @llm_chat_callback()
    def chat(self, messages, **kwargs):
        return super().chat(messages, **kwargs)


class Lazy(ScriptedLLM):
    """Begins when its stream is read, outside the span of the call."""

    def stream_chat(self, messages, **kwargs):
        yield from super().stream_chat(messages, **kwargs)


class Stuttering(ScriptedLLM):
    """Streams the words alone."""

    def stream_chat(self, messages, **kwargs):
        for one in super().stream_chat(messages, **kwargs):
            yield one.model_copy(update={"message": ChatMessage(one.delta, role=MessageRole.ASSISTANT)})


class Recycling(ScriptedLLM):
    """Streams one object, changed from word to word."""

    def stream_chat(self, messages, **kwargs):
        found = ChatResponse(message=ChatMessage("", role=MessageRole.ASSISTANT))
        for one in super().stream_chat(messages, **kwargs):
            found.message, found.delta = one.message, one.delta
            yield found


class Whole(ScriptedLLM):
    """Its stream is the whole answer."""

    def stream_chat(self, messages, **kwargs):
        found = self.chat(messages, **kwargs)
        yield found.model_copy(update={"delta": found.message.content})


class Careless(ScriptedLLM):
    """Ends the event of a stream only if it is read to the end."""

    def stream_chat(self, messages, **kwargs):
        event = self.callback_manager.on_event_start(CBEventType.LLM, {EventPayload.MESSAGES: messages})
        yield from self._stream(messages, kwargs)
        self.callback_manager.on_event_end(CBEventType.LLM, {EventPayload.MESSAGES: messages}, event)


class Silent(ScriptedLLM):
    """Answers with an empty text where it failed."""

    def chat(self, messages, **kwargs):
        try:
            return super().chat(messages, **kwargs)
        except ConnectionError:
            return ChatResponse(message=ChatMessage("", role=MessageRole.ASSISTANT))


class Meddling(ScriptedLLM):
    """Changes the question, in place."""

    def chat(self, messages, **kwargs):
        messages[-1].content += " Be brief."
        return super().chat(messages, **kwargs)


class Talkative(ScriptedLLM):
    """Tells its key."""

    def to_payload(self):
        return {**super().to_payload(), "api_key": self.api_key.get_secret_value()}


class Appending(ScriptedLLM):
    """Appends the question to the caller's history."""

    def _prepare_chat_with_tools(self, tools, user_msg=None, chat_history=None, **kwargs):
        chat_history.append(ChatMessage(user_msg))
        return super()._prepare_chat_with_tools(tools, chat_history=chat_history, **kwargs)


class Lenient(ScriptedLLM):
    """Never requires a tool call."""

    def _prepare_chat_with_tools(self, tools, tool_required=False, **kwargs):
        return super()._prepare_chat_with_tools(tools, **kwargs)


class Remembering(ScriptedLLM):
    """Reads the tool calls of its last response, whichever it is asked about."""

    _last: ChatResponse | None = PrivateAttr(default=None)

    def chat(self, messages, **kwargs):
        self._last = super().chat(messages, **kwargs)
        return self._last

    def get_tool_calls_from_response(self, response, error_on_no_tool_call=True, **kwargs):
        return super().get_tool_calls_from_response(self._last, error_on_no_tool_call=False)


class Patched(ScriptedLLM):
    """Sends the tools' results back as the user's words."""

    def chat(self, messages, **kwargs):
        asked = [ChatMessage(one.content, role=MessageRole.USER) for one in messages]
        return super().chat(asked, **kwargs)


FAULTS = [
    (Forgetful, "test_arguments_of_a_chat_reach_the_model", {"way": "chat"}),
    (Forgetful, "test_a_tool_call_can_be_read", {"way": "chat_with_tools"}),
    (Forgetful, "test_structured_prediction_gives_an_object", {"way": "structured_predict"}),
    (Blocking, "test_many_calls_are_in_flight_at_once", {"way": "achat"}),
    (Moody, "test_every_way_gives_the_same_text", {"ways": CHATS}),
    (Decorated, "test_a_callback_manager_sees_each_call_once", {"way": "chat"}),
    (Decorated, "test_a_callback_manager_sees_each_tool_call_once", {"way": "predict_and_call"}),
    (Decorated, "test_the_dispatcher_sees_each_call_once", {"way": "predict"}),
    (Decorated, "test_the_dispatcher_sees_each_structured_call_once", {"way": "structured_predict"}),
    (Lazy, "test_spans_nest", {"way": "stream_chat"}),
    (Stuttering, "test_a_stream_accumulates", {"way": "stream_chat"}),
    (Stuttering, "test_the_deltas_of_a_stream_add_up", {"way": "stream_chat"}),
    (Recycling, "test_the_responses_of_a_stream_are_independent", {"way": "stream_chat"}),
    (Whole, "test_a_stream_comes_in_chunks", {"way": "stream_chat"}),
    (Careless, "test_an_abandoned_stream_ends_what_it_began", {"way": "stream_chat"}),
    (Careless, "test_a_broken_stream_ends_what_it_began", {"way": "stream_chat"}),
    (Silent, "test_an_error_reaches_the_caller", {"way": "chat"}),
    (Meddling, "test_messages_stay_as_they_are", {"way": "chat"}),
    (Talkative, "test_payload", {}),
    (Talkative, "test_no_secret_is_told", {"way": "chat"}),
    (Appending, "test_the_history_stays_as_it_is", {"way": "chat_with_tools"}),
    (Lenient, "test_a_required_call_is_made", {"way": "chat_with_tools"}),
    (Remembering, "test_calls_are_read_from_the_response_alone", {}),
    (Patched, "test_a_conversation_reaches_the_model", {"way": "chat"}),
]


@pytest.mark.parametrize(("kind", "name", "parameters"), FAULTS)
async def test_a_fault_is_found(kind, name, parameters):
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        await run_check(Suite(), name, ScriptedBackend(SECRET, kind), parameters)


@pytest.mark.parametrize(("name", "parameters"), [fault[1:] for fault in FAULTS])
async def test_no_fault_is_found_where_none_is(name, parameters):
    await run_check(Suite(), name, ScriptedBackend(SECRET), parameters)


def test_every_check_says_what_it_wants():
    checks = {name: getattr(LLMConformance, name) for name in dir(LLMConformance) if name.startswith("test_")}
    assert {name for name, check in checks.items() if not check.__doc__} == set()
    flags = {flag for check in checks.values() for flag in getattr(check, "needs", ())}
    assert {flag for flag in flags if not hasattr(LLMConformance, flag)} == set()
