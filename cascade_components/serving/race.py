"""Whole answers of one call: of one model at a time, or of two where the first is slow. The first good one wins."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Self

from cascade_components.serving.asking import Asking
from cascade_components.serving.lanes import Lane
from cascade_components.serving.pacing import in_time, late


@dataclass(frozen=True)
class _Running:
    """A call in a thread of its own."""

    model: str
    lane: Lane
    future: Future[Any]
    limit_s: float | None
    deadline: float

    def end(self) -> Any:
        """Its answer; where there is none yet, it is left behind.

        Raises:
            TimeoutError: It was late.
        """
        done = self.future.done()
        self.lane.close()
        if not done:
            raise late(self.model, self.limit_s)
        return self.future.result()


class Race:
    """The whole answers of one call, sync. Whatever still runs when it is left is given up."""

    def __init__(self, call: Asking) -> None:
        self._call = call
        self._running: dict[str, _Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_up()

    def runs(self, model: str) -> bool:
        """Whether the model's whole answer is on its way: it is not asked again, though it could be by a stream."""
        return model in self._running

    def answer(self) -> None:
        """Hand the call the next answer: of the model asked now, or of a rival that was faster.

        Raises:
            Exception: The model's own; a rival's is kept by the call.
        """
        call, served, hedge_s = self._call, self._call.served, None
        model = served.trace.model
        if model not in self._running:
            call.wait_turn()
            served.open_pass()
            ask, limit_s, hedge_s = call.asks(model, rival=False), served.timeout_of(model), served.hedge_s
            if limit_s is None and hedge_s is None and not self._running:
                call.receive(model, ask())
                return
            self._start(model, ask)
        while True:
            name = self._first(model, hedge_s)
            if name is None:
                self._start_rival(hedge_s or 0.0)
                hedge_s = None
                continue
            try:
                answer = self._running.pop(name).end()
            except Exception as error:
                if name == model:
                    raise
                served.fail_rival(name, error)
                continue
            if name != model:
                served.overtake(name)
            call.receive(name, answer)
            return

    def give_up(self) -> None:
        """Leave behind what still runs; its answers are dropped."""
        for name in list(self._running):
            self._running.pop(name).lane.close()
            self._call.served.cancel(name)

    def _start(self, model: str, ask: Callable[[], Any]) -> None:
        limit_s = self._call.served.timeout_of(model)
        lane = self._call.lanes.open(model)
        deadline = time.monotonic() + (math.inf if limit_s is None else limit_s)
        self._running[model] = _Running(model, lane, lane.submit(ask), limit_s, deadline)

    def _start_rival(self, after_s: float) -> None:
        served = self._call.served
        if (rival := served.open_rival(after_s)) is None:
            return
        try:
            self._start(rival, self._call.asks(rival, rival=True))
        except Exception as error:  # the first model may still answer
            served.fail_rival(rival, error)

    def _first(self, model: str, hedge_s: float | None) -> str | None:
        """Who is done or late, the model asked now before others; None: nobody is within the time to hedge."""
        hedge_at = math.inf if hedge_s is None else time.monotonic() + hedge_s
        while True:
            moment = min(hedge_at, *(one.deadline for one in self._running.values()))
            left_s = None if moment == math.inf else max(0.0, moment - time.monotonic())
            done, _ = wait([one.future for one in self._running.values()], left_s, FIRST_COMPLETED)
            now = time.monotonic()
            ended = [name for name, one in self._running.items() if one.future in done or now >= one.deadline]
            if ended:
                return model if model in ended else ended[0]
            if now >= hedge_at:
                return None


class AsyncRace:
    """`Race`, async: what is given up is cancelled, and has ended when the race is left."""

    def __init__(self, call: Asking) -> None:
        self._call = call
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.give_up()

    def runs(self, model: str) -> bool:
        """`Race.runs`."""
        return model in self._running

    async def answer(self) -> None:
        """Hand the call the next answer: of the model asked now, or of a rival that was faster.

        Raises:
            Exception: The model's own; a rival's is kept by the call.
        """
        call, served, hedge_s = self._call, self._call.served, None
        model = served.trace.model
        if model not in self._running:
            await call.await_turn()
            served.open_pass()
            ask, hedge_s = call.aasks(model, rival=False), served.hedge_s
            if hedge_s is None and not self._running:
                call.receive(model, await in_time(ask(), model, served.timeout_of(model)))
                return
            self._start(model, ask)
        while True:
            done, _ = await asyncio.wait(self._running.values(), timeout=hedge_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._start_rival(hedge_s or 0.0)
                hedge_s = None
                continue
            ended = [name for name, task in self._running.items() if task in done]
            name = model if model in ended else ended[0]
            try:
                answer = self._running.pop(name).result()
            except Exception as error:
                if name == model:
                    raise
                served.fail_rival(name, error)
                continue
            if name != model:
                served.overtake(name)
            call.receive(name, answer)
            return

    async def give_up(self) -> None:
        """Cancel what still runs, and wait until it has ended."""
        running, self._running = self._running, {}
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
        for name in running:
            self._call.served.cancel(name)

    def _start(self, model: str, ask: Callable[[], Awaitable[Any]]) -> None:
        limit_s = self._call.served.timeout_of(model)
        self._running[model] = asyncio.create_task(in_time(ask(), model, limit_s), name=f"cascade-{model}")

    def _start_rival(self, after_s: float) -> None:
        served = self._call.served
        if (rival := served.open_rival(after_s)) is None:
            return
        try:
            self._start(rival, self._call.aasks(rival, rival=True))
        except Exception as error:  # the first model may still answer
            served.fail_rival(rival, error)
