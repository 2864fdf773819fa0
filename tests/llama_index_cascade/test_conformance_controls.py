"""The conformance suite on LLMs that are not ours: what it demands is what LlamaIndex's own can do."""

import json
import threading

import openai
import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MessageRole, MockLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.llms.openai import OpenAI

from tests.langchain_cascade.doubles import sample
from tests.openai_server import Reply, serving

from .backends import ScriptedBackend, request_of
from .conformance import LLMConformance
from .contract import CONCURRENCY, PATIENCE_S, QUESTION, Behaviour, Request, run_check

SECRET = "sk-nobody-may-see-this"


class TestScripted(LLMConformance):
    text = "a fine answer"
    error = ConnectionError
    secret = SECRET
    supports_images = True

    @pytest.fixture
    def backend(self):
        return ScriptedBackend(self.secret)


class Control(LLMConformance):
    faults: dict = {}  # noqa: RUF012
    """Checks that a flag turns off because the LLM, and not the check, is at fault; with their parameters."""

    async def test_its_faults_are_real(self, backend):
        """Each of them fails."""
        for name, parameters in self.faults.items():
            with pytest.raises((AssertionError, TypeError)):
                await run_check(self, name, backend, parameters)


class OpenAIBackend:
    """LlamaIndex's client of an OpenAI-compatible server on loopback."""

    def __init__(self, server):
        self.server = server
        self.released = False
        self.peak = 0
        self._in_flight = 0
        self._changed = threading.Condition()

    def make(self, behaviour=Behaviour.ANSWERS, **fields):
        self.server.replies["gpt-4o-mini"] = lambda body: self._reply(behaviour, body)
        self.server.breaks = behaviour is Behaviour.BREAKS
        usage = {"stream_options": {"include_usage": True}}
        given = {"api_base": self.server.url, "api_key": SECRET, "max_retries": 0, "additional_kwargs": usage}
        return OpenAI(model="gpt-4o-mini", **given, **fields)

    @property
    def requests(self):
        return [self._request(body) for body in self.server.bodies]

    def _request(self, body):
        contents = [message.get("content") or "" for message in body["messages"]]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        return Request(
            roles=tuple(message["role"] for message in body["messages"]),
            texts=tuple(content if isinstance(content, str) else content[0]["text"] for content in contents),
            options={name: value for name, value in body.items() if name != "messages"},
            images=sum(part["type"] == "image_url" for part in parts),
        )

    def _reply(self, behaviour, body):
        if behaviour is Behaviour.FAILS:
            return Reply(status=500)
        if behaviour is Behaviour.WAITS:
            self._wait()
        if "response_format" in body:
            return Reply(json.dumps({"city": "Oslo", "degrees": 3}))
        tools, choice = body.get("tools"), body.get("tool_choice")
        answered = not body["messages"] or body["messages"][-1]["role"] == "tool"
        if not tools or answered or (behaviour is Behaviour.RELUCTANT and choice != "required"):
            return Reply("rain all day")
        names = [tool["function"]["name"] for tool in tools]
        called = names if behaviour is Behaviour.EAGER else names[:1]
        return Reply(calls=tuple((name, {"city": "Oslo"}) for name in called))

    def _wait(self):
        with self._changed:
            self._in_flight += 1
            self.peak = max(self.peak, self._in_flight)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.released or self.peak >= CONCURRENCY, PATIENCE_S)
            self._in_flight -= 1

    def release(self):
        """Nobody waits any longer."""
        with self._changed:
            self.released = True
            self._changed.notify_all()


@pytest.fixture(scope="module")
def server():
    with serving() as found:

        class Breaking(found.RequestHandlerClass):
            def _send(self, status, kind, text):
                if found.breaks and kind == "text/event-stream":
                    events = text.split("\n\n")[:3]
                    text = "\n\n".join([*events, f"data: {json.dumps({'error': {'message': 'it broke'}})}", ""])
                super()._send(status, kind, text)

        found.RequestHandlerClass = Breaking
        found.socket.listen(CONCURRENCY)
        yield found


@pytest.mark.enable_socket
class TestOpenAI(Control):
    text = "rain all day"
    error = openai.APIError
    secret = SECRET
    supports_images = True
    keeps_chat_history = False  # its `_prepare_chat_with_tools` appends the question to the caller's list
    dict_is_safe = False  # `api_key` is a plain field: `to_dict`, `to_json` and `repr` show it
    faults = {  # noqa: RUF012
        "test_the_history_stays_as_it_is": {"way": "chat_with_tools"},
        "test_no_secret_is_shown": {},
    }

    @pytest.fixture
    def backend(self, server):
        server.forget()
        found = OpenAIBackend(server)
        yield found
        found.release()


