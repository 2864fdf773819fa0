"""Cascade routing (Dekoninck, Baader and Vechev, arXiv 2410.10347): at each step the best set of models to have asked.

With the models S asked so far, a set T ⊇ S is worth E[max over T of the estimated quality] − λ · (price of T). If the
best T is S, the answer of the highest estimate stands; else the cheapest further model of T is asked. Estimates are
ex-ante (from the query) for models not asked and post-hoc (from the answer) for those that were; answers that are known
correct the estimates of the others. How far post-hoc estimates lie from ex-ante ones, for all models jointly, is
learned on the training part, and the expectation is taken over it.

This is the authors' decision rule on the estimators that all rows share; their package is not on the package index.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from fold import Fold
from sweeps import COST_WEIGHTS, Replayed, Sweep, swept

from baselines.cascades import contenders
from baselines.routers import ESTIMATES, Learned, learn, utility
from cascade_components.arrays import Floats, Labels

DEPTH = 3
SAMPLES = 64

_Set = tuple[int, ...]


@dataclass(frozen=True)
class _State:
    """What is known once the models of a set were asked; arrays' first axis holds the queries."""

    best: Labels
    """Of the models asked, the one whose answer has the highest estimate."""
    quality: Floats
    """Expected quality of each set that may be asked in the end, shape (queries, sets)."""
    price: Floats
    """Of the models still to be asked for each set, shape (sets,)."""
    following: Labels
    """The model to ask next on the way to each set, shape (sets,); −1: none."""


def cascade_routing(fold: Fold) -> Sweep | None:
    """Sweep λ."""
    if not fold.judged:
        return None
    ways = {name: learn(fold, method, settings) for name, (method, settings) in ESTIMATES.items()}
    name = max(ways, key=lambda way: utility(ways[way].out_of_fold, fold))
    trained, tested = _states(fold, ways[name])
    on_train = [_run(trained, fold.train.correct, fold.train.cost, weight) for weight in COST_WEIGHTS]
    return swept(
        np.array([accuracy.mean() for accuracy, _ in on_train]),
        np.array([cost.mean() for _, cost in on_train]),
        fold.reference,
        lambda point: _run(tested, fold.test.correct, fold.test.cost, COST_WEIGHTS[point]),
        range(len(COST_WEIGHTS)),
        note=f"ex-ante: {name}",
    )


def _run(states: dict[_Set, _State], correct: Floats, cost: Floats, weight: float) -> Replayed:
    """Accuracy and cost of each query."""
    right, spent = np.empty(len(correct)), np.zeros(len(correct))
    waiting: dict[_Set, Labels] = {(): np.arange(len(correct))}
    while waiting:
        asked, rows = waiting.popitem()
        state = states[asked]
        chosen = (state.quality[rows] - weight * state.price).argmax(1)
        following = state.following[chosen]
        done = rows[following < 0]
        right[done] = correct[done, state.best[done]]
        for model in np.unique(following[following >= 0]):
            more = rows[following == model]
            spent[more] += cost[more, model]
            after = tuple(sorted((*asked, int(model))))
            waiting[after] = np.concatenate([waiting.get(after, np.empty(0, np.intp)), more])
    return right, spent


def _states(fold: Fold, learned: Learned) -> tuple[dict[_Set, _State], dict[_Set, _State]]:
    """Every set that may have been asked, with what is then known of the training and of the test queries."""
    models = contenders(fold)
    ante = learned.out_of_fold, learned.tested
    # An answer that cannot be judged is as good as its model was expected to be.
    post = tuple(np.where(np.isnan(scores), before, scores) for scores, before in zip(fold.scores, ante, strict=True))
    depth = min(DEPTH, len(models))
    draws = np.random.default_rng(fold.seed).integers(len(fold.train), size=SAMPLES)
    found: tuple[dict[_Set, _State], dict[_Set, _State]] = {}, {}
    for size in range(depth + 1):
        for asked in combinations(models, size):
            seen = asked, models, fold.train.correct, ante[0], post[0]
            known = [_updated(*seen, *of) for of in zip(ante, post, strict=True)]
            surprise = (post[0] - known[0])[draws]
            surprise[:, list(asked)] = 0.0
            ends = [asked] if asked else []
            others = [model for model in models if model not in asked]
            ends += [(*asked, *more) for count in range(1, depth - size + 1) for more in combinations(others, count)]
            for part, estimates in zip(found, known, strict=True):
                part[asked] = _state(asked, ends, estimates, surprise, fold.price)
    return found


def _updated(
    asked: _Set, models: list[int], correct: Floats, train_ante: Floats, train_post: Floats, ante: Floats, post: Floats
) -> Floats:
    """Estimates of all models once some were asked: a logistic regression on all that bears on a model."""
    from sklearn.linear_model import LogisticRegression

    estimates = ante.copy()
    estimates[:, list(asked)] = post[:, list(asked)]
    if not asked:
        return estimates
    for model in (one for one in models if one not in asked):
        label = correct[:, model] >= 0.5
        if label.all() or not label.any():
            continue
        found = LogisticRegression().fit(_bearing(model, asked, train_ante, train_post), label)
        estimates[:, model] = found.predict_proba(_bearing(model, asked, ante, post))[:, 1]
    return estimates


def _bearing(model: int, asked: _Set, ante: Floats, post: Floats) -> Floats:
    """What was expected of a model and of those asked, and what came of these."""
    return np.concatenate([_logit(ante[:, [model, *asked]]), _logit(post[:, list(asked)])], 1)


def _state(asked: _Set, ends: list[_Set], estimates: Floats, surprise: Floats, price: Floats) -> _State:
    best = np.array(asked)[estimates[:, list(asked)].argmax(1)] if asked else np.full(len(estimates), -1)
    quality, prices, following = [], [], []
    for end in ends:
        highest = np.full((len(estimates), 1), -np.inf)
        for model in end:
            highest = np.maximum(highest, estimates[:, [model]] + surprise[:, model])
        more = [model for model in end if model not in asked]
        quality.append(highest.mean(1))
        prices.append(price[more].sum())
        following.append(min(more, key=lambda model: price[model]) if more else -1)
    return _State(best, np.stack(quality, 1), np.array(prices), np.array(following))


def _logit(probability: Floats) -> Floats:
    clipped = np.clip(probability, 0.01, 0.99)
    return np.asarray(np.log(clipped / (1 - clipped)))
