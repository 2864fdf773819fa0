"""What a subclass of the conformance suite gives: a backend, capabilities and what it expects."""

import inspect
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import llama_index.core
import pytest
from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms import LLM
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

CHATS = ("chat", "stream_chat", "achat", "astream_chat")
COMPLETIONS = ("complete", "stream_complete", "acomplete", "astream_complete")
PREDICTIONS = ("predict", "stream", "apredict", "astream")
STRUCTURED = ("structured_predict", "stream_structured_predict", "astructured_predict", "astream_structured_predict")
TOOL_CHATS = ("chat_with_tools", "stream_chat_with_tools", "achat_with_tools", "astream_chat_with_tools")
CALLS = ("predict_and_call", "apredict_and_call")
QUESTION = "What is the weather in Oslo?"
CONCURRENCY = 50
PATIENCE_S = 20
"""How long a backend waits for the calls that should come beside the first one."""


class Behaviour(StrEnum):
    """How the model behind an LLM behaves."""

    ANSWERS = "answers"
    """With a text, always the same; with a call of the first tool if it is offered tools and has no result yet; with
    a structure that fits if it is asked for one."""
    RELUCTANT = "reluctant"
    """As above, but calls a tool only if it must."""
    EAGER = "eager"
    """As above, but calls every tool that it is offered, whatever it is told."""
    FAILS = "fails"
    """With an error, before the first word."""
    BREAKS = "breaks"
    """With an error after the first words of a stream."""
    WAITS = "waits"
    """As the first, once `CONCURRENCY` calls are in flight; after `PATIENCE_S` it answers anyway."""


@dataclass(frozen=True)
class Request:
    """What reached the model behind an LLM in one call."""

    roles: tuple[str, ...]
    """Of the messages; a bare prompt is one message of the user."""
    texts: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    """Everything beside the messages."""
    images: int = 0


class Backend(Protocol):
    """Makes LLMs, and sees what reaches the model behind them."""

    @property
    def requests(self) -> list[Request]:
        """In order; a call that took several models is several requests."""

    @property
    def peak(self) -> int:
        """The most calls that were in flight at once."""

    def make(self, behaviour: Behaviour = Behaviour.ANSWERS, **fields: Any) -> LLM:
        """A new LLM; `fields` are those that every LLM has: `callback_manager`, `system_prompt`, `output_parser`."""


def weather(city: str) -> str:
    """Tell a city's weather."""
    return f"rain in {city}"


def clock(city: str) -> str:
    """Tell a city's time."""
    return f"noon in {city}"


def closed(city: str) -> str:
    """Tell when a city closes."""
    raise LookupError(f"{city} never closes")


WEATHER, CLOCK, CLOSED = (FunctionTool.from_defaults(fn=one) for one in (weather, clock, closed))


class Report(BaseModel):
    """A weather report."""

    city: str
    degrees: int


def needs(*flags):
    """Skip a check where one of the flags is False."""

    def mark(check):
        check.needs = flags
        return check

    return mark


async def ask(llm, way, *args, **kwargs):
    """Everything that one call gives, in order, whichever way it is made."""
    found = getattr(llm, way)(*args, **kwargs)
    if inspect.isawaitable(found):
        found = await found
    if isinstance(found, AsyncGenerator):
        return [one async for one in found]
    return list(found) if isinstance(found, Generator) else [found]


async def run_check(suite, name, backend, parameters):
    """Run one check of a suite with the fixtures that it wants."""
    check = getattr(suite, name)
    given = {"backend": backend, "llm": backend.make(), **parameters}
    found = check(**{one: given[one] for one in inspect.signature(check).parameters})
    if inspect.isawaitable(found):
        await found


def text_of(response):
    """The text of a chat response or a completion."""
    return response.message.content if isinstance(response, ChatResponse) else response.text


class Contract:
    """The capabilities of an LLM; a subclass overrides what differs, and says why in a comment."""

    text: str | None = None
    """What it answers; None: any text."""
    prompt_text: str | None = None
    """What it answers to a bare prompt; None: the same."""
    error: type[BaseException] | tuple[type[BaseException], ...] = Exception
    """What a caller gets when the model fails; any of several."""
    secret: str | None = None
    """What the backend gave it that nobody may see, for instance its key."""
    option = ("seed", 7)
    """An argument of a call that the model behind it knows."""
    empty_messages: type[Exception] | None = None
    """What an empty list of messages raises; None: it is sent like any other."""

    is_chat_model = True
    has_function_calling = True
    has_tool_required = True
    """`tool_required=True` reaches the model."""
    has_missing_call_error = True
    """`get_tool_calls_from_response` knows `error_on_no_tool_call`."""
    has_single_call = True
    """Without `allow_parallel_tool_calls`, one call at most reaches the caller of `chat_with_tools`."""
    has_structured_output = True
    supports_images = False
    reports_usage = True
    """`raw["usage"]` and `additional_kwargs` tell the tokens, in a stream with its last response."""
    true_async = True
    """An asynchronous call does not hold up the event loop."""
    streams_in_chunks = True
    streams_accumulate = True
    """A response of a stream holds all the text so far."""
    can_fail = True
    """The backend can be made to fail."""
    shows_requests = True
    """The backend sees what reaches the model."""
    sends_prompts = True
    """A completion asks the model; False where it only echoes its prompt."""
    sends_tool_arguments = True
    """Further arguments of a chat with tools reach the model."""
    counts_once = True
    """Each call of a model is one event for the callback manager and one for the dispatcher."""
    nests_streams = True
    """The spans of a stream hang under the span of the call."""
    closes_streams = True
    """A stream that is closed ends what it began at once."""
    keeps_chat_history = True
    """The caller's `chat_history` is as it was."""
    dict_is_json = True
    dict_is_safe = True
    """Neither `to_dict` nor `repr` holds the secret."""
    round_trips = True
    """`rebuilt` makes the same LLM."""
    pickles = True

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError("give a fixture `backend` that has `make`, `requests` and `peak`")

    @pytest.fixture
    def llm(self, backend):
        return backend.make()

    @pytest.fixture(autouse=True)
    def _capable(self, request):
        lacking = [flag for flag in getattr(request.function, "needs", ()) if not getattr(self, flag)]
        if lacking:
            pytest.skip(f"{' and '.join(lacking)}: False")

    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch):
        """Words for tokens: LlamaIndex's own tokenizer may want to fetch its vocabulary."""
        monkeypatch.setattr(llama_index.core, "global_tokenizer", str.split)

    def calls_of(self, way: str) -> int:  # what a subclass may look at
        """How many calls of models one call that way takes; each of them is an LLM event."""
        return 1

    def rebuilt(self, llm: LLM) -> LLM:
        """The LLM made anew from its serialised form, and from what that cannot hold."""
        return type(llm).from_dict(llm.to_dict())

    def check_text(self, text, *, prompt=False):
        """A text is what the LLM is known to answer."""
        expected = self.prompt_text if prompt and self.prompt_text is not None else self.text
        assert text if expected is None else text == expected