class MockBackend:
    """LlamaIndex's own function-calling mock, whose answers are made by a function."""

    def __init__(self):
        self.calls = []
        self.peak = 0

    @property
    def requests(self):
        return [request_of(call) for call in self.calls]

    def make(self, behaviour=Behaviour.ANSWERS, **fields):
        def answer(messages, **kwargs):
            self.calls.append({"messages": list(messages), **kwargs})
            if behaviour is Behaviour.FAILS:
                raise ConnectionError("out of order")
            return self._answer(behaviour, messages, kwargs.get("tools"))

        return MockFunctionCallingLLM(response_generator=answer, is_chat_model=True, **fields)

    def _answer(self, behaviour, messages, tools):
        answered = not messages or messages[-1].role == MessageRole.TOOL
        if not tools or answered or behaviour is Behaviour.RELUCTANT:
            return ChatMessage("rain all day", role=MessageRole.ASSISTANT)
        calls = [
            ToolSelection(
                tool_id=f"call_{number}",
                tool_name=tool.metadata.name,
                tool_kwargs=sample(tool.metadata.get_parameters_dict(), "Oslo"),
            )
            for number, tool in enumerate(tools if behaviour is Behaviour.EAGER else tools[:1])
        ]
        return ChatMessage(role=MessageRole.ASSISTANT, additional_kwargs={"tool_calls": calls})


class TestMockFunctionCalling(Control):
    text = "rain all day"
    prompt_text = QUESTION
    error = ConnectionError
    supports_images = True
    sends_prompts = False  # a completion is its prompt
    streams_in_chunks = False  # the whole answer is one chunk
    true_async = False  # `achat` calls `chat`
    counts_once = False  # for the same reason: both are decorated, and an asynchronous chat is two events
    reports_usage = False
    has_tool_required = sends_tool_arguments = False  # `_prepare_chat_with_tools` drops all but the tools
    has_single_call = False  # as in every `FunctionCallingLLM` that does not validate the response
    has_missing_call_error = False  # it takes `error_on_no_tool_call` and never looks at it
    dict_is_json = False  # a function is a plain field
    pickles = False  # what answers is a private attribute, dropped if it is a closure
    faults = {  # noqa: RUF012
        "test_a_callback_manager_sees_each_call_once": {"way": "achat"},
        "test_the_dispatcher_sees_each_call_once": {"way": "achat"},
        "test_a_required_call_is_made": {"way": "chat_with_tools"},
        "test_arguments_reach_the_model_with_tools": {"way": "chat_with_tools"},
        "test_a_single_call": {"way": "chat_with_tools"},
        "test_dict_is_json": {},
        "test_a_pickle_answers": {},
        "test_a_stream_comes_in_chunks": {"way": "stream_chat"},
        "test_usage_is_reported": {"way": "chat"},
    }

    @pytest.fixture
    def backend(self):
        return MockBackend()


class EchoBackend:
    """LlamaIndex's mock that says its prompt."""

    requests: list = []  # noqa: RUF012
    peak = 0

    def make(self, behaviour=Behaviour.ANSWERS, **fields):
        parser = fields.pop("output_parser", None)
        found = MockLLM(**fields)
        found.output_parser = parser
        return found


class TestMock(Control):
    prompt_text = QUESTION
    is_chat_model = False
    sends_prompts = shows_requests = can_fail = False
    streams_accumulate = False  # each response of a stream has the whole text
    true_async = False  # as in every `CustomLLM`
    counts_once = False  # a chat is a completion inside, and both are decorated
    nests_streams = False  # an asynchronous stream begins a synchronous one when it is read, outside its own span
    closes_streams = False  # the stream inside lives on: the exception in the event's payload holds its frame
    reports_usage = False
    faults = {  # noqa: RUF012
        "test_a_stream_accumulates": {"way": "stream_complete"},
        "test_a_callback_manager_sees_each_call_once": {"way": "chat"},
        "test_an_abandoned_stream_ends_what_it_began": {"way": "stream_chat"},
        "test_usage_is_reported": {"way": "chat"},
    }
    has_function_calling = has_structured_output = False

    @pytest.fixture
    def backend(self):
        return EchoBackend()
