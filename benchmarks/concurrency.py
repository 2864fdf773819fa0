"""Decisions per second of many callers at once, and what an event loop feels of it.

    python benchmarks/concurrency.py [--callers 64] [--seconds 5] [--backends torch,onnx,distilled]

A decision is a route of a new query of about 12 tokens (`--words` for longer ones). Unbatched, every caller encodes its
own text, as it would without the batcher; the encoder alone, fed whole batches, is what no batcher can exceed. The
loop's lag is how much later than asked a sleep of a millisecond ends: on the callers' loop, and, at the same time, on a
loop that is alone in a process of its own, where it can only be the machine's.
Peers: the router of cre-router, driven in threads as its server does, in an environment of its own.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from latency import idle_loop, peers
from latency.timing import from_threads, middle_and_late
from latency.world import make_policy

import cascade_components as cc
from cascade_components.deciding import decide_on
from cascade_components.encoders import DEFAULT_ENCODER, Encoder, encoder_from_spec

Start = Callable[[str], object]


@dataclass(frozen=True)
class Found:
    """What callers saw."""

    per_second: float
    p50_ms: float
    p99_ms: float
    lag_ms: tuple[float, float] | None = None
    """On the callers' loop, p50 and p99."""
    machine_ms: tuple[float, float] | None = None
    """On a loop that does nothing, in another process."""

    def row(self, name: str, reference: "Found") -> str:
        """A line of the table."""
        lags = ["" if lag is None else "{:.1f} / {:.1f}".format(*lag) for lag in (self.lag_ms, self.machine_ms)]
        return (
            f"| {name} | {self.per_second:.0f} | {self.per_second / reference.per_second:.1f} | "
            f"{self.p50_ms:.0f} | {self.p99_ms:.0f} | {' | '.join(lags)} |"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--words", type=int, default=8, help="of a query")
    parser.add_argument("--backends", default="torch,onnx,distilled")
    options = parser.parse_args()
    queries = Queries(options.words)
    print("| | decisions a second | × unbatched torch | p50 ms | p99 ms | lag of the loop | of an idle process |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    reference: Found | None = None
    for backend in options.backends.split(","):
        encoder = encoder_from_spec(f"{backend}:{DEFAULT_ENCODER}")
        policy = make_policy(encoder).warm_up()
        start = cc.Cascade(policy).start
        unbatched = cc.Cascade(_Bare(policy, encoder)).start
        ways: dict[str, Callable[[], Found]] = {
            f"encoder alone, batches of {options.callers}": lambda encoder=encoder: batches(
                encoder, queries, options.callers, options.seconds
            ),
            "one caller": lambda start=start: threads(start, queries, 1, options.seconds),
            f"{options.callers} threads, unbatched": lambda start=unbatched: threads(
                start, queries, options.callers, options.seconds
            ),
            f"{options.callers} threads": lambda start=start: threads(start, queries, options.callers, options.seconds),
            f"{options.callers} tasks, asyncio.to_thread": lambda start=start: tasks(
                lambda query: asyncio.to_thread(start, query), queries, options.callers, options.seconds
            ),
            f"{options.callers} tasks": lambda start=start, policy=policy: tasks(
                lambda query: decide_on(query, policy, start, query), queries, options.callers, options.seconds
            ),
        }
        found = {name: way() for name, way in ways.items()}
        reference = reference or found[f"{options.callers} threads, unbatched"]
        for name, one in found.items():
            print(one.row(f"{backend}, {name}", reference), flush=True)
    _peers(options.callers, options.seconds)


@dataclass(frozen=True)
class _Bare:
    """A policy whose callers encode one by one, each in its own thread."""

    policy: cc.CascadePolicy
    encode: Encoder

    @property
    def models(self) -> tuple[str, ...]:
        return self.policy.models

    @property
    def fingerprint(self) -> str:
        return self.policy.fingerprint

    def route(self, query: str, available: frozenset[str]) -> cc.Route:
        self.encode([query])
        return self.policy.route("known", available)

    def estimator(self, model: str) -> cc.QualityEstimator | None:
        return self.policy.estimator(model)


class Queries:
    """Queries that no cache has seen; threads may share it."""

    def __init__(self, words: int) -> None:
        self._text = " ".join(("explain the interest of a loan in a few steps please " * 50).split()[:words])
        self._numbers = itertools.count()

    def next(self) -> str:
        """The next one."""
        return f"{next(self._numbers)} {self._text}"


def batches(encoder: Encoder, queries: Queries, size: int, seconds: float) -> Found:
    """The encoder alone, on one batch after the other; the time of a text is that of its batch."""
    spent, took = from_threads(lambda: encoder([queries.next() for _ in range(size)]), 1, seconds)
    return _found([each for each in spent for _ in range(size)], took)


def threads(start: Start, queries: Queries, callers: int, seconds: float) -> Found:
    """Callers in threads, one decision after the other each."""
    return _found(*from_threads(lambda: start(queries.next()), callers, seconds))


def tasks(start: Callable[[str], Awaitable[object]], queries: Queries, callers: int, seconds: float) -> Found:
    """Callers on one event loop, beside a probe of its lag."""
    return asyncio.run(_tasks(start, queries, callers, seconds))


async def _tasks(start: Callable[[str], Awaitable[object]], queries: Queries, callers: int, seconds: float) -> Found:
    spent: list[float] = []
    await asyncio.gather(*[start(queries.next()) for _ in range(callers)])  # threads start, before the clock runs
    beside = [sys.executable, idle_loop.__file__, str(seconds)]
    idle = subprocess.Popen(beside, stdout=subprocess.PIPE)  # noqa: ASYNC220 - a moment, before the clock runs
    until = time.perf_counter() + seconds

    async def call() -> None:
        while (began := time.perf_counter()) < until:
            await start(queries.next())
            spent.append(1000 * (time.perf_counter() - began))

    began = time.perf_counter()
    lags, *_ = await asyncio.gather(idle_loop.lags(seconds), *[call() for _ in range(callers)])
    took = time.perf_counter() - began
    machine = json.loads(idle.communicate()[0])
    return replace(_found(spent, took), lag_ms=middle_and_late(lags), machine_ms=middle_and_late(machine))


def _found(spent: list[float], took: float) -> Found:
    return Found(len(spent) / took, *middle_and_late(spent))


def _peers(callers: int, seconds: float) -> None:
    peer = peers.Peer("cre-router 0.6.3", "cre_concurrency.py", ("cre-router==0.6.3",))
    found = peers.measured(peer, str(callers), str(seconds))
    if "error" in found:
        print(f"| cre-router 0.6.3 | not measured: {found['error']} | | | | | |")
        return
    rows = found["rows"]
    alone = rows[found["reference"]]["per_second"]
    for name, row in rows.items():
        print(
            f"| cre-router 0.6.3, {name} | {row['per_second']:.0f} | ({row['per_second'] / alone:.1f} × its own one "
            f"caller) | {row['p50']:.0f} | {row['p99']:.0f} | | |"
        )


if __name__ == "__main__":
    main()
