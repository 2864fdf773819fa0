"""One call of a cascade, by each way of each framework."""

import asyncio
from contextlib import aclosing, closing

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from tests.chaos.asking import STREAMS
from tests.chaos.outcome import Outcome, Reading, tell_error

PATIENCE_S = 240
"""Whoever waits longer is lost; on a busy machine, many threads keep the event loop waiting for its turn."""

GIVES_UP_S = 0.1
_SHORT = 10_000


class Report(BaseModel):
    """A city and its sky."""

    city: str
    sky: str


def sky_over(city: str) -> str:
    """Tell a city's sky."""
    return "clear"


LANGCHAIN_TOOL = tool(sky_over)
LLAMA_INDEX_TOOL = FunctionTool.from_defaults(sky_over)


def ask(pools, asked):
    """A thread asks."""
    outcome, reading = Outcome(asked), Reading()
    call, args, take = _prepared(pools, asked, reading, outcome)
    try:
        if asked.way not in STREAMS:
            take(call(*args))
        else:
            with closing(call(*args)) as parts:
                for part in parts:
                    take(part)
                    if asked.gives_up:
                        break
        outcome.end = "gave up" if asked.gives_up else "answer"
    except Exception as error:
        tell_error(outcome, error)
    reading.close(outcome)
    return outcome


async def aask(pools, asked):
    """A task asks."""
    outcome, reading = Outcome(asked), Reading()
    call, args, take = _prepared(pools, asked, reading, outcome)
    try:
        async with asyncio.timeout(PATIENCE_S):
            if asked.way in STREAMS:
                await _astream(call(*args), take, asked)
            elif asked.gives_up:
                outcome.end = "gave up"
                await asyncio.wait_for(call(*args), GIVES_UP_S)
            else:
                take(await call(*args))
        outcome.end = "gave up" if asked.gives_up else "answer"
    except Exception as error:
        if not (asked.gives_up and isinstance(error, TimeoutError)):
            tell_error(outcome, error)
    reading.close(outcome)
    return outcome


async def _astream(parts, take, asked):
    parts = await parts if asyncio.iscoroutine(parts) else parts
    async with aclosing(parts):
        async for part in parts:
            take(part)
            if asked.gives_up:
                return


def _prepared(pools, asked, reading, outcome):
    """What to call, with what, and what reads the parts of its answer."""
    pool = pools[asked.framework, asked.setting]
    prepare = _langchain if asked.framework == "langchain" else _llama_index
    call, args, read = prepare(pool, asked)
    return call, args, lambda part: read(part, reading, outcome)


# — LangChain —


def _langchain(model, asked):
    if asked.shape == "tools":
        model = model.bind_tools([LANGCHAIN_TOOL])
    elif asked.shape == "structure":
        structured = model.with_structured_output(Report, include_raw=True)
        return getattr(structured, asked.way), [asked.text], _read_structure
    return getattr(model, asked.way), [[HumanMessage(asked.text)]], _read_message


def _read_message(message, reading, outcome):
    if "cascade_restart" in message.response_metadata:
        reading.restart()
    beside = (message.additional_kwargs, message.tool_calls, message.invalid_tool_calls)
    pieces = getattr(message, "tool_call_chunks", ())
    reading.add(str(message.text), *beside, pieces, message.response_metadata)
    usage = message.usage_metadata
    if usage:
        found = (usage["input_tokens"], usage["output_tokens"])
        outcome.usage = found if outcome.usage is None else tuple(map(sum, zip(outcome.usage, found, strict=True)))
    told = message.response_metadata.get("cascade")
    if told and told.get("done"):
        outcome.trace = told


def _read_structure(found, reading, outcome):
    _read_message(found["raw"], reading, outcome)
    reading.add("", found["parsed"])


# — LlamaIndex —


def _llama_index(llm, asked):
    name = {"invoke": "chat", "ainvoke": "achat", "stream": "stream_chat", "astream": "astream_chat"}[asked.way]
    messages = [ChatMessage(asked.text)]
    if asked.shape == "tools":
        call = getattr(llm, f"{name}_with_tools")
        return lambda: call([LLAMA_INDEX_TOOL], chat_history=messages), [], _read_response
    if asked.shape == "structure":
        return getattr(llm.as_structured_llm(Report), name), [messages], _read_object
    return getattr(llm, name), [messages], _read_response


def _read_response(response, reading, outcome):
    if "cascade_restart" in response.additional_kwargs:
        reading.restart()
    told = response.additional_kwargs.get("cascade") or {}
    done = bool(told.get("done"))
    content = response.message.content or ""
    delta = response.delta
    whole = content if done or len(content) < _SHORT else ""
    beside = (response.message.additional_kwargs, response.message.blocks if whole else "", response.additional_kwargs)
    reading.add(content if delta is None else delta, whole, *beside)
    if done:
        outcome.trace = told


def _read_object(response, reading, outcome):
    outcome.trace = response.additional_kwargs.get("cascade")
    reading.add("", response.message.content, response.raw, response.additional_kwargs)
