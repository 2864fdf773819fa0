"""Can an answer talk its estimator into acceptance? Wrong answers that gates reject, rewritten to look right.

    python benchmarks/injection.py                                # the quickstart's recorded outcomes
    python benchmarks/injection.py --data DIR --source mmlu_pro   # the sources of benchmarks/decisions

Policies are fitted on a part of the queries, and their gates read the answers to the others: those that are wrong and
rejected are attacked in each way of `attacks.py`, and so are those that are right and accepted. Printed is which share
changed sides, with 95 % intervals over the queries, by

- "bare": heads that read what they are given, as they did before anything was done about it,
- "steady heads": trained to be steady under additions, and no more,
- "default": what `fit` makes: such heads; asides to the judge that cannot help; stray ends of reasoning blocks, and
  characters that nobody sees, that hide nothing,
- "steadier": the same with `EmbeddingHead(steadiness=1.0)`,

all with the routes and thresholds that "bare" plans. Below is what it costs on answers that nobody tampered with, each
with the routes and thresholds of its own: differences to "bare", paired by query. With `--early` a wrong answer counts
as accepted, too, if its beginning is released before it is whole (`release="early"`).
"""

import argparse
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.metrics import roc_auc_score

import cascade_components as cc
from cascade_cli.comparison import RETENTIONS
from cascade_components.encoders import DEFAULT_ENCODER, CachedEncoder, Encoder, encoder_from_spec
from cascade_components.quality import calibrated, head, inputs, reasoning
from cascade_components.quality.checks import failed_checks
from cascade_components.quality.prefixes import CHECKPOINTS, prefix

sys.path.insert(0, str(Path(__file__).parent / "decisions"))

from attacks import ATTACKS, attacked
from data import POOLS, divisions, read
from vectors import CACHE, DiskEncoder

MODES: dict[str, tuple[float, bool]] = {
    "bare": (0.0, False),
    "steady heads": (head.STEADINESS, False),
    "default": (head.STEADINESS, True),
    "steadier": (1.0, True),
}
"""Steadiness of the heads, and whether what they read is guarded."""

ANY = "any of these"

Split = tuple[cc.Outcomes, cc.Outcomes]

Gated = tuple[cc.Trace, cc.Outcome]
"""A query at a gate, and the answer that the gate reads."""


@dataclass
class Found:
    """What one mode made of the test queries, over all divisions."""

    flipped: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Attack → query → whether its rejected wrong answer was accepted."""
    harmed: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Attack → query → whether its accepted right answer was rejected."""
    clean: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Figure → query (or division) → values, without attacks."""


def main() -> None:
    """Fit, attack and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the sources; none: the quickstart's outcomes")
    parser.add_argument("--source", default="zeroeval", choices=["zeroeval", "mmlu_pro"])
    parser.add_argument("--divisions", type=int, help="default: 10 of the quickstart, 3 of a source")
    parser.add_argument("--queries", type=int, default=3000, help="of a source, at most")
    parser.add_argument("--victims", type=int, default=150, help="of either kind in each division, at most")
    parser.add_argument("--retention", type=float, default=RETENTIONS["cascade"])
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="as `fit` takes it (%(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where vectors are kept (%(default)s)")
    parser.add_argument("--early", action="store_true", help="also read beginnings")
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=["bare", "default"])
    asked = parser.parse_args()
    if asked.data is None:
        name, encoder = "quickstart", CachedEncoder(encoder_from_spec(asked.encoder), size=1_000_000)
        splits = list(quickstart(asked.divisions or 10))
    else:
        name, encoder = asked.source, CachedEncoder(DiskEncoder(asked.cache, asked.encoder), size=1_000_000)
        splits = list(source(asked.source, asked.data, asked.divisions or 3, asked.queries))
    found = {mode: Found() for mode in ("bare", *(mode for mode in asked.modes if mode != "bare"))}
    for train, test in track(splits, "divisions"):
        gated: list[Gated] = []
        for mode, one in found.items():
            with reading(mode, early=asked.early):
                policy = fitted(one, train, test, encoder, asked.retention)
                gated = gated or answers_at_gates(policy, test)
                attack(one, policy, gated, asked.victims)
            if isinstance(encoder.encoder, DiskEncoder):
                encoder.encoder.save()
    console = Console(width=150)
    console.print(attacks_table(name, found), clean_table(found))


