"""The loop that every adapter runs, sync and async: ask the model that a call names until an answer stands.

In sync code a call that may have to be given up runs in a thread of its own; without a time-out and hedging, every
call runs where the caller is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any

from cascade_components.deciding import decide
from cascade_components.serving.asking import Asking
from cascade_components.serving.call import ServedCall
from cascade_components.serving.pacing import apaced, paced
from cascade_components.serving.race import AsyncRace, Race


def drive(call: Asking) -> Generator[Any]:
    """Ask models until an answer stands; yield what the caller may read of it while it comes.

    Raises:
        AllModelsFailed: Nobody could answer.
        SpendLimitError: Nobody is left who can be paid.
        Exception: A stream's own, once something of it was seen.
    """
    served = call.served
    with Race(call) as race:
        while not served.trace.done:
            if served.wait_s:
                time.sleep(served.wait_s)
            try:
                if served.streaming and not race.runs(served.trace.model):
                    race.give_up()
                    yield from _stream(call)
                else:
                    race.answer()
            except Exception as error:  # whatever a provider raises: another model may answer
                served.fail(error)
                yield from call.restarted()
            else:
                call.judge()
    served.watch.end(call)


async def adrive(call: Asking) -> AsyncGenerator[Any]:
    """`drive`, async; decisions that take time are made off the event loop."""
    served = call.served
    async with AsyncRace(call) as race:
        while not served.trace.done:
            if served.wait_s:
                await asyncio.sleep(served.wait_s)
            try:
                if served.streaming and not race.runs(served.trace.model):
                    await race.give_up()
                    async with aclosing(_astream(call)) as parts:
                        async for part in parts:
                            yield part
                else:
                    await race.answer()
            except Exception as error:  # whatever a provider raises: another model may answer
                if (raised := await decide(_failed, served, error)) is not None:
                    raise raised  # noqa: B904 - mostly it is the very same
                for part in call.restarted():
                    yield part
            else:
                if served.judged_at_once:  # another thread would take longer to wake
                    call.judge()
                else:
                    await decide(call.judge)
    served.watch.aend(call)


def _failed(served: ServedCall, error: Exception) -> Exception | None:
    """What `fail` raises: a `TimeoutError` that leaves a thread by itself is made anew, without its notes."""
    try:
        served.fail(error)
    except Exception as raised:
        return raised
    return None


def _stream(call: Asking) -> Generator[Any]:
    call.wait_turn()
    model = call.served.open_pass()
    with closing(paced(call.streams(model), model, call.served.timeout_of(model), call.lanes)) as parts:
        for part in parts:
            if call.take(part):
                call.consider_release()
            yield from call.ready()
    call.end_stream()


async def _astream(call: Asking) -> AsyncGenerator[Any]:
    await call.await_turn()
    model = call.served.open_pass()
    async with aclosing(apaced(call.astreams(model), model, call.served.timeout_of(model))) as parts:
        async for part in parts:
            if call.take(part):
                await decide(call.consider_release)
            for ready in call.ready():
                yield ready
    call.end_stream()
