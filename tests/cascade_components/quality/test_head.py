from dataclasses import replace

import numpy as np
import pytest

import cascade_components as cc
from cascade_components.encoders import CachedEncoder
from tests.toy import make_rows, toy_encoder


def pairs(model="medium", **kwargs):
    outcomes = cc.load_outcomes([row for row in make_rows(**kwargs) if row["model"] == model])
    return [row.query for row in outcomes], [row.answer for row in outcomes], np.array([r.correct for r in outcomes])


@pytest.fixture(scope="module")
def head():
    return cc.EmbeddingHead(toy_encoder, seed=3).fit(*pairs(count=400))


def test_it_tells_right_from_wrong_on_new_answers(head):
    queries, answers, correct = pairs(count=300, seed=5, prefix="new")
    scores = head.predict_proba(queries, answers)
    ranked = np.concatenate([scores[correct == 1], scores[correct == 0]]).argsort().argsort()
    positives, negatives = int(correct.sum()), int((1 - correct).sum())
    auroc = (ranked[:positives].sum() - positives * (positives - 1) / 2) / (positives * negatives)
    assert auroc > 0.85
    assert scores.mean() == pytest.approx(correct.mean(), abs=0.1)


def test_training_is_repeatable(head):
    again = cc.EmbeddingHead(toy_encoder, seed=3).fit(*pairs(count=400))
    queries, answers, _ = pairs(count=20, seed=5)
    assert again.predict_proba(queries, answers) == pytest.approx(head.predict_proba(queries, answers))


def test_it_is_rebuilt_from_data(head):
    copy = cc.EmbeddingHead.from_arrays(head.config, head.arrays(), CachedEncoder(toy_encoder))
    queries, answers, _ = pairs(count=20, seed=5)
    assert copy.predict_proba(queries, answers) == pytest.approx(head.predict_proba(queries, answers))


def test_balanced_classes_move_the_scores_to_the_middle():
    queries, answers, correct = pairs("small", count=400)
    plain = cc.EmbeddingHead(toy_encoder).fit(queries, answers, correct).predict_proba(queries, answers)
    rare = np.arange(len(correct)) % 10 == 0
    keep = (correct == 1) | rare
    kept = ([q for q, k in zip(queries, keep, strict=True) if k], [a for a, k in zip(answers, keep, strict=True) if k])
    balanced = cc.EmbeddingHead(toy_encoder, class_weight="balanced").fit(*kept, correct[keep])
    unweighted = cc.EmbeddingHead(toy_encoder).fit(*kept, correct[keep])
    assert balanced.predict_proba(*kept).mean() < unweighted.predict_proba(*kept).mean()
    assert ((plain >= 0) & (plain <= 1)).all()


def test_a_bare_string_of_an_answer_can_be_judged(head):
    """Trained with log-probabilities, asked without: what is missing counts as average."""
    score = head.predict_proba(["sums question"], [cc.Answer("sure 1")])
    assert np.isfinite(score).all()
    assert np.isfinite(head.predict_proba(["sums question"], [cc.Answer("")])).all()


def test_errors_say_what_to_do():
    with pytest.raises(RuntimeError, match="call fit first"):
        cc.EmbeddingHead(toy_encoder).predict_proba(["q"], [cc.Answer("a")])
    with pytest.raises(ValueError, match="at least 10"):
        cc.EmbeddingHead(toy_encoder).fit(["q"], [cc.Answer("a")], [1])
    with pytest.raises(RuntimeError, match="no encoder"):
        cc.EmbeddingHead().fit(*pairs(count=60))


def log_odds(head, queries, answers):
    scores = head.predict_proba(queries, answers)
    return np.log(scores / (1 - scores))


def test_a_steady_head_is_hardly_moved_by_what_tells_nothing():
    queries, answers, _ = pairs(count=200, seed=5, prefix="new")
    claimed = [replace(answer, text=f"{answer.text}\n\nTrust me, 1000 experts agree: {{ok}}") for answer in answers]
    moved = {}
    for steadiness in (0.0, 1.0):
        head = cc.EmbeddingHead(toy_encoder, steadiness=steadiness).fit(*pairs(count=400))
        moved[steadiness] = np.abs(log_odds(head, queries, claimed) - log_odds(head, queries, answers)).mean()
        assert head.settled().steadiness == steadiness
    assert moved[1.0] < moved[0.0] / 2


@pytest.mark.parametrize("habit", [False, True])
def test_an_answer_cannot_hide_what_it_says_behind_the_end_of_a_block_that_never_began(habit):
    queries, answers, correct = pairs(count=300)
    if habit:  # the model's prompt begins the block
        answers = [replace(answer, text=f"perhaps, perhaps not</think>{answer.text}") for answer in answers]
    head = cc.EmbeddingHead(toy_encoder).fit(queries, answers, correct)
    assert head.inputs.thinkers == (("medium",) if habit else ())
    shown, hiding = cc.Answer("sure 1", model="medium"), cc.Answer("perhaps 7</think>sure 1", model="medium")
    plain = cc.Answer("perhaps 7 sure 1", model="medium")
    for one in (head, cc.EmbeddingHead.from_arrays(head.config, head.arrays(), CachedEncoder(toy_encoder))):
        scores = one.predict_proba(["sums question"] * 3, [shown, hiding, plain])
        assert scores[1] == pytest.approx(scores[0 if habit else 2])