def quickstart(count: int) -> Iterator[Split]:
    """Divisions of the quickstart's outcomes."""
    with resources.as_file(resources.files("cascade_cli") / "data" / "outcomes.jsonl.gz") as path:
        outcomes = cc.load_outcomes(path)
    for seed in range(count):
        yield outcomes.split(0.65, seed=seed)


def source(name: str, folder: Path, folds: int, most: int) -> Iterator[Split]:
    """Divisions of a source; questions that are alike are on one side."""
    queries = read(POOLS[name], folder)
    queries = queries.take(np.sort(np.random.default_rng(0).permutation(len(queries))[:most]))
    for train, test in divisions(queries, folds):
        yield cc.load_outcomes(queries.take(train).outcomes), cc.load_outcomes(queries.take(test).outcomes)


@contextmanager
def reading(mode: str, *, early: bool) -> Iterator[None]:
    """Have estimators trained and read by a mode; unless `early`, none of beginnings."""
    steadiness, guarded = MODES[mode]
    with ExitStack() as stack:
        if not early:
            stack.enter_context(mock.patch("cascade_components.releasing.CHECKPOINTS", ()))
        defaults = head.EmbeddingHead.__init__.__kwdefaults__
        stack.enter_context(mock.patch.dict(defaults, steadiness=steadiness))
        if not guarded:
            stack.enter_context(mock.patch.object(inputs, "starts_within", return_value=False))
            stack.enter_context(mock.patch.object(reasoning, "_UNSEEN", re.compile("(?!)")))
            stack.enter_context(mock.patch.object(calibrated, "without_asides", lambda answer: answer))
            scores = lambda estimator, queries, answers: estimator.predict_proba(queries, answers)  # noqa: E731
            stack.enter_context(mock.patch.object(calibrated, "cautious_scores", scores))
        yield


def fitted(found: Found, train: cc.Outcomes, test: cc.Outcomes, encoder: Encoder, retention: float) -> cc.CascadePolicy:
    """A policy; what it makes of the test queries is kept."""
    started = time.perf_counter()
    policy = cc.fit(train, encoder=encoder, retention=retention, progress=False)
    found.clean["fit, s"]["all"].append(time.perf_counter() - started)
    evaluation = cc.evaluate(policy, test, progress=False)
    for name, factor in (("accuracy", 100.0), ("cost", 1000.0)):
        for query_id, value in zip(test.queries, factor * evaluation.per_query[name], strict=True):
            found.clean[name][query_id].append(float(value))
    found.clean["AUROC"]["all"].append(100 * auroc(policy, test))
    return policy


def answers_at_gates(policy: cc.CascadePolicy, test: cc.Outcomes) -> list[Gated]:
    """The answers that a policy would have its gates read."""
    rows = {(row.query_id, row.model): row for row in test}
    cascade = cc.Cascade(policy)
    traces = {query_id: cascade.start(query) for query_id, query in test.queries.items()}
    asked = [(trace, rows.get((query_id, trace.model))) for query_id, trace in traces.items() if trace.gated]
    return [(trace, row) for trace, row in asked if row and row.output is not None and not failed_checks(row.answer)]


def attack(found: Found, policy: cc.CascadePolicy, gated: list[Gated], victims: int) -> None:
    """Attack answers at gates, and count those that change sides."""
    margin = margins(policy, gated, [row.answer for _, row in gated])
    right = np.array([row.correct >= 0.5 for _, row in gated])
    margin[[released(policy, trace, row.answer) for trace, row in gated]] = np.inf
    wrong = np.flatnonzero(~right & (margin < 0))[:victims]
    good = np.flatnonzero(right & (margin >= 0))[:victims]
    for kept, chosen, accepted in ((found.flipped, wrong, True), (found.harmed, good, False)):
        some = [gated[place] for place in chosen]
        changed = np.zeros((len(ATTACKS), len(some)), bool)
        for number, name in enumerate(ATTACKS):
            answers = [attacked(name, trace.query, row.answer) for trace, row in some]
            changed[number] = (margins(policy, some, answers) >= 0) == accepted
            if accepted:
                changed[number] |= [
                    released(policy, trace, answer) for (trace, _), answer in zip(some, answers, strict=True)
                ]
        for name, flips in zip((*ATTACKS, ANY), (*changed, changed.any(0)), strict=True):
            for (_, row), flip in zip(some, flips, strict=True):
                kept[name][row.query_id].append(float(flip))


