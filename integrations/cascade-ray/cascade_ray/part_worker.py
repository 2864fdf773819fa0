"""What a worker of a distributed capture does: one part after the other, each as `cascade capture` does the whole."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from cascade_cli.capture_grading import Graded, grade_answers
from cascade_cli.capture_pool import ModelEntry, PoolFile
from cascade_cli.capture_setup import Models, Setup, make_models
from cascade_components.grading import Question
from cascade_ray.parts import Parts
from cascade_ray.purse import SharedBudget
from langchain_cascade.captures.budget import Budget
from langchain_cascade.captures.engine import Filled, fill
from langchain_cascade.captures.judge import Judge
from langchain_cascade.captures.member import Member
from langchain_cascade.captures.store import AnswerStore

QUESTION = TypeAdapter(Question)


@dataclass
class Done:
    """What became of a part."""

    graded: Graded = field(default_factory=Graded)
    filled: Filled = field(default_factory=Filled)
    answers: int = 0
    """All that the part holds."""
    spent_usd: float = 0.0
    """On all that it holds."""
    error: Exception | None = None
    """What ended it before its time, and is to end the run."""


class PartWorker:
    """An actor of Ray Data.

    Args:
        setup: What is captured; its questions come in batches.
        parts: Where the answers are kept; on a disk that all machines share.
        workers: How many there are: each has that share of a model's limits.
        purse: Handle of the `Purse`; None: there is no cap.
    """

    def __init__(self, setup: Setup, parts: Parts, workers: int, purse: Any = None) -> None:
        self._setup = setup
        self._parts = parts
        self._pool = shared(setup.pool, workers)
        self._purse = purse
        self._made: Models | None = None
        self._given_up: dict[str, str] = {}
        # One loop for all parts: chat models keep their connections, which belong to the loop that they began in.
        self._runner = asyncio.Runner()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Answer and grade the questions of whole parts."""
        dealt: dict[int, list[Question]] = {}
        for number, text in zip(batch["part"].tolist(), batch["question"].tolist(), strict=True):
            dealt.setdefault(number, []).append(QUESTION.validate_json(text))
        done = [pickle.dumps(self._done(number, questions)) for number, questions in dealt.items()]
        return {"part": np.array(list(dealt)), "done": done}

    def close(self) -> None:
        """End the loop, where the process does not end with the worker."""
        self._runner.close()

    def _done(self, number: int, questions: Sequence[Question]) -> Done:
        try:
            models = self._made = self._made or make_models(self._setup.options, self._pool)
            with self._parts.open(number) as store:
                return self._worked(number, store, questions, models)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            return Done(error=error)  # told by the driver as it is, without Ray's account of where it happened

    def _worked(self, number: int, store: AnswerStore, questions: Sequence[Question], models: Models) -> Done:
        options = self._setup.options
        store.expect(questions, {member.name: member.fingerprint for member in models.members.values()})
        cap = options.max_cost
        budget = Budget(None) if cap is None or self._purse is None else SharedBudget(cap, self._purse, number)
        filled = Filled()
        if not options.regrade:
            filled = self._runner.run(self._filled(store, list(models.members.values()), questions, budget))
        graded = grade_answers(
            [found for found in store.answers() if found[0].run < options.runs or options.regrade],
            questions,
            models.priced,
            self._setup.grader or Judge(next(iter(models.judges.values())), store, budget, self._setup.rubric),
            agree_with=options.agree_with,
            concurrency=max((judge.concurrency for judge in models.judges.values()), default=1),
        )
        known = {**models.priced, **models.judges}.values()
        spent = sum(Budget.over(None, [member], store.tokens()).spent for member in known)
        return Done(graded, filled, len(store.answered()), spent)

    async def _filled(
        self, store: AnswerStore, members: Sequence[Member], questions: Sequence[Question], budget: Budget
    ) -> Filled:
        # Models that know no asyncio are asked in threads, and answers are written in them.
        threads = ThreadPoolExecutor(4 + sum(member.concurrency for member in members))
        asyncio.get_running_loop().set_default_executor(threads)
        asked = [member for member in members if member.name not in self._given_up]
        filled = await fill(store, asked, questions, budget=budget, runs=self._setup.options.runs)
        self._given_up |= filled.given_up
        filled.given_up = dict(self._given_up)
        threads.shutdown(wait=False)
        return filled


def shared(pool: PoolFile, workers: int) -> PoolFile:
    """The pool with a worker's share of each provider's limits: together they keep to what the file says."""

    def share(entry: ModelEntry) -> ModelEntry:
        if entry.embedded:
            return entry
        rate = entry.requests_per_minute
        changed = {"concurrency": entry.at_once // workers, "requests_per_minute": rate and rate / workers}
        return entry.model_copy(update=changed)

    return pool.model_copy(
        update={
            "models": {name: share(entry) for name, entry in pool.models.items()},
            "judges": {name: share(entry) for name, entry in pool.judges.items()},
        }
    )
