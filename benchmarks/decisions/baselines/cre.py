"""The paper's own code: cre-router, in an environment of its own, on exported vectors, outcomes and costs.

Clusters, statistics, Pareto pruning, routing, budgets and the Stage 2 plan are its; it plans in milliseconds, and gets
micro-dollars as end-to-end latency, which adds up as they do. Its estimator is a fine-tuned language model; here those
of this library's `strategy="sequential"` decide, at its threshold. It knows budgets only: for a retention the cheapest
of its routing regions is taken whose Stage 1 keeps that much on the training part.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from environments import interpreter
from fold import Fold
from sweeps import BUDGETS, COST_WEIGHTS, RETENTIONS, TARGETS, Replayed, Sweep
from tqdm import tqdm

from cascade_components.arrays import Floats, Labels

VERSION = "0.6.3"
NEEDED = ("numpy", "scikit-learn")
"""Of what it depends on; the rest serves models, and trains and runs its estimator."""
WORKER = Path(__file__).with_name("cre_worker.py")
ACCEPTED = 0.5


def stage1(fold: Fold) -> Sweep:
    """Its Stage 1."""
    return _sweep(fold, np.full(fold.test.correct.shape, np.inf))


def both_stages(fold: Fold) -> Sweep | None:
    """Its Stage 1 and its Stage 2 plan."""
    if not fold.judged:
        return None
    return _sweep(fold, fold.scored(fold.fit(strategy="sequential"), fold.test))


def _sweep(fold: Fold, scores: Floats) -> Sweep:
    plan = _planned(fold)
    replayed = [
        _replay(fold, scores, plan["labels"], *row)
        for row in zip(plan["start"], plan["gated"], plan["target"], strict=True)
    ]
    along, asked = replayed[: len(COST_WEIGHTS)], replayed[len(COST_WEIGHTS) :]
    return Sweep(
        np.stack([accuracy for accuracy, _ in along]),
        np.stack([cost for _, cost in along]),
        dict(zip(TARGETS, asked, strict=True)),
        note=f"{plan['start'].shape[1]} clusters",
    )


def _replay(fold: Fold, scores: Floats, labels: Labels, start: Labels, gated: Labels, target: Labels) -> Replayed:
    test, rows = fold.test, np.arange(len(labels))
    first = start[labels]
    score = np.nan_to_num(scores[rows, first], nan=np.inf)  # what was not recorded cannot be judged
    rejected = gated[labels] & (score < ACCEPTED)
    last = np.where(rejected, target, first)
    return test.correct[rows, last], test.cost[rows, first] + np.where(rejected, test.cost[rows, target], 0.0)


def _planned(fold: Fold) -> Mapping[str, Labels]:
    """What its code plans on a fold, for every λ and target; see `cre_worker.py`."""
    if "cre" not in fold.memo:
        package = (f"cre-router=={VERSION}",)
        python = interpreter("cre-router-planner", *NEEDED, without_dependencies=package, constrained=True)
        with tempfile.TemporaryDirectory() as folder:
            given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
            np.savez(
                given,
                train=fold.train_vectors,
                test=fold.test_vectors,
                correct=fold.train.correct,
                cost=1e6 * fold.train.cost,
                weights=COST_WEIGHTS,
                retentions=np.array(RETENTIONS) * fold.reference.accuracy,
                budgets=1e6 * np.array(BUDGETS) * fold.reference.cost,
            )
            done = subprocess.run(
                [str(python), str(WORKER), str(given), str(found)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                tqdm.write(done.stderr)
                done.check_returncode()
            with np.load(found) as arrays:
                fold.memo["cre"] = dict(arrays)
    planned: Mapping[str, Labels] = fold.memo["cre"]
    return planned
