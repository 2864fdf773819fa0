"""How `fit` grows: time, memory and what takes them, for more and more queries.

    python benchmarks/scale.py                                  # 1,000, 10,000 and 100,000 queries × 10 models
    python benchmarks/scale.py --sizes 2000 20000 --models 5

Each size is fitted in a process of its own, on one thread, two at a time, from an outcome file that is written before.
Time is the processor's; memory is the process's peak, the libraries and the outcomes themselves included.

The world is synthetic: topics with words of their own, models whose skill differs by topic, answers that tell a little
of whether they are right. "without embedding" leaves out the time within the encoder, a stand-in that hashes words.
"with embedding" adds what the default encoder would take: its time for a sample of these texts (`--sample`), by their
characters. "refit" fits again, up to `--small` queries, with the embeddings that the first fit left on disk. In
brackets stands the exponent of the growth from the size before: 1 is linear.

Of the peers' fitting only the search for clusters can be compared: cre-router is given statistics and a trained
estimator. Its search, where it is installed, and up to `--small` queries, stands beside ours.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scale_world import StandIn, World

SIZES = (1_000, 10_000, 100_000)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PHASES = {
    "load_outcomes": "load",
    "find_clusters": "cluster",
    "judge_answers": "estimators",
    "release_rules": "early release",
    "_options": "options",
}
"""Functions that `fit` calls, and what the table calls them."""
REST = "planning, rest"
COLUMNS = (
    "queries",
    "without embedding, s",
    "with embedding, s",
    "refit, s",
    "memory, MB",
    "clusters, s",
    "cre-router's, s",
    "texts embedded",
    "clusters",
    "gated",
)


class Clock:
    """Processor time of each phase, without that of the phases within it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.peaks: dict[str, float] = {}
        """Peak memory so far at the end of each phase, MB."""
        self._running = [""]
        self._since = time.process_time()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Within it, time counts for this phase."""
        self._lap()
        self._running.append(name)
        try:
            yield
        finally:
            self._lap()
            self._running.pop()
            self.peaks[name] = peak()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted."""

        @wraps(function, updated=())
        def run(*arguments: Any, **named: Any) -> Any:
            with self.phase(name):
                return function(*arguments, **named)

        return run

    def _lap(self) -> None:
        now = time.process_time()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now


def measure(path: Path, cache: Path | None, sample: int) -> dict[str, Any]:
    """Fit once, in this process."""
    from cascade_components import fitting

    clock, encoder = Clock(), StandIn()
    for name, phase in PHASES.items():
        setattr(fitting, name, clock.timed(phase, getattr(fitting, name)))
    timed = clock.timed("encoder", encoder)
    timed.cache_key = "words"  # type: ignore[attr-defined]
    with clock.phase(REST):
        policy = fitting.fit(path, encoder=timed, cache=cache)
    found = {
        "seconds": dict(clock.seconds),
        "peaks": clock.peaks,
        "memory": peak(),
        "texts": encoder.texts,
        "characters": encoder.characters,
        "clusters": len(policy.centroids),
        "gated": sum(plan.target is not None for plan in policy.plans()),
    }
    return found | ({"pace": pace(encoder.sample, sample)} if sample else {})


def measure_peer(path: Path) -> dict[str, Any]:
    """Let cre-router find clusters of the same queries."""
    from cre_router.clustering import fit_clusters

    from cascade_components import load_outcomes

    vectors = StandIn()(list(load_outcomes(path).queries.values()))
    start = time.process_time()
    fit_clusters(vectors)
    return {"peer": time.process_time() - start}


def pace(texts: list[str], count: int) -> float:
    """Seconds that the default encoder takes for a character of such texts, in batches of similar length."""
    from cascade_components.encoders import CachedEncoder, SentenceTransformerEncoder, encode_with_progress

    texts = [texts[at] for at in np.random.default_rng(0).permutation(len(texts))[:count]]
    encoder = SentenceTransformerEncoder()
    encoder(texts[:4])
    start = time.process_time()
    encode_with_progress(CachedEncoder(encoder, count), texts, "a sample", progress=True)
    return (time.process_time() - start) / sum(map(len, texts))


def peak() -> float:
    """Most memory that this process had so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(path: Path, *options: str) -> dict[str, Any]:
    """Measure in a fresh process, on one thread."""
    command = [sys.executable, __file__, "--measure", str(path), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(found: dict[int, dict[str, Any]], models: int) -> Iterator[Table]:
    """The table of sizes, and that of the phases."""
    speed = next(row["pace"] for row in found.values() if "pace" in row)
    sizes = Table(title=f"fit on queries × {models} models, one thread")
    for name in COLUMNS:
        sizes.add_column(name, justify="right")
    phases = Table("queries", *PHASES.values(), REST, title="share of the time without embedding")
    before: tuple[int, list[float]] | None = None
    for size, row in found.items():
        spent = row["seconds"]
        own = sum(seconds for name, seconds in spent.items() if name != "encoder")
        times = [own, own + row["characters"] * speed, row.get("refit", math.nan)]
        values = [*times, row["memory"], spent["cluster"], row.get("peer", math.nan)]
        shown = ["–" if math.isnan(value) else f"{value:,.0f}" for value in values]
        if before is not None:
            grown = [_exponent(size / before[0], now, then) for now, then in zip(values, before[1], strict=True)]
            pairs = zip(shown, grown, strict=True)
            shown = [text if math.isnan(by) else f"{text} ({by:.2f})" for text, by in pairs]
        sizes.add_row(f"{size:,}", *shown, f"{row['texts']:,}", str(row["clusters"]), str(row["gated"]))
        phases.add_row(f"{size:,}", *(f"{spent.get(name, 0) / own:.0%}" for name in (*PHASES.values(), REST)))
        before = size, values
    yield from (sizes, phases)


def _exponent(times: float, after: float, before: float) -> float:
    return math.log(after / before) / math.log(times)


def main() -> None:
    """Measure each size, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of queries")
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--sample", type=int, default=500, help="texts on which the default encoder is timed")
    parser.add_argument("--small", type=int, default=1_000, help="most queries to fit again, and for cre-router")
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(
            json.dumps(measure_peer(asked.measure) if asked.peer else measure(asked.measure, asked.cache, asked.sample))
        )
        return
    sizes = sorted(asked.sizes)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as processes:
        # The largest first: it takes as long as the others together.
        running = {
            size: processes.submit(
                measured, Path(folder), size, asked.models, asked.small, asked.sample * (size == sizes[0])
            )
            for size in reversed(sizes)
        }
        found = {size: running[size].result() for size in sizes}
    Console(width=None if sys.stdout.isatty() else 140).print(*report(found, asked.models))
    if asked.json:
        asked.json.write_text(json.dumps(found))


def measured(folder: Path, size: int, models: int, small: int, sample: int) -> dict[str, Any]:
    """All that is measured of one size."""
    path, cache = folder / f"outcomes-{size}.jsonl", ("--cache", str(folder / f"vectors-{size}.sqlite"))
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in World(models).rows(size))
    found = in_a_process(path, *cache, "--sample", str(sample))
    if size <= small:
        found["refit"] = sum(in_a_process(path, *cache, "--sample", "0")["seconds"].values())
        found |= in_a_process(path, "--peer") if find_spec("cre_router") else {}
    return found


if __name__ == "__main__":
    main()
