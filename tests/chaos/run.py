"""A run: waves of calls, each checked against the server's books and for what it left behind."""

import asyncio
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from time import perf_counter

from tests.chaos.asking import asked
from tests.chaos.driver import wave
from tests.chaos.faults import ANSWERING, Fault
from tests.chaos.invariants import verdict
from tests.chaos.leftovers import Before, lag_probe, memory_mb, tasks_left
from tests.chaos.pools import Threads, fitted, pools
from tests.chaos.serving import serving

_WARM_UP = 40


@dataclass
class Summary:
    """What a run found."""

    calls: int = 0
    requests: int = 0
    faults: Counter = field(default_factory=Counter)
    ends: Counter = field(default_factory=Counter)
    """Answers, errors, callers that gave up, lost calls."""
    errors: Counter = field(default_factory=Counter)
    ways: Counter = field(default_factory=Counter)
    leaked: int = 0
    """Calls whose caller read something of an answer that was not given to it."""
    truncated: int = 0
    """Answers that stand though their stream ended without a reason to end."""
    problems: list = field(default_factory=list)
    served: int = 0
    """Tokens of all answers that the server sent whole."""
    counted: int = 0
    """Tokens of those among them that the answers' traces tell of."""
    uncounted: Counter = field(default_factory=Counter)
    left: list = field(default_factory=list)
    """Tasks, threads, sockets, files, objects that were left behind."""
    memory: list = field(default_factory=list)
    """In use and resident, in MB, after each wave."""
    lags: list = field(default_factory=list)
    """How late the event loop was, in ms."""
    seconds: float = 0.0

    def add(self, outcomes, records):
        """A wave's outcomes and the server's books of it."""
        by_question = defaultdict(list)
        for record in records:
            by_question[record["question"]].append(record)
            self.faults[record["fault"]] += 1
            if record["end"] == "whole" and record["fault"] in ANSWERING:
                self.served += sum(record["usage"])
        self.calls += len(outcomes)
        self.requests += len(records)
        for outcome in outcomes:
            self._add_one(outcome, by_question[outcome.asked.number])

    def _add_one(self, outcome, records):
        one, found = outcome.asked, verdict(outcome, records)
        self.ends[outcome.end] += 1
        self.ways[one.framework, one.way, one.shape] += 1
        if outcome.error:
            self.errors[outcome.error] += 1
        self.counted += found.counted
        self.uncounted += found.uncounted
        self.leaked += any("was read" in problem for problem in found.problems)
        cut = {record["number"] for record in records if record["fault"] == Fault.CUT}
        self.truncated += outcome.end == "answer" and bool(outcome.read & cut)
        self.problems += [f"{one}: {problem}" for problem in found.problems]

    def close(self):
        """Hold the totals against each other."""
        if self.served != self.counted + self.uncounted.total():
            self.problems.append(f"{self.served} tokens were served, {self.counted} + {self.uncounted} accounted for")


def run(calls, *, callers=200, seed=0, size=1000, on_wave=None):
    """Make so many calls, in waves of a size; `on_wave` hears of each with the summary so far."""
    encoder = Threads()
    policy, summary = fitted(encoder), Summary()
    with serving(seed) as server:
        asyncio.run(_waves(server, policy, Summary(), [range(calls, calls + _WARM_UP)], callers, seed, None))
        encoder.seen.clear()
        before, start = Before(), perf_counter()
        numbers = [range(first, min(first + size, calls)) for first in range(0, calls, size)]
        asyncio.run(_waves(server, policy, summary, numbers, callers, seed, on_wave))
        summary.seconds = perf_counter() - start
        # Not after each wave: a connection that is kept open may hold the last error that it saw, and that its frames.
        summary.left += before.left() + before.objects_left()
    if threading.get_ident() in encoder.seen:
        summary.problems.append("a decision was made in the event loop's own thread")
    summary.close()
    return summary


async def _waves(server, policy, summary, waves, callers, seed, on_wave):
    async with pools(server, policy) as found:
        for numbers in waves:
            await _calls(server, found, summary, numbers, callers, seed)
            if on_wave is not None:
                on_wave(summary)


async def _calls(server, found, summary, numbers, callers, seed):
    """One wave, and what it left."""
    wishes = [asked(seed, number) for number in numbers]
    async with lag_probe(summary.lags):
        outcomes = await wave(found, wishes, callers)
    await asyncio.to_thread(server.idle)
    records = server.books()
    asked_by = {one.number: one for one in wishes}
    summary.left += [
        f"a request that nobody waits for: {record} of {asked_by[record['question']]}"
        for record in records
        if record["end"] == "open"
    ]
    summary.left += [f"task {left}" for left in await tasks_left()]
    summary.add(outcomes, records)
    summary.memory.append(memory_mb())
