"""Timing functions side by side. Runs in the peers' environments as well: standard library only."""

import json
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence

WARM = 5
BLOCK = 10
"""Calls in a row before it is the next function's turn: what disturbs the machine disturbs all alike."""

QUERY = (
    "Explain how the interest on a fixed-rate mortgage of 250,000 dollars at 4.5 percent over thirty years is "
    "computed, and say how much of the first monthly payment goes to the principal, showing each step of it."
)
"""50 tokens of the default encoder's."""

ANSWER = (
    "The monthly rate is the yearly rate divided by twelve, so 4.5 percent becomes 0.375 percent. The payment of a "
    "loan that is repaid in 360 equal parts is the principal times the rate, over one minus the growth factor to the "
    "power of minus 360; it comes to 1,266.71 dollars. In the first month the interest is 937.50 dollars, and what is "
    "left of the payment, 329.21 dollars, is taken from the principal. "
) * 3
"""About 300 tokens."""


def timed(functions: Mapping[str, Callable[[], object]], calls: int) -> dict[str, dict[str, float]]:
    """Call the functions in turn; for each name the milliseconds of a call: `p50`, `p99`, and `cpu`, its p50."""
    wall: dict[str, list[float]] = {name: [] for name in functions}
    cpu: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        for _ in range(WARM):
            function()
    for _ in range(max(1, calls // BLOCK)):
        for name, function in functions.items():
            for _ in range(BLOCK):
                began, spent = time.perf_counter(), time.process_time()
                function()
                wall[name].append(1000 * (time.perf_counter() - began))
                cpu[name].append(1000 * (time.process_time() - spent))
    found = {}
    for name in functions:
        middle, late = middle_and_late(wall[name])
        found[name] = {"p50": middle, "p99": late, "cpu": statistics.median(cpu[name])}
    return found


def from_threads(function: Callable[[], object], callers: int, seconds: float) -> tuple[list[float], float]:
    """Call a function from so many threads, each again and again, for so long.

    Returns:
        The milliseconds of each call, and the seconds until the last one ended.
    """
    spent: list[float] = []
    until = time.perf_counter() + seconds

    def call() -> None:
        while (began := time.perf_counter()) < until:
            function()
            spent.append(1000 * (time.perf_counter() - began))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spent, time.perf_counter() - began


def middle_and_late(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def report(rows: Mapping[str, Mapping[str, float]], reference: str) -> None:
    """What a worker has found out, for `peers.measured` to read."""
    print(json.dumps({"rows": rows, "reference": reference}))
