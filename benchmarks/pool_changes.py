"""The pool changes: a model joins, one leaves, one gets another price. Against a full refit: seconds, and what is lost.

    python benchmarks/pool_changes.py --data DIR [--source zeroeval]

Start with three models, add a fourth from the outcomes of 50, 200 and all training queries, remove one, halve a
price: the paper's claim (arXiv 2606.27457) is that none of this needs a refit, which clusters the queries anew and
trains every estimator anew. Half of the queries train, the others test; intervals are 95 %, by paired bootstrap over
test queries. Vectors are kept on disk (`--cache`), and no time is spent on encoding: "plans" is the seconds without
training estimators, "all" the seconds with it. The sources are those of `benchmarks/decisions`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import cascade_components as cc
from cascade_components.quality.features import readable_text

sys.path.insert(0, str(Path(__file__).parent / "decisions"))

from data import POOLS, Queries, divisions, read
from vectors import CACHE, DiskEncoder

START = ("deepseek-v2.5-0908", "gpt-4o-mini-2024-07-18", "claude-3-5-sonnet-20241022")
NEW, GONE, CHEAPER = "gpt-4o-2024-08-06", "deepseek-v2.5-0908", "claude-3-5-sonnet-20241022"
FEW = (50, 200)
DRAWS = 2000


def main() -> None:
    """Change the pool step by step, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the source's file")
    parser.add_argument("--source", default="zeroeval", choices=["zeroeval", "zeroeval-20"])
    parser.add_argument("--retention", type=float, default=0.98)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where vectors are kept (%(default)s)")
    asked = parser.parse_args()
    queries, encoder = read(POOLS[asked.source], asked.data), DiskEncoder(asked.cache)
    train, test = (queries.take(rows) for rows in next(divisions(queries, 2)))
    answers = [answer for model in range(len(queries.models)) for answer in queries.answers(model)[2]]
    encoder([*queries.texts, *(readable_text(answer) or " " for answer in answers)])
    encoder.save()
    table = Table(title=f"{asked.source}: {len(train)} training queries, {len(test)} test queries")
    headings = ("", "plans, s", "all, s", "refit, s", "kept", "at", "refit keeps", "at", "accuracy, minus refit's")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for row in steps(train, test, encoder, asked.retention):
        table.add_row(*row)
    Console(width=160).print(table)


def steps(train: Queries, test: Queries, encoder: DiskEncoder, retention: float) -> Iterator[list[str]]:
    """One row of the table for each change."""
    options: dict[str, Any] = {"encoder": encoder, "retention": retention, "progress": False}

    def fit(models: set[str], quality: str | None = "embedding") -> cc.CascadePolicy:
        return cc.fit([row for row in train.outcomes if row["model"] in models], quality=quality, **options)

    start = set(START)
    policies = {quality: fit(start, quality) for quality in ("embedding", None)}
    refit, refit_seconds = timed(lambda: fit({*start, NEW}))
    for count in (*FEW, len(train)):
        known = set(np.random.default_rng(0).permutation(train.ids)[:count])
        rows = [row for row in train.outcomes if row["model"] == NEW and row["query_id"] in known]
        _, planned = timed(lambda rows=rows: cc.add_model(policies[None], NEW, rows, progress=False))
        whole, seconds = timed(lambda rows=rows: cc.add_model(policies["embedding"], NEW, rows, progress=False))
        name = f"+ {NEW}, from {count} queries"
        yield [name, f"{planned:.2f}", f"{seconds:.1f}", f"{refit_seconds:.1f}", *compared(whole, refit, test)]
    less, seconds = timed(lambda: whole.remove_model(GONE))
    refit, refit_seconds = timed(lambda: fit({*start, NEW} - {GONE}))
    yield [f"− {GONE}", f"{seconds:.2f}", f"{seconds:.1f}", f"{refit_seconds:.1f}", *compared(less, refit, test)]
    cheap, seconds = timed(lambda: less.reprice({CHEAPER: 0.5}))
    yield [f"{CHEAPER} at half the price", f"{seconds:.2f}", f"{seconds:.1f}", "", *compared(cheap, None, test)]


def timed(change: Callable[[], cc.CascadePolicy]) -> tuple[cc.CascadePolicy, float]:
    """The policy that a change makes, and the seconds that it takes."""
    started = time.perf_counter()
    return change(), time.perf_counter() - started


def compared(policy: cc.CascadePolicy, refit: cc.CascadePolicy | None, test: Queries) -> list[str]:
    """What two policies keep and cost on the test queries, and the difference in accuracy."""
    ours = cc.evaluate(policy, test.outcomes, progress=False)
    cells = [f"{ours.retention:.1%}", f"{ours.cost / ours.strongest_cost:.0%}"]
    if refit is None:
        return [*cells, "", "", ""]
    theirs = cc.evaluate(refit, test.outcomes, progress=False)
    gap = ours.per_query["accuracy"] - theirs.per_query["accuracy"]
    rng = np.random.default_rng(0)
    low, high = np.quantile([gap[rng.integers(len(gap), size=len(gap))].mean() for _ in range(DRAWS)], [0.025, 0.975])
    cells += [f"{theirs.retention:.1%}", f"{theirs.cost / theirs.strongest_cost:.0%}"]
    return [*cells, f"{100 * gap.mean():+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"]


if __name__ == "__main__":
    main()
