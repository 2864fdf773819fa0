"""Is the certificate true, and what does it cost? Violations and savings at 300, 1,000 and 5,000 calibration queries.

    python benchmarks/certificate.py --data DIR                        # DIR/mmlu_pro.jsonl.gz
    python benchmarks/certificate.py --data DIR --source zeroeval --models gpt-4o-mini-2024-07-18 gpt-4o-2024-08-06

One policy is fitted on a part of the queries, and its front is replayed once on all others. They are the population:
"drawn" calibration queries come from it with replacement, the retention of every plan is known, and a violation is a
violation, not the noise of a test set. "Resplits" cut it in two instead, and read off the second part what is kept and
saved. "At the boundary" one plan is tested whose retention is exactly what is claimed: all that is certified there is
false. All tests see the same draws; no model is called.

The data: one JSON object a line, with `query_id`, `query` and `models`: {name: {`correct`, `output`, `cost_usd`,
`output_tokens`}}.
"""

import argparse
import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binom, binomtest, norm

import cascade_components as cc
from cascade_components.arrays import Floats, Labels
from cascade_components.certificate import largest_capital, rejected_in_a_row
from cascade_components.certifying import chain_of

SIZES = (300, 1_000, 5_000)
VALUES_AT_A_TIME = 5_000_000

Row = dict[str, str | int | float]
World = tuple[float, Callable[[np.random.Generator, tuple[int, int]], tuple[Floats, Floats]]]
"""What the system keeps of the strongest model's accuracy, and draws of their accuracies."""
Verdicts = NDArray[np.bool_]
Test = Callable[[Floats, Floats, float, float], Verdicts]
"""Accuracies of the system and of the strongest model, shape (..., n), retention and δ → certified, shape (...)."""


def main() -> None:
    """Fit, replay, draw, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the source's file")
    parser.add_argument("--source", default="mmlu_pro")
    parser.add_argument("--models", nargs="+", default=["gemini-1.5-flash-002", "gemini-1.5-pro-002"])
    parser.add_argument("--fit-share", type=float, default=0.3, help="share of the queries to fit on")
    parser.add_argument("--retention", type=float, nargs="+", default=[0.98, 0.95])
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--output", type=Path, help="CSV of all figures")
    asked = parser.parse_args()
    train, others = read(asked.data / f"{asked.source}.jsonl.gz", asked.models).split(asked.fit_share)
    policy = cc.fit(train, encoder=text_encoder(train), retention=asked.retention[0], progress=False)
    delta = 1 - asked.confidence
    fronts = {retention: Front.of(policy, others, retention) for retention in asked.retention}
    worlds = {f"the plan for {retention:.0%}": planned(front) for retention, front in fronts.items()}
    rows = list(boundary(worlds | SIMULATED, delta, asked.draws))
    for retention, front in fronts.items():
        rows += savings(front, retention, delta, asked.draws)
    show(rows, f"{asked.source}: fit {len(train.queries):,} queries, population {len(others.queries):,}, δ {delta:.2g}")
    if asked.output:
        with asked.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def read(path: Path, models: list[str]) -> cc.Outcomes:
    """The outcomes of some models on all queries of a source."""
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    fields = ("correct", "output", "cost_usd", "output_tokens")
    return cc.load_outcomes(
        {"query_id": record["query_id"], "query": record["query"], "model": model}
        | {name: record["models"][model][name] for name in fields}
        for record in records
        for model in models
    )


def text_encoder(train: cc.Outcomes) -> Callable[[list[str]], Floats]:
    """TF-IDF and SVD of the training texts: quick, and good enough to have a policy to certify."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    texts = [*train.queries.values(), *(row.output for row in train if row.output)]
    vectorizer = TfidfVectorizer(max_features=20_000, sublinear_tf=True)
    pipeline = make_pipeline(vectorizer, TruncatedSVD(96, random_state=0), Normalizer()).fit(texts)
    return lambda batch: np.asarray(pipeline.transform(batch))


