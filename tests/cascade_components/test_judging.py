import numpy as np
import pytest

import cascade_components as cc
from cascade_components.encoders import CachedEncoder
from cascade_components.judging import judge_answers
from cascade_components.quality.features import answer_features, features_remembered
from cascade_components.tables import OutcomeTable
from tests.toy import make_rows, toy_encoder


def judged(rows, **options):
    table = OutcomeTable.of(cc.load_outcomes(rows))
    return judge_answers(table, CachedEncoder(toy_encoder), "embedding", "joint", 0, progress=False, **options)


def test_one_head_serves_all_models_where_each_has_few_answers(monkeypatch):
    rows = make_rows(60)
    shared = {id(found.estimator.estimator) for found in judged(rows).models.values()}
    monkeypatch.setattr("cascade_components.judging.POOLED_UP_TO", 0)
    own = judged(rows)
    assert len(shared) < len({id(found.estimator.estimator) for found in own.models.values()})


def test_a_pooled_head_is_saved_with_each_model(tmp_path):
    policy = cc.fit(make_rows(60), encoder=toy_encoder, clusters=2, retention=0.9, progress=False)
    policy.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder)
    assert loaded.fingerprint == policy.fingerprint
    for model, found in policy.estimators.items():
        answer = cc.Answer("this is the answer", model=model)
        assert loaded.estimators[model].gate_scores(["sums 1"], [answer]) == pytest.approx(
            found.gate_scores(["sums 1"], [answer])
        )


def test_rivals_move_gate_scores_and_no_probability():
    rows = make_rows(200)
    table = OutcomeTable.of(cc.load_outcomes(rows))
    right = np.array([float("poems" not in row["query"]) for row in rows if row["model"] == "small"])
    rivals = np.tile(right, (3, 1))
    rivals[table.models.index("large")] = np.nan
    plain, weighed = judged(rows), judged(rows, rivals=rivals)
    assert weighed.models["large"].estimator.rival is None
    moved = [model for model, found in weighed.models.items() if found.estimator.rival]
    assert moved, "the strongest model fails on a topic"
    for model in moved:
        asked = ["sums 1"], [cc.Answer("an answer", model=model)]
        known = plain.models[model].estimator.predict_proba(*asked)
        assert weighed.models[model].estimator.predict_proba(*asked) == pytest.approx(known)


def test_what_cannot_be_learned_is_logged_and_not_gated(caplog):
    rows = [{**row, "correct": 1} if row["model"] == "small" else row for row in make_rows(60)]
    found = judged(rows)
    assert "small" not in found.models
    assert "right ones and wrong ones: small" in caplog.text


def test_features_are_worked_out_once_while_remembered(monkeypatch):
    answer = cc.Answer("It is 4.")
    count = []
    work = "cascade_components.quality.features._row"
    monkeypatch.setattr(work, lambda query, answer: count.append(query) or [0.0])
    with features_remembered():
        for _ in range(3):
            answer_features(["a", "b"], [answer, answer])
    assert count == ["a", "b"]
    answer_features(["a"], [answer])
    assert len(count) == 3


def test_of_many_answers_some_are_read_of_the_same_queries_for_all_models(monkeypatch):
    monkeypatch.setattr("cascade_components.judging.MOST_ANSWERS", 60)
    found = judged(make_rows(120), turns=np.random.default_rng(0).random(120))
    scored = ~np.isnan(found.scores[:, :, 0])
    assert scored.sum(0).tolist() == [60, 60, 60]
    assert (scored == scored[:, :1]).all()
