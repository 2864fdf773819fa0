import copy
import pickle
import time

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import cascade_components as cc
from cascade_components.encoders import CachedEncoder
from cascade_components.quality.features import FEATURES
from tests.toy import make_rows, toy_encoder

WIDTH = len(FEATURES) + 3 * len(toy_encoder(["text"])[0])


def pairs(model="medium", **kwargs):
    outcomes = cc.load_outcomes([row for row in make_rows(**kwargs) if row["model"] == model])
    return [row.query for row in outcomes], [row.answer for row in outcomes], np.array([r.correct for r in outcomes])


def lazy():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1), nn.Flatten(0)
    )


def fixed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.fixture(scope="module", params=[lazy, fixed])
def make(request):
    return request.param


@pytest.fixture(scope="module")
def estimator(make):
    return cc.ModuleEstimator(make(), toy_encoder).fit(*pairs(count=400))


def test_it_tells_right_from_wrong_on_new_answers(estimator):
    queries, answers, correct = pairs(count=300, seed=5, prefix="new")
    scores = estimator.predict_proba(queries, answers)
    assert roc_auc_score(correct, scores) > 0.85
    assert scores.mean() == pytest.approx(correct.mean(), abs=0.1)


def test_training_is_repeatable_and_leaves_module_and_random_state_alone(make, estimator):
    module = make()
    weights = {name: str(weight) for name, weight in module.state_dict().items()}
    before = torch.get_rng_state()
    again = cc.ModuleEstimator(module, toy_encoder).fit(*pairs(count=400))
    assert torch.equal(before, torch.get_rng_state())
    assert {name: str(weight) for name, weight in module.state_dict().items()} == weights
    queries, answers, _ = pairs(count=20, seed=5)
    assert (again.predict_proba(queries, answers) == estimator.predict_proba(queries, answers)).all()
    again.fit(*pairs(count=400))
    assert (again.predict_proba(queries, answers) == estimator.predict_proba(queries, answers)).all()


def test_it_is_rebuilt_from_data_and_the_module(make, estimator):
    again = cc.ModuleEstimator.from_arrays(estimator.config, estimator.arrays(), CachedEncoder(toy_encoder), make())
    queries, answers, _ = pairs(count=20, seed=5)
    assert (again.predict_proba(queries, answers) == estimator.predict_proba(queries, answers)).all()
    assert again.config == estimator.config


def test_the_weights_of_another_module_are_refused(estimator):
    other = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1))
    with pytest.raises(ValueError, match="The saved weights do not fit the Sequential that was given"):
        cc.ModuleEstimator.from_arrays(estimator.config, estimator.arrays(), CachedEncoder(toy_encoder), other)


def test_it_sees_the_features_and_the_vectors():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, inputs):
            seen.append(inputs)
            return inputs[:, 0] * 0 + self.bias

    queries, answers, correct = pairs(count=40)
    cc.ModuleEstimator(Spy(), toy_encoder, epochs=1, batch_size=100).fit(queries, answers, correct).predict_proba(
        queries, answers
    )
    inputs = seen[-1].double().numpy()
    assert inputs.shape == (40, WIDTH)
    assert inputs[:, : len(FEATURES)].mean(0) == pytest.approx(np.zeros(len(FEATURES)), abs=1e-5)
    vectors = inputs[:, len(FEATURES) :].reshape(40, 3, -1)
    scale = vectors[0, 0, 0] / toy_encoder(queries)[0, 0]
    assert vectors[:, 0] == pytest.approx(scale * toy_encoder(queries), abs=1e-4)
    assert vectors[:, 1] == pytest.approx(scale * toy_encoder([answer.text for answer in answers]), abs=1e-4)
    assert vectors[:, 2] == pytest.approx(scale * vectors[:, 0] * vectors[:, 1], abs=1e-3)


def test_it_can_be_copied_and_pickled(estimator):
    queries, answers, correct = pairs(count=40)
    wanted = estimator.predict_proba(queries, answers)
    for twin in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        assert (twin.predict_proba(queries, answers) == wanted).all()
        twin.fit(queries, answers, correct)
        assert (twin.predict_proba(queries, answers) != wanted).any()
    assert (estimator.predict_proba(queries, answers) == wanted).all(), "its twins learned, not itself"


def test_a_large_set_does_not_take_long():
    """5,000 answers on a 384-dimensional encoder; the rest of the minute is for slower machines."""
    rng = np.random.default_rng(0)
    known = {}

    def encoder(texts):
        return np.stack([known.setdefault(text, rng.normal(size=384) / 20) for text in texts])

    queries = [f"question {number}" for number in range(5000)]
    answers = [cc.Answer("sure" if number % 3 else "perhaps not at all") for number in range(5000)]
    correct = (np.arange(5000) % 3 > 0).astype(float)
    network = nn.Sequential(nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, 1))
    before = time.perf_counter()
    scores = cc.ModuleEstimator(network, encoder).fit(queries, answers, correct).predict_proba(queries, answers)
    assert time.perf_counter() - before < 60
    assert roc_auc_score(correct, scores) > 0.99


class TestErrors:
    def fit(self, module, **kwargs):
        return cc.ModuleEstimator(module, toy_encoder, **kwargs).fit(*pairs(count=40))

    def test_a_class_is_no_module(self):
        with pytest.raises(TypeError, match=r"must be an nn\.Module, with its layers made; found <class"):
            cc.ModuleEstimator(nn.Bilinear, toy_encoder)

    def test_another_width(self):
        with pytest.raises(ValueError, match=rf"Linear does not take inputs of shape \(n, {WIDTH}\).*nn.LazyLinear"):
            self.fit(nn.Linear(7, 1))

    def test_another_shape(self):
        with pytest.raises(ValueError, match=r"must return log-odds .* found shape \(2, 2\) for n = 2"):
            self.fit(nn.LazyLinear(2))

    def test_nothing_to_train(self):
        with pytest.raises(ValueError, match="has no parameters to train"):
            self.fit(nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(0)))

    def test_values_out_of_range(self):
        with pytest.raises(ValueError, match="epochs must be positive"):
            self.fit(nn.LazyLinear(1), epochs=0)

    def test_not_fitted_and_no_encoder(self):
        with pytest.raises(RuntimeError, match="call fit first"):
            cc.ModuleEstimator(nn.LazyLinear(1), toy_encoder).predict_proba(["q"], [cc.Answer("a")])
        with pytest.raises(RuntimeError, match="no encoder"):
            cc.ModuleEstimator(nn.LazyLinear(1)).fit(*pairs(count=40))
