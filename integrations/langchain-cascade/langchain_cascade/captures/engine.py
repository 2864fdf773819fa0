"""Asks every model every question that is not answered yet: at once, within limits, each answer onto the disk first."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from cascade_components.failures import told
from cascade_components.grading import Question
from cascade_components.serving.faults import may_pass, retry_after_s
from langchain_cascade.captures.budget import Budget, CapReachedError
from langchain_cascade.captures.measuring import Measured, ameasure
from langchain_cascade.captures.member import Member
from langchain_cascade.captures.refusals import explained, is_final
from langchain_cascade.captures.store import AnswerStore, Cell, StoreError

GIVE_UP_AFTER = 5
"""Questions in a row that a model fails at before it is not asked any more in this run."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0


@dataclass
class Filled:
    """What one run did."""

    answers: Counter[str] = field(default_factory=Counter)
    """New answers of each model."""
    failures: Counter[str] = field(default_factory=Counter)
    given_up: dict[str, str] = field(default_factory=dict)
    """Why a model was not asked to the end."""
    last_error: dict[str, str] = field(default_factory=dict)
    capped: str | None = None
    """What the spending cap said, where it ended the run."""


async def fill(
    store: AnswerStore,
    members: Sequence[Member],
    questions: Sequence[Question],
    *,
    budget: Budget,
    runs: int = 1,
    stop: asyncio.Event | None = None,
    tick: Callable[[Filled], None] = lambda _: None,
) -> Filled:
    """Ask what is missing in the store.

    Errors that may pass are retried; others are noted in the store with their kind, and asked again by the next call.
    A model whose key is refused, which is not there, or which fails at five questions in a row is given up.

    Args:
        store: Knows what is answered, and keeps what is new before it is counted.
        members: The models; each has limits of its own.
        questions: In the order in which they are asked.
        budget: What may be spent.
        runs: How often each question is asked.
        stop: When set, nothing new is asked; what is under way is awaited.
        tick: Called after each answer or failure.

    Raises:
        StoreError: An answer could not be kept; calls under way are dropped.
    """
    filled, stopping, answered = Filled(), stop or asyncio.Event(), store.answered()
    alone = asyncio.Lock()
    try:
        async with asyncio.TaskGroup() as group:
            for member in members:
                missing = [
                    (Cell(question.id, member.name, run), question)
                    for run in range(runs)
                    for question in questions
                    if (question.id, member.name, run) not in answered
                ]
                lane = alone if member.on_this_machine else contextlib.nullcontext()
                asking = _Asking(member, store, budget, filled, stopping, tick, iter(missing), lane)
                for _ in range(min(member.concurrency, len(missing))):
                    group.create_task(asking.work())
    except* StoreError as errors:
        raise _first(errors) from None
    return filled


def _first(errors: BaseExceptionGroup[StoreError]) -> StoreError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, StoreError)  # noqa: S101
    return found


@dataclass
class _Asking:
    """One model's calls; its workers share the questions that are left."""

    member: Member
    store: AnswerStore
    budget: Budget
    filled: Filled
    stopping: asyncio.Event
    tick: Callable[[Filled], None]
    missing: Iterator[tuple[Cell, Question]]
    lane: AbstractAsyncContextManager[object]
    _warm: bool = False
    _failed_in_a_row: int = 0
    _not_before: float = 0.0

    @property
    def _over(self) -> bool:
        return self.stopping.is_set() or self.filled.capped is not None or self.member.name in self.filled.given_up

    async def work(self) -> None:
        """Ask until nothing is left, or nothing may be asked any more."""
        for cell, question in self.missing:
            if not await self._turn():
                return
            try:
                async with self.budget.reserved(self.member, _length(question)):
                    if self._over:
                        return
                    await self._have(cell, question)
            except CapReachedError as reached:
                self.filled.capped = str(reached)
                return
            self.tick(self.filled)

    async def _have(self, cell: Cell, question: Question) -> None:
        try:
            measured = await self._asked(question)
        except Exception as error:  # whatever a provider raises: noted, never taken for a wrong answer
            await self._failed(cell, error)
            return
        # The disk's time is no other call's time.
        await asyncio.to_thread(self.store.add, cell, measured)
        self._failed_in_a_row = 0
        self.filled.answers[cell.model] += 1
        cost = self.member.cost_usd(measured)
        self.budget.pay(self.member, cost, measured.output_tokens)
        if cost is None and self.budget.cap is not None:
            self.filled.given_up.setdefault(cell.model, "tells no token counts, so that --max-cost cannot hold")

    async def _asked(self, question: Question) -> Measured:
        prompt, member = self.member.prompt(question), self.member
        for attempt in range(member.retries + 1):
            try:
                async with self.lane, asyncio.timeout(member.timeout_s):
                    await self._warmed()
                    return await ameasure(member.model, prompt, member.name)
            except Exception as error:
                if attempt == member.retries or not may_pass(error) or self._over:
                    raise
                await self._wait(error, attempt)
                if not await self._turn():
                    raise
        raise AssertionError

    async def _warmed(self) -> None:
        if self.member.on_this_machine and not self._warm:
            self._warm = True
            await self.member.model.ainvoke("Hello", max_tokens=1)

    async def _wait(self, error: Exception, attempt: int) -> None:
        told_s = retry_after_s(error)
        if told_s is not None:  # it asks all to wait
            now = asyncio.get_running_loop().time()
            self._not_before = max(self._not_before, now + min(told_s, _LONGEST_WAIT_S))
            await self._pause(self._not_before - now)
            return
        await self._pause(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt) * (0.5 + random.random()))

    async def _failed(self, cell: Cell, error: Exception) -> None:
        await asyncio.to_thread(self.store.add_failure, cell, told(error))
        filled, name = self.filled, cell.model
        filled.failures[name] += 1
        filled.last_error[name] = explained(self.member, error)
        self._failed_in_a_row += 1
        if is_final(error):
            filled.given_up.setdefault(name, filled.last_error[name])
        elif self._failed_in_a_row >= GIVE_UP_AFTER:
            times = f"failed at {GIVE_UP_AFTER} questions in a row, the last time with"
            filled.given_up.setdefault(name, f"{times} {filled.last_error[name]}")

    async def _turn(self) -> bool:
        """Wait until the model may be asked; False: it is not to be asked any more."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._not_before)
        if self.member.requests_per_minute:
            self._not_before = turn + 60 / self.member.requests_per_minute
        await self._pause(turn - now)
        return not self._over

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until the run is to stop."""
        if seconds > 0:
            try:
                await asyncio.wait_for(self.stopping.wait(), seconds)
            except TimeoutError:
                return


def _length(question: Question) -> int:
    """Characters of what is asked."""
    if question.messages:
        return sum(len(str(message.get("content", ""))) for message in question.messages)
    return len(question.text)
