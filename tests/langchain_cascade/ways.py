"""Every way to ask a chat model, each down to the one message that answers."""

import warnings

from langchain_core.messages import HumanMessage
from langchain_core.prompt_values import ChatPromptValue

QUESTION = "What is 2 + 2?"


def added(chunks):
    """What the chunks of a stream make."""
    first, *rest = chunks
    return first + rest if rest else first


def trace_of(message):
    return message.response_metadata["cascade"]


def calls_of(message):
    return [(call["name"], call["args"], call["id"]) for call in message.tool_calls]


async def collected(chunks):
    return [chunk async for chunk in chunks]


def _of(result):
    return result.generations[0][0].message


def _conversation(question):
    return [HumanMessage(question)]


def _prompt(question):
    return ChatPromptValue(messages=_conversation(question))


SYNC = {
    "invoke": lambda model, question, config, /, **kwargs: model.invoke(question, config, **kwargs),
    "stream": lambda model, question, config, /, **kwargs: added(model.stream(question, config, **kwargs)),
    "batch": lambda model, question, config, /, **kwargs: model.batch([question], config, **kwargs)[0],
    "batch_as_completed": lambda model, question, config, /, **kwargs: next(
        answer for _, answer in model.batch_as_completed([question], config, **kwargs)
    ),
    "generate": lambda model, question, config, /, **kwargs: _of(
        model.generate([_conversation(question)], **(config or {}), **kwargs)
    ),
    "generate_prompt": lambda model, question, config, /, **kwargs: _of(
        model.generate_prompt([_prompt(question)], **(config or {}), **kwargs)
    ),
    "transform": lambda model, question, config, /, **kwargs: added(
        model.transform(iter([question]), config, **kwargs)
    ),
    "stream_events_v3": lambda model, question, config, /, **kwargs: (
        model.stream_events(question, config, version="v3", **kwargs).output
    ),
}


async def _one_by_one(items):
    for item in items:
        yield item


async def _astream(model, question, config, /, **kwargs):
    return added(await collected(model.astream(question, config, **kwargs)))


async def _abatch(model, question, config, /, **kwargs):
    return (await model.abatch([question], config, **kwargs))[0]


async def _abatch_as_completed(model, question, config, /, **kwargs):
    ((_, answer),) = await collected(model.abatch_as_completed([question], config, **kwargs))
    return answer


async def _agenerate(model, question, config, /, **kwargs):
    return _of(await model.agenerate([_conversation(question)], **(config or {}), **kwargs))


async def _agenerate_prompt(model, question, config, /, **kwargs):
    return _of(await model.agenerate_prompt([_prompt(question)], **(config or {}), **kwargs))


async def _atransform(model, question, config, /, **kwargs):
    return added(await collected(model.atransform(_one_by_one([question]), config, **kwargs)))


async def _astream_events_v3(model, question, config, /, **kwargs):
    return await (await model.astream_events(question, config, version="v3", **kwargs)).output


async def events_of(model, question, config=None, /, *, version, **kwargs):
    """All events of one call."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="astream_events version='v1' is deprecated")
        return await collected(model.astream_events(question, config, version=version, **kwargs))


def _by_events(version):
    async def ask(model, question, config, /, **kwargs):
        events = await events_of(model, question, config, version=version, **kwargs)
        assert events[-1]["event"].endswith("_end")
        return events[-1]["data"]["output"]

    return ask


ASYNC = {
    "ainvoke": lambda model, question, config, /, **kwargs: model.ainvoke(question, config, **kwargs),
    "astream": _astream,
    "abatch": _abatch,
    "abatch_as_completed": _abatch_as_completed,
    "agenerate": _agenerate,
    "agenerate_prompt": _agenerate_prompt,
    "atransform": _atransform,
    "astream_events_v1": _by_events("v1"),
    "astream_events_v2": _by_events("v2"),
    "astream_events_v3": _astream_events_v3,
}

EVERY = [*SYNC, *ASYNC]
RUNNABLES = [name for name in EVERY if "generate" not in name]
"""What every Runnable has; the others are chat models' own, and take no `configurable`."""


async def ask(way, model, /, question=QUESTION, config=None, **kwargs):
    """The message that one way gives."""
    if way in SYNC:
        return SYNC[way](model, question, config, **kwargs)
    return await ASYNC[way](model, question, config, **kwargs)


async def each_way(model, question=QUESTION, **kwargs):
    """The message of every way."""
    return {way: await ask(way, model, question, **kwargs) for way in EVERY}