@dataclass(frozen=True)
class Front:
    """The chain that `certify` tests, on the population, and the plan that needs no confidence."""

    system: Floats
    """Accuracy, shape (points, queries)."""
    strongest: Floats
    cost: Floats
    strongest_cost: Floats
    planned: int
    """Position of what the retention alone plans."""

    @classmethod
    def of(cls, policy: cc.CascadePolicy, outcomes: cc.Outcomes, retention: float) -> Self:
        """Replay the policy's front."""
        chain, planned = chain_of(policy, outcomes, retention, progress=False)
        system, cost = (np.stack([getattr(point, name) for point in chain]) for name in ("system", "cost"))
        return cls(system, planned.strongest, cost, planned.strongest_cost, chain.index(planned))

    def kept(self, queries: Labels | slice = slice(None)) -> Floats:
        """Retention of each point on some queries, and of always asking the strongest."""
        return np.append(self.system[:, queries].mean(1) / self.strongest[queries].mean(), 1.0)

    def share(self, queries: Labels | slice = slice(None)) -> Floats:
        """Cost of each point there, as a share of always asking the strongest, and of that."""
        return np.append(self.cost[:, queries].mean(1) / self.strongest_cost[queries].mean(), 1.0)


def betting(system: Floats, strongest: Floats, retention: float, delta: float) -> Verdicts:
    """Ours."""
    return np.asarray(largest_capital(system, strongest, retention, 1 - delta) >= (1 - 1e-9) / delta)


def plug_in(system: Floats, strongest: Floats, retention: float, delta: float) -> Verdicts:
    """Bets by the variance so far, one-sided, for a fixed number of queries (arXiv 2010.09686, Eq. 26)."""
    gains = system - retention * strongest
    count = np.arange(1, gains.shape[-1] + 1)
    mean = (gains.cumsum(-1) + 0.5) / (count + 1)
    variance = (((gains - mean) ** 2).cumsum(-1) + 0.25) / (count + 1)
    before = np.concatenate([np.full((*gains.shape[:-1], 1), 0.25), variance[..., :-1]], -1)
    stakes = np.minimum(np.sqrt(2 * np.log(1 / delta) / (before * count[-1])), 0.75 / retention)
    return np.asarray(np.log1p(stakes * gains).cumsum(-1).max(-1) >= np.log(1 / delta))


def bernstein(system: Floats, strongest: Floats, retention: float, delta: float) -> Verdicts:
    """Empirical Bernstein (Maurer & Pontil, arXiv 0907.3740, Theorem 4)."""
    gains = system - retention * strongest
    count, log = gains.shape[-1], np.log(2 / delta)
    margin = np.sqrt(2 * gains.var(-1, ddof=1) * log / count) + 7 * (1 + retention) * log / (3 * (count - 1))
    return np.asarray(gains.mean(-1) >= margin)


def hoeffding_bentkus(system: Floats, strongest: Floats, retention: float, delta: float) -> Verdicts:
    """The bound of Learn then Test (arXiv 2110.01052, Proposition 2)."""
    loss = (1 - (system - retention * strongest)) / (1 + retention)
    count, mean, claim = loss.shape[-1], loss.mean(-1), 1 / (1 + retention)
    low = np.clip(mean, 1e-12, claim)
    divergence = low * np.log(low / claim) + (1 - low) * np.log((1 - low) / (1 - claim))
    bentkus = np.e * binom.cdf(np.ceil(count * mean), count, claim)
    return np.asarray(np.minimum(np.exp(-count * divergence), bentkus) <= delta)


def normal(system: Floats, strongest: Floats, retention: float, delta: float) -> Verdicts:
    """The central limit theorem: no promise for any number of queries."""
    gains = system - retention * strongest
    spread = np.maximum(gains.std(-1, ddof=1), 1e-12) / np.sqrt(gains.shape[-1])
    return np.asarray(gains.mean(-1) > norm.isf(delta) * spread)


OURS = "betting (ours)"
TESTS: dict[str, Test] = {
    OURS: betting,
    "plug-in bets": plug_in,
    "empirical Bernstein": bernstein,
    "Hoeffding–Bentkus": hoeffding_bentkus,
    "normal (no promise)": normal,
}


def planned(front: Front) -> World:
    """The plan that the retention alone gives, at what it keeps."""
    queries = len(front.strongest)

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Floats, Floats]:
        sample = rng.integers(queries, size=size)
        return front.system[front.planned][sample], front.strongest[sample]

    return float(front.kept()[front.planned]), draw


SIMULATED: dict[str, World] = {
    "rare losses": (0.98, lambda rng, size: ((rng.random(size) >= 0.02).astype(float), np.ones(size))),
    "soft labels": (0.9, lambda rng, size: (rng.beta(3.6, 1.4, size), rng.beta(4, 1, size))),
}


def boundary(worlds: dict[str, World], delta: float, draws: int) -> Iterator[Row]:
    """One plan whose retention is exactly what is claimed: all that is certified is false."""
    rng = np.random.default_rng(0)
    for (world, (claim, draw)), size in product(worlds.items(), SIZES):
        false: dict[str, list[bool]] = defaultdict(list)
        for count in batches(draws, size):
            system, strongest = draw(rng, (count, size))
            for name, test in TESTS.items():
                false[name] += test(system, strongest, claim, delta).tolist()
        for name, found in false.items():
            yield row(f"At the boundary: {world}", size, name, violations=found)


