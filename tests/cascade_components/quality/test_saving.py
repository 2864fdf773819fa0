import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import cascade_components as cc
from cascade_components.encoders import CachedEncoder
from cascade_components.judging import fresh_estimator, judge_answers
from cascade_components.quality.saving import kind_of
from cascade_components.tables import OutcomeTable
from tests.cascade_components.quality.tiny import make_checkpoint
from tests.toy import make_rows, toy_encoder

ROWS = make_rows(count=60)
for row in ROWS:
    row["output"] += " and that is that"  # long enough for its beginning to be read
    row["token_margins"] = [0.9 if row["correct"] else 0.3, 0.5 + 0.001 * (row["output_tokens"] % 7)]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 1))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"), initializer_range=0.2)


@pytest.fixture(scope="module")
def fitted(checkpoint):
    """Kind → a policy with estimators of that kind."""
    quality = {
        "embedding": "embedding",
        "own head": cc.EmbeddingHead(penalty=10.0),
        "margins": "margins",
        "sequence": cc.SequenceHead(checkpoint, max_length=32, learning_rate=5e-3, epochs=2),
        "module": cc.ModuleEstimator(network(), epochs=5),
    }
    policies = {
        name: cc.fit(ROWS, encoder=toy_encoder, clusters=3, quality=given, retention=0.97)
        for name, given in quality.items()
    }
    with pytest.raises(RuntimeError, match="call fit first"):
        quality["sequence"].predict_proba(["q"], [cc.Answer("a")])  # what is given is copied, not changed
    return policies


def scores(policy):
    """What the policy's estimators say, of whole answers and of beginnings."""
    outcomes = [row for row in cc.load_outcomes(make_rows(30, seed=7)) if row.model == "small"]
    pairs = [row.query for row in outcomes], [row.answer for row in outcomes]
    estimators = policy.estimators["small"], *policy.releases["small"].readers.values()
    return [np.asarray(found.predict_proba(*pairs)).tolist() for found in estimators]


@pytest.mark.parametrize("kind", ["embedding", "own head", "margins", "sequence", "module"])
def test_a_policy_round_trips_with_every_kind_of_estimator(fitted, kind, tmp_path):
    policy = fitted[kind]
    assert set(policy.estimators) == {"small", "medium", "large"}
    policy.save(tmp_path / "policy")
    assert {path.suffix for path in (tmp_path / "policy").iterdir()} == {".json", ".safetensors"}
    given = {"quality": network()} if kind == "module" else {}
    loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder, **given)
    assert loaded.fingerprint == policy.fingerprint
    assert scores(loaded) == scores(policy)
    assert list(loaded.releases["small"].readers) == [4]
    shared = loaded.releases["small"].readers[4].estimator is loaded.estimators["small"].estimator
    assert shared == (kind != "embedding"), "only the default head has another for beginnings"


def test_a_policy_can_be_saved_where_it_was_loaded_from(fitted, tmp_path):
    fitted["sequence"].save(tmp_path / "one")
    loaded = cc.CascadePolicy.load(tmp_path / "one", encoder=toy_encoder)
    loaded.save(tmp_path / "two")
    again = cc.CascadePolicy.load(tmp_path / "two", encoder=toy_encoder)
    assert again.fingerprint == fitted["sequence"].fingerprint


def test_a_model_can_be_added_to_a_loaded_policy(fitted, tmp_path):
    fitted["module"].remove_model("medium").save(tmp_path / "p")
    loaded = cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder, quality=network())
    joined = cc.add_model(loaded, "medium", ROWS)
    assert kind_of(joined.estimators["medium"].estimator, joined.encoder) == "module"
    assert joined.estimators["small"] is loaded.estimators["small"]


def test_a_policy_without_a_network_is_served_without_torch(fitted, tmp_path):
    fitted["margins"].save(tmp_path / "p")
    script = (
        "import sys, cascade_components as cc\n"
        f"policy = cc.CascadePolicy.load({str(tmp_path / 'p')!r}, encoder=lambda texts: [[1.0] * 13] * len(texts))\n"
        "policy.fingerprint, policy.estimator('small').predict_proba(['q'], [cc.Answer('a')])\n"
        "print(*({'torch', 'sklearn', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_papers_strategy_trains_the_papers_estimator():
    encoder = CachedEncoder(toy_encoder)
    paper, ours = (
        fresh_estimator("sequence", encoder, strategy, 3, progress=False) for strategy in ("sequential", "joint")
    )
    assert (paper.checkpoint, paper.training.class_weight) == ("answerdotai/ModernBERT-base", "balanced")
    assert (ours.training.class_weight, ours.training.seed, ours.progress) == (None, 3, False)


def test_a_bare_module_is_trained_on_the_policys_vectors():
    encoder = CachedEncoder(toy_encoder)
    judged = judge_answers(OutcomeTable.of(cc.load_outcomes(ROWS)), encoder, network(), "joint", 0, progress=False)
    for found in judged.estimators.values():
        assert isinstance(found.estimator, cc.ModuleEstimator)
        assert found.estimator.encoder is encoder


def test_a_module_is_given_again(fitted, tmp_path):
    fitted["module"].save(tmp_path / "p")
    with pytest.raises(ValueError, match=r"its weights are saved, its code is not: .*quality=that module"):
        cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder)
    with pytest.raises(ValueError, match="do not fit the LazyLinear that was given"):
        cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder, quality=nn.LazyLinear(1))
    with pytest.raises(ValueError, match=r"names no estimator for .*; it names tiny"):
        cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder, quality={"tiny": network()})
    each = {model: cc.ModuleEstimator(network()) for model in ("small", "medium", "large")}
    loaded = cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder, quality=each)
    assert scores(loaded) == scores(fitted["module"])


class Sure:
    config = frozenset({"no JSON"})

    def predict_proba(self, queries, answers):
        return np.array([0.9 if "sure" in answer.text else 0.2 for answer in answers])


def test_a_foreign_estimator_is_given_again(tmp_path):
    policy = cc.fit(ROWS, encoder=toy_encoder, clusters=3, quality=Sure())
    policy.save(tmp_path / "p")
    with pytest.raises(ValueError, match="quality=that estimator"):
        cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder)
    with pytest.raises(ValueError, match="with predict_proba; found"):
        cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder, quality=nn.Linear(1, 1))
    loaded = cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder, quality=Sure())
    assert (loaded.fingerprint, scores(loaded)) == (policy.fingerprint, scores(policy))


def test_a_head_on_vectors_of_its_own_is_foreign(tmp_path):
    policy_encoder = CachedEncoder(toy_encoder)
    assert kind_of(cc.EmbeddingHead(toy_encoder), policy_encoder) == "embedding"
    assert kind_of(cc.EmbeddingHead(lambda texts: toy_encoder(texts)), policy_encoder) == "foreign"
    name = cc.SentenceTransformerEncoder("a/b")
    assert kind_of(cc.EmbeddingHead(name), CachedEncoder(cc.SentenceTransformerEncoder("a/b"))) == "embedding"


def test_an_estimator_of_a_later_version_is_refused(fitted, tmp_path):
    fitted["margins"].save(tmp_path / "p")
    facts = json.loads((tmp_path / "p" / "policy.json").read_text())
    (tmp_path / "p" / "policy.json").write_text(json.dumps(facts | {"quality": "oracle"}))
    with pytest.raises(ValueError, match="changed after it had been written"):
        cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder)
