"""Checks of tool calls: four ways to chat with tools, two to have them called, histories and agents."""

import copy

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms import MessageRole
from llama_index.core.llms.llm import ToolSelection

from .contract import CALLS, CLOCK, CLOSED, QUESTION, TOOL_CHATS, WEATHER, Behaviour, Contract, ask, needs

HISTORY = (
    ChatMessage("You are terse.", role=MessageRole.SYSTEM),
    ChatMessage("Is it cold in Rome?", role=MessageRole.USER),
    ChatMessage("No.", role=MessageRole.ASSISTANT),
)

tool_chats = pytest.mark.parametrize("way", TOOL_CHATS)
# The workflows package looks through all attributes of an agent, Pydantic's old ones too.
old_attributes = pytest.mark.filterwarnings("ignore:The `__fields", "ignore:Accessing the 'model_")
calling = needs("has_function_calling")


class ToolChecks(Contract):
    """Tool calls."""

    async def _calls(self, llm, way, *args, **kwargs):
        """The calls that the last response of a chat holds."""
        last = (await ask(llm, way, *args, **kwargs))[-1]
        return llm.get_tool_calls_from_response(last, error_on_no_tool_call=False)

    def _check_call(self, calls, name="weather"):
        assert len(calls) == 1
        call = calls[0]
        assert isinstance(call, ToolSelection)
        assert call.tool_name == name
        assert isinstance(call.tool_kwargs["city"], str)
        assert call.tool_id

    @calling
    @tool_chats
    async def test_a_tool_call_can_be_read(self, llm, way):
        """The call of a tool, with arguments that fit and an id, is read from the last response."""
        self._check_call(await self._calls(llm, way, [WEATHER], user_msg=QUESTION))

    @calling
    @pytest.mark.parametrize("way", [way for way in TOOL_CHATS if "stream" in way])
    async def test_every_response_of_a_stream_can_be_read(self, llm, way):
        """Tool calls are read from each response of a stream, however incomplete."""
        for one in await ask(llm, way, [WEATHER], user_msg=QUESTION):
            assert isinstance(llm.get_tool_calls_from_response(one, error_on_no_tool_call=False), list)

    @needs("has_function_calling", "shows_requests")
    @tool_chats
    async def test_the_question_may_be_a_text_or_a_message(self, backend, way):
        """A text and a message of the user make the same request."""
        for given in (QUESTION, ChatMessage(QUESTION, role=MessageRole.USER)):
            self._check_call(await self._calls(backend.make(), way, [WEATHER], user_msg=given))
        first, second = backend.requests[: self.calls_of(way)], backend.requests[self.calls_of(way) :]
        assert first == second
        assert {(request.roles, request.texts) for request in first} == {(("user",), (QUESTION,))}

    @needs("has_function_calling", "shows_requests")
    @tool_chats
    async def test_the_history_comes_before_the_question(self, backend, way):
        """The request has the chat history, then the question."""
        self._check_call(await self._calls(backend.make(), way, [WEATHER], QUESTION, list(HISTORY)))
        sent = {request.texts for request in backend.requests}
        assert sent == {(*(message.content for message in HISTORY), QUESTION)}

    @calling
    @tool_chats
    async def test_the_history_may_hold_the_question(self, llm, way):
        """A history that ends with the question needs no other."""
        history = [*HISTORY, ChatMessage(QUESTION, role=MessageRole.USER)]
        self._check_call(await self._calls(llm, way, [WEATHER], chat_history=history))

    @needs("has_function_calling", "keeps_chat_history")
    @tool_chats
    async def test_the_history_stays_as_it_is(self, llm, way):
        """A call neither appends to the caller's chat history nor changes a message of it."""
        history = copy.deepcopy(list(HISTORY))
        await ask(llm, way, [WEATHER], user_msg=QUESTION, chat_history=history)
        assert history == list(HISTORY)

    @needs("has_function_calling", "shows_requests", "sends_tool_arguments")
    @tool_chats
    async def test_arguments_reach_the_model_with_tools(self, backend, way):
        """A keyword argument of a chat with tools is in the request."""
        name, value = self.option
        await ask(backend.make(), way, [WEATHER], user_msg=QUESTION, **{name: value})
        assert [request.options.get(name) for request in backend.requests] == [value] * self.calls_of(way)

    @calling
    @tool_chats
    async def test_no_tools_is_a_plain_chat(self, llm, way):
        """Without tools the answer is a text."""
        found = await ask(llm, way, [], user_msg=QUESTION)
        assert llm.get_tool_calls_from_response(found[-1], error_on_no_tool_call=False) == []
        assert found[-1].message.content

    @calling
    @tool_chats
    async def test_an_answer_without_a_call_is_an_answer(self, backend, way):
        """Where no tool was called, the text is there, and reading the calls gives none."""
        llm = backend.make(Behaviour.RELUCTANT)
        found = await ask(llm, way, [WEATHER], user_msg=QUESTION)
        self.check_text(found[-1].message.content)
        assert llm.get_tool_calls_from_response(found[-1], error_on_no_tool_call=False) == []

    @needs("has_function_calling", "has_missing_call_error")
    async def test_a_missing_call_is_an_error_on_request(self, backend):
        """With `error_on_no_tool_call`, reading the calls of an answer without any raises ValueError."""
        llm = backend.make(Behaviour.RELUCTANT)
        response = llm.chat_with_tools([WEATHER], user_msg=QUESTION)
        with pytest.raises(ValueError, match="tool call"):
            llm.get_tool_calls_from_response(response, error_on_no_tool_call=True)

    @needs("has_function_calling", "has_tool_required")
    @tool_chats
    async def test_a_required_call_is_made(self, backend, way):
        """With `tool_required`, a model that would rather talk calls a tool."""
        llm = backend.make(Behaviour.RELUCTANT)
        self._check_call(await self._calls(llm, way, [WEATHER], user_msg=QUESTION, tool_required=True))

    @calling
    @tool_chats
    async def test_parallel_calls(self, backend, way):
        """With `allow_parallel_tool_calls`, every call reaches the caller, in order and with its own id."""
        llm = backend.make(Behaviour.EAGER)
        tools = [WEATHER, CLOCK]
        calls = await self._calls(llm, way, tools, user_msg=QUESTION, allow_parallel_tool_calls=True)
        self._check_call(calls[:1], "weather")
        self._check_call(calls[1:], "clock")
        assert len({call.tool_id for call in calls}) == 2

    @needs("has_function_calling", "has_single_call")
    @pytest.mark.parametrize("way", ["chat_with_tools", "achat_with_tools"])
    async def test_a_single_call(self, backend, way):
        """Without `allow_parallel_tool_calls`, one call reaches the caller, whatever the model does."""
        self._check_call(await self._calls(backend.make(Behaviour.EAGER), way, [WEATHER, CLOCK], user_msg=QUESTION))

    @calling
    async def test_calls_are_read_from_the_response_alone(self, llm):
        """Which calls a response holds depends on no later call, and a copy of the response holds the same."""
        with_call = llm.chat_with_tools([WEATHER], user_msg=QUESTION)
        before = llm.get_tool_calls_from_response(with_call)
        llm.chat_with_tools([CLOCK], user_msg=QUESTION)
        llm.chat([ChatMessage(QUESTION)])
        assert llm.get_tool_calls_from_response(with_call) == before
        assert llm.get_tool_calls_from_response(copy.deepcopy(with_call)) == before

    @calling
    @tool_chats
    async def test_a_tool_result_is_answered(self, backend, way):
        """A history with the LLM's own call and the tool's result is answered with a text."""
        llm = backend.make()
        call_message = (await ask(llm, way, [WEATHER], user_msg=QUESTION))[-1]
        call = llm.get_tool_calls_from_response(call_message)[0]
        result = ChatMessage("rain", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": call.tool_id})
        question = ChatMessage(QUESTION, role=MessageRole.USER)
        found = await ask(llm, way, [WEATHER], chat_history=[question, call_message.message, result])
        assert found[-1].message.content
        assert llm.get_tool_calls_from_response(found[-1], error_on_no_tool_call=False) == []
        if self.shows_requests:
            sent = {(request.roles, request.texts[-1]) for request in backend.requests[self.calls_of(way) :]}
            assert sent == {(("user", "assistant", "tool"), "rain")}

    @calling
    @pytest.mark.parametrize("way", CALLS)
    async def test_a_tool_is_called(self, llm, way):
        """Predict and call gives what the tool gave, with its source."""
        (found,) = await ask(llm, way, [WEATHER], user_msg=QUESTION)
        assert isinstance(found, AgentChatResponse)
        (source,) = found.sources
        assert source.tool_name == "weather"
        assert source.raw_output.startswith("rain in ")
        assert found.response == source.content

    @calling
    @pytest.mark.parametrize("way", CALLS)
    async def test_tools_are_called_in_parallel(self, backend, way):
        """Predict and call gives what every called tool gave."""
        given = {"user_msg": QUESTION, "allow_parallel_tool_calls": True}
        (found,) = await ask(backend.make(Behaviour.EAGER), way, [WEATHER, CLOCK], **given)
        assert [source.tool_name for source in found.sources] == ["weather", "clock"]

    @calling
    @pytest.mark.parametrize("way", CALLS)
    async def test_no_call_is_no_error_on_request(self, backend, way):
        """Predict and call gives the text where no tool was called and that is no error."""
        llm = backend.make(Behaviour.RELUCTANT)
        (found,) = await ask(llm, way, [WEATHER], user_msg=QUESTION, error_on_no_tool_call=False)
        assert found.sources == []
        self.check_text(found.response)

    @calling
    @pytest.mark.parametrize("way", CALLS)
    async def test_an_error_of_a_tool(self, llm, way):
        """An error of a tool is a source that says so, or raised on request."""
        (found,) = await ask(llm, way, [CLOSED], user_msg=QUESTION)
        assert [source.is_error for source in found.sources] == [True]
        with pytest.raises(ValueError, match="never closes"):
            await ask(llm, way, [CLOSED], user_msg=QUESTION, error_on_tool_error=True)

    @old_attributes
    @calling
    @pytest.mark.parametrize("streaming", [True, False])
    async def test_an_agent_runs_on_it(self, llm, streaming):
        """A function agent calls the tool, reads its result and answers."""
        agent = FunctionAgent(tools=[WEATHER], llm=llm, streaming=streaming)
        found = await agent.run(QUESTION)
        assert [call.tool_name for call in found.tool_calls] == ["weather"]
        assert found.response.content