def savings(front: Front, retention: float, delta: float, draws: int) -> Iterator[Row]:
    """The whole chain: what is certified, whether it is true, and what it costs."""
    kept, share, points = front.kept(), front.share(), len(front.system)
    drawn, resplits = f"Asked {retention:.0%}: drawn", f"Asked {retention:.0%}: resplits"
    yield row(drawn, 0, "no confidence asked", kept=[kept[front.planned]], cost=[share[front.planned]])
    best = min(np.flatnonzero(kept >= retention), key=lambda point: share[point])
    yield row(drawn, 0, "cheapest in truth", kept=[kept[best]], cost=[share[best]])
    rng, queries = np.random.default_rng(1), len(front.strongest)
    for size in SIZES:
        samples = rng.integers(queries, size=(draws, size))
        for name, found in certified(front, samples, retention, delta, TESTS).items():
            truth = {"certified": found < points, "violations": kept[found] < retention}
            yield row(drawn, size, name, **truth, kept=kept[found], cost=share[found])
    for size in (size for size in SIZES if size < queries / 2):
        orders = np.stack([rng.permutation(queries) for _ in range(draws)])
        found = certified(front, orders[:, :size], retention, delta, {OURS: betting})[OURS]
        truth = {"certified": found < points, "violations": kept[found] < retention}
        pairs = list(zip(found, orders[:, size:], strict=True))
        there, cost = ([of(rest)[point] for point, rest in pairs] for of in (front.kept, front.share))
        yield row(resplits, size, OURS, **truth, kept=there, cost=cost)


def certified(front: Front, samples: Labels, claim: float, delta: float, tests: dict[str, Test]) -> dict[str, Labels]:
    """The last point that each test certifies on each sample, shape (samples,); else one more: always the strongest."""
    lasts: dict[str, list[int]] = defaultdict(list)
    points, done = len(front.system), 0
    for count in batches(len(samples), points * samples.shape[1]):
        sample = samples[done : done + count]
        for name, test in tests.items():
            passes = test(front.system[:, sample], front.strongest[sample], claim, delta)
            counts = [rejected_in_a_row(1.0 - column, 1 - delta) for column in passes.T]
            lasts[name] += [passed - 1 if passed else points for passed in counts]
        done += count
    return {name: np.array(found) for name, found in lasts.items()}


def batches(draws: int, values: int) -> Iterator[int]:
    """How many draws at a time."""
    most = max(1, VALUES_AT_A_TIME // values)
    for start in track(range(0, draws, most), "draws", transient=True):
        yield min(most, draws - start)


def row(table: str, queries: int, test: str, **figures: ArrayLike) -> Row:
    """Means with their 95 % intervals: of shares by Wilson, of others normal."""
    found: Row = {"table": table, "queries": queries, "test": test}
    for name in ("certified", "violations", "kept", "cost"):
        values = np.asarray(figures.get(name, []), float)
        low = high = mean = values.mean() if values.size else np.nan
        if values.size > 1 and name in ("certified", "violations"):
            low, high = binomtest(int(values.sum()), values.size).proportion_ci(method="wilson")
        elif values.size > 1:
            margin = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
            low, high = mean - margin, mean + margin
        found |= {name: float(mean), f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def show(rows: list[Row], title: str) -> None:
    """The tables, and below each figure its interval."""
    console = Console(width=120)
    console.print(title)
    for name, group in groupby(rows, key=lambda row: str(row["table"])):
        shown = Table(title=name, title_justify="left")
        for heading in ("queries", "test", "certified, %", "violations, %", "kept, %", "cost, % of strongest's"):
            shown.add_column(heading, justify="left" if heading == "test" else "right")
        for line in group:
            figures = [interval(line, name) for name in ("certified", "violations", "kept", "cost")]
            shown.add_row(f"{line['queries']:,}" if line["queries"] else "", str(line["test"]), *figures)
        console.print(shown)


def interval(line: Row, name: str) -> str:
    """A figure and its interval, in per cent."""
    mean, low, high = (100 * float(line[key]) for key in (name, f"{name}_low", f"{name}_high"))
    if np.isnan(mean):
        return ""
    return f"{mean:.1f}" if low == high else f"{mean:.1f} ({low:.1f}–{high:.1f})"


if __name__ == "__main__":
    main()
