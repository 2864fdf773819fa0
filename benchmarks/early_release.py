"""What early release saves in waiting, and what it costs in accuracy: gated answers held until judged, against early.

    python benchmarks/early_release.py                               # the quickstart's recorded outcomes
    python benchmarks/early_release.py outcomes.jsonl.gz --divisions 5

Every division fits on 65 % of the questions and replays the rest: each gated answer is judged whole, and read again
as it grows. Printed are means with 95 % intervals over the questions (each question's own mean over the divisions
that test it); questions of ungated plans stream either way and are left out. No model is called.

Any evaluation log makes an outcome file: one JSON object a line, for each model's answer to each query, with
`query_id`, `query`, `model`, `output`, `correct` (0…1), one cost (`cost_usd`, or `tpot_ms`, `e2el_ms` and `--cost`),
and, for the time to the first token, `output_tokens`, `ttft_ms`, `tpot_ms` and `e2el_ms`; where these times are
missing, tokens are counted instead.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from importlib import resources

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import cascade_components as cc
from cascade_cli.comparison import RETENTIONS
from cascade_components.encoders import CachedEncoder, SentenceTransformerEncoder
from cascade_components.quality.checks import failed_checks
from cascade_components.quality.prefixes import CHECKPOINTS, prefix


@dataclass(frozen=True)
class Replay:
    """One gated answer, held until judged and released early."""

    judged_correct: float
    early_correct: float
    released_after: int | None
    """Words; None: held to the end."""
    rejected: bool
    """Whether the gate rejects the whole answer."""
    judged_wait: float
    """Until the user sees a first token: ms, or tokens."""
    early_wait: float


def main() -> None:
    """Fit and replay on every division, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", nargs="*", help="outcome files; none: the quickstart's")
    parser.add_argument("--divisions", type=int, default=20)
    parser.add_argument("--retention", type=float, default=RETENTIONS["cascade"])
    parser.add_argument("--cost", default="cost_usd")
    asked = parser.parse_args()
    with resources.as_file(resources.files("cascade_cli") / "data" / "outcomes.jsonl.gz") as shipped:
        outcomes = cc.load_outcomes(asked.outcomes or shipped)
    encoder = CachedEncoder(SentenceTransformerEncoder(), size=1_000_000)
    found: dict[str, list[Replay]] = defaultdict(list)
    tested = 0
    for seed in track(range(asked.divisions), "divisions"):
        train, test = outcomes.split(0.65, seed=seed)
        policy = cc.fit(train, encoder=encoder, cost=asked.cost, retention=asked.retention, progress=False)
        tested += len(test.queries)
        for query_id, row in replayed(policy, test).items():
            found[query_id].append(row)
    title = f"{asked.divisions} divisions of {len(outcomes.queries)} questions, retention {asked.retention:.0%}"
    Console().print(table(title, found, tested, timed=has_times(outcomes)))


def replayed(policy: cc.CascadePolicy, test: cc.Outcomes) -> dict[str, Replay]:
    """Every gated answer of the test questions, by question."""
    cascade = cc.Cascade(policy)
    rows = {(row.query_id, row.model): row for row in test}
    timed = has_times(test)
    found = {}
    for query_id, query in test.queries.items():
        trace = cascade.start(query)
        draft, second = rows.get((query_id, trace.model)), rows.get((query_id, trace.target or ""))
        if draft is None or second is None or draft.output is None:
            continue
        rejected = cascade.judge(trace, draft.answer, failed_checks=failed_checks(draft.answer)).escalated
        released = released_after(cascade, trace, draft.answer)
        held = second.correct if rejected else draft.correct
        wait = whole(draft, timed=timed) + (first(second, timed=timed) if rejected else 0.0)
        found[query_id] = Replay(
            judged_correct=held,
            early_correct=held if released is None else draft.correct,
            released_after=released,
            rejected=rejected,
            judged_wait=wait,
            early_wait=wait if released is None else until(draft, released, timed=timed),
        )
    return found


def released_after(cascade: cc.Cascade, trace: cc.Trace, answer: cc.Answer) -> int | None:
    """The checkpoint at which the growing answer is released; None: it is held to the end."""
    for words in CHECKPOINTS:
        beginning = prefix(answer, words)
        if beginning is None:
            return None
        if not cascade.release(trace, beginning).gated:
            return words
    return None


def has_times(outcomes: cc.Outcomes) -> bool:
    """Whether every row tells how long its answer took."""
    return all(None not in (row.ttft_ms, row.tpot_ms, row.e2el_ms, row.output_tokens) for row in outcomes)


def whole(row: cc.Outcome, *, timed: bool) -> float:
    """Until the answer is there: ms, or tokens."""
    return number(row.e2el_ms if timed else row.output_tokens)


def first(row: cc.Outcome, *, timed: bool) -> float:
    """Until its first token: ms, or tokens."""
    return number(row.ttft_ms) if timed else 1.0


def until(row: cc.Outcome, words: int, *, timed: bool) -> float:
    """Until the answer has so many words: ms, or tokens."""
    beginning = prefix(row.answer, words)
    tokens = number(row.output_tokens) * len(str(beginning)) / len(str(row.answer))
    return number(row.ttft_ms) + number(row.tpot_ms) * tokens if timed else tokens


def number(value: float | None) -> float:
    """The value, or NaN."""
    return float("nan") if value is None else float(value)


def table(title: str, found: dict[str, list[Replay]], tested: int, *, timed: bool) -> Table:
    """The figures, one a row."""
    unit, factor = ("s", 1e-3) if timed else ("tokens", 1.0)
    figures = {
        "accuracy, judged": lambda row: 100 * row.judged_correct,
        "accuracy, early": lambda row: 100 * row.early_correct,
        "difference, points": lambda row: 100 * (row.early_correct - row.judged_correct),
        "released early, %": lambda row: 100 * (row.released_after is not None),
        "of these, the gate rejects, %": lambda row: 100 * row.rejected if row.released_after else float("nan"),
        "of these, right, %": lambda row: 100 * row.early_correct if row.released_after else float("nan"),
        "accepted by the gate, right, %": lambda row: float("nan") if row.rejected else 100 * row.judged_correct,
        "words at release": lambda row: float(row.released_after or "nan"),
        f"first token, judged, {unit}": lambda row: factor * row.judged_wait,
        f"first token, early, {unit}": lambda row: factor * row.early_wait,
        f"saved, {unit}": lambda row: factor * (row.judged_wait - row.early_wait),
    }
    shown = Table(title=title)
    gated = sum(map(len, found.values()))
    shown.add_column(f"{gated} gated answers ({gated / tested:.0%} of those tested)")
    shown.add_column("mean, 95 %", justify="right")
    for name, figure in figures.items():
        means = [mean([figure(row) for row in rows]) for rows in found.values()]
        known = np.array([value for value in means if not np.isnan(value)])
        spread = known.std() / np.sqrt(max(1, len(known))) if known.size else float("nan")
        shown.add_row(name, f"{known.mean():.2f} ± {1.96 * spread:.2f}" if known.size else "none")
    return shown


def mean(values: list[float]) -> float:
    """Of the values that are known; NaN where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


if __name__ == "__main__":
    main()