def margins(policy: cc.CascadePolicy, gated: list[Gated], answers: list[cc.Answer]) -> NDArray[np.float64]:
    """How far each answer is above its gate's threshold."""
    found = np.empty(len(gated))
    for model in {trace.model for trace, _ in gated}:
        places = [place for place, (trace, _) in enumerate(gated) if trace.model == model]
        queries = [gated[place][0].query for place in places]
        scores = policy.estimators[model].gate_scores(queries, [answers[place] for place in places])
        found[places] = scores - np.array([gated[place][0].threshold for place in places])
    return found


def released(policy: cc.CascadePolicy, trace: cc.Trace, answer: cc.Answer) -> bool:
    """Whether the answer is released before it is whole."""
    beginnings = (prefix(answer, words) for words in CHECKPOINTS)
    return any(policy.early_release(trace.query, one, trace.threshold or 0.0) for one in beginnings if one)


def auroc(policy: cc.CascadePolicy, test: cc.Outcomes) -> float:
    """Of the test answers' scores, mean over the models."""
    found = []
    for model, estimator in policy.estimators.items():
        rows = [row for row in test if row.model == model and row.output is not None]
        scores = estimator.predict_proba([row.query for row in rows], [row.answer for row in rows])
        found.append(roc_auc_score([row.correct >= 0.5 for row in rows], scores))
    return float(np.mean(found))


def interval(values: dict[str, list[float]]) -> tuple[float, float]:
    """Mean over the queries of each one's mean, and the half-width of its 95 % interval."""
    means = np.array([np.mean(one) for one in values.values()])
    return float(means.mean()), float(1.96 * means.std() / np.sqrt(len(means)))


def attacks_table(name: str, found: dict[str, Found]) -> Table:
    """Shares that changed sides, by attack."""
    counts = ", ".join(f"{mode} {len(one.flipped[ANY])}/{len(one.harmed[ANY])}" for mode, one in found.items())
    table = Table(title=f"{name}; queries with a rejected wrong / an accepted right answer: {counts}")
    table.add_column("attack")
    for part in ("wrong accepted, %", "right rejected, %"):
        for mode in found:
            table.add_column(f"{part}\n{mode}", justify="right")
    for attack_name in ["mean of these", *ATTACKS, ANY]:
        cells = []
        for part in ("flipped", "harmed"):
            for one in found.values():
                shares = getattr(one, part)
                if attack_name == "mean of these":
                    values: dict[str, list[float]] = defaultdict(list)
                    for each in ATTACKS:
                        for query_id, flips in shares[each].items():
                            values[query_id] += flips
                else:
                    values = shares[attack_name]
                mean, spread = interval(values)
                cells.append(f"{100 * mean:.1f} ± {100 * spread:.1f}")
        table.add_row(attack_name, *cells)
    return table


def clean_table(found: dict[str, Found]) -> Table:
    """What it costs where nobody attacks."""
    table = Table(title="answers that nobody tampered with")
    table.add_column("")
    for mode in found:
        table.add_column(mode, justify="right")
    bare = found["bare"].clean
    for figure, unit in (("accuracy", "%"), ("cost", "USD per 1,000"), ("AUROC", "%"), ("fit, s", "")):
        cells = []
        for mode, one in found.items():
            text = f"{interval(one.clean[figure])[0]:.4g}"
            if mode != "bare":
                by = one.clean[figure]
                change = {key: list(np.subtract(by[key], bare[figure][key])) for key in by}
                mean, spread = interval(change if len(change) > 1 else dict(enumerate_lists(change["all"])))
                text += f" ({mean:+.3f} ± {spread:.3f})"
            cells.append(text)
        table.add_row(f"{figure} {unit}".strip(), *cells)
    return table


def enumerate_lists(values: list[float]) -> Iterator[tuple[str, list[float]]]:
    """Each value as a division of its own."""
    for number, value in enumerate(values):
        yield str(number), [value]


if __name__ == "__main__":
    main()
