import io
import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from cre_router.qe import QEClassifier
from sklearn.metrics import roc_auc_score

import cascade_components as cc
from tests.cascade_components.quality.tiny import make_checkpoint, make_classifier, make_modern_classifier
from tests.toy import make_rows

FAST = {"max_length": 64, "learning_rate": 2e-3, "epochs": 6}


def pairs(model="medium", **kwargs):
    outcomes = cc.load_outcomes([row for row in make_rows(**kwargs) if row["model"] == model])
    return [row.query for row in outcomes], [row.answer for row in outcomes], np.array([r.correct for r in outcomes])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"), initializer_range=0.2)


@pytest.fixture(scope="module")
def head(checkpoint):
    return cc.SequenceHead(checkpoint, **FAST).fit(*pairs(count=300))


def test_it_tells_right_from_wrong_on_new_answers(head):
    queries, answers, correct = pairs(count=300, seed=5, prefix="new")
    scores = head.predict_proba(queries, answers)
    assert roc_auc_score(correct, scores) > 0.85
    assert scores.mean() == pytest.approx(correct.mean(), abs=0.1)


def test_training_is_repeatable_and_leaves_the_random_state_alone(checkpoint, head):
    before = torch.get_rng_state()
    again = cc.SequenceHead(checkpoint, **FAST).fit(*pairs(count=300))
    assert torch.equal(before, torch.get_rng_state())
    queries, answers, _ = pairs(count=20, seed=5)
    assert (again.predict_proba(queries, answers) == head.predict_proba(queries, answers)).all()
    other = cc.SequenceHead(checkpoint, seed=1, **FAST).fit(*pairs(count=300))
    assert (other.predict_proba(queries, answers) != head.predict_proba(queries, answers)).any()


def test_soft_labels_are_learned_as_shares(checkpoint):
    queries, answers, _ = pairs(count=300)
    share = np.where(["sure" in answer.text for answer in answers], 0.7, 0.2)
    scores = cc.SequenceHead(checkpoint, **FAST).fit(queries, answers, share).predict_proba(queries, answers)
    assert scores == pytest.approx(share, abs=0.15)


def test_balanced_classes_move_the_scores_to_the_middle(checkpoint):
    queries, answers, _ = pairs(count=300)
    rare = (np.random.default_rng(0).random(300) < 0.15).astype(float)  # nothing in the text tells which
    means = [
        cc.SequenceHead(checkpoint, class_weight=weight, **FAST | {"epochs": 2})
        .fit(queries, answers, rare)
        .predict_proba(queries, answers)
        .mean()
        for weight in (None, "balanced")
    ]
    assert means == pytest.approx([rare.mean(), 0.5], abs=0.1)


def test_many_threads_may_ask_it(head):
    queries, answers, _ = pairs(count=64, seed=5)
    alone = [head.predict_proba([q], [a])[0] for q, a in zip(queries, answers, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda q, a: head.predict_proba([q], [a])[0], queries, answers))
    assert together == alone


class TestWhatIsRead:
    def text(self, head, query, answer):
        reader, _ = head._fitted
        return " ".join(reader.read([query], [answer])[0].tokens)

    def test_query_answer_and_number_of_tokens(self, head):
        answer = cc.Answer("<think>perhaps 7</think> sure 4", output_tokens=12)
        assert self.text(head, "sums question", answer) == "[CLS] sums question [SEP] sure 4 [SEP] 12 [SEP]"

    def test_a_number_that_is_not_known(self, head):
        assert self.text(head, "sums", cc.Answer("sure")) == "[CLS] sums [SEP] sure [SEP] unknown [SEP]"

    def test_a_long_answer_loses_its_beginning_and_the_query_nothing(self, head):
        text = self.text(head, "sums question", cc.Answer("perhaps " * 500 + "sure", output_tokens=12))
        assert len(text.split()) == 64
        assert text.startswith("[CLS] sums question [SEP] perhaps")
        assert text.endswith("perhaps sure [SEP] 12 [SEP]")

    def test_no_more_than_the_checkpoint_reads(self, tmp_path):
        folder = make_checkpoint(tmp_path, max_position_embeddings=40)
        head = cc.SequenceHead(folder, epochs=1).fit(*pairs(count=30))
        assert np.isfinite(head.predict_proba(["sums " * 500], [cc.Answer("sure " * 500)])).all()

    def test_company_does_not_change_a_score(self, head):
        queries, answers, _ = pairs(count=20, seed=5)
        whole = head.predict_proba([*queries, "sums " * 50], [*answers, cc.Answer("sure " * 50)])
        alone = np.concatenate([head.predict_proba([q], [a]) for q, a in zip(queries, answers, strict=True)])
        assert whole[:-1] == pytest.approx(alone, abs=1e-5)


def test_it_is_rebuilt_from_data_without_its_checkpoint(head, tmp_path):
    config = json.loads(json.dumps(head.config)) | {"checkpoint": str(tmp_path / "gone")}
    before = torch.get_rng_state()
    copy = cc.SequenceHead.from_arrays(config, head.arrays())
    assert torch.equal(before, torch.get_rng_state())
    queries, answers, _ = pairs(count=20, seed=5)
    assert (copy.predict_proba(queries, answers) == head.predict_proba(queries, answers)).all()
    assert copy.config == config


class TestATrainedCheckpoint:
    CASES = (
        ("sums question", "sure 4", 12),
        ("sums", "<think>perhaps</think>\n\nsure\n7", 40),
        ("poems [SEP] question", "perhaps " * 30 + "sure", 31),
        ("code", "sure 1 2 3 " * 500, 2000),
        ("", "", 0),
    )

    @pytest.mark.parametrize("make", [make_classifier, make_modern_classifier])
    @pytest.mark.parametrize("max_length", [16, 512])
    def test_it_scores_as_in_cre_router(self, make, max_length, tmp_path):
        folder = make(tmp_path)
        theirs = QEClassifier(str(folder), max_length=max_length, device="cpu").predict_batch(list(self.CASES))
        queries, texts, tokens = zip(*self.CASES, strict=True)
        answers = [cc.Answer(text, output_tokens=number) for text, number in zip(texts, tokens, strict=True)]
        head = cc.SequenceHead.trained(folder, max_length=max_length, device="cpu")
        scores = head.predict_proba(queries, answers)
        assert scores == pytest.approx([decision.p_accept for decision in theirs], abs=1e-5)
        assert np.ptp(scores) > 0.01
        copy = cc.SequenceHead.from_arrays(json.loads(json.dumps(head.config)), head.arrays())
        assert (copy.predict_proba(queries, answers) == scores).all()

    def test_what_its_tokenizer_was_set_to_in_training_does_not_matter(self, tmp_path):
        plain, used = make_classifier(tmp_path / "plain"), make_classifier(tmp_path / "used", max_length=20)
        answers = [cc.Answer("sure " * 30, output_tokens=30)]
        one, other = (cc.SequenceHead.trained(folder).predict_proba(["sums"], answers) for folder in (plain, used))
        assert one == other

    def test_a_checkpoint_of_ones_own_may_read_pairs(self, tmp_path):
        head = cc.SequenceHead.trained(make_classifier(tmp_path), layout="pair")
        reader, _ = head._fitted
        assert reader.read(["sums"], [cc.Answer("sure")])[0].type_ids == [0, 0, 0, 1, 1, 1, 1]

    def test_it_can_be_fine_tuned_further(self, tmp_path):
        queries, answers, correct = pairs(count=60)
        head = cc.SequenceHead.trained(make_classifier(tmp_path), max_length=64)
        before = head.predict_proba(queries, answers)
        head.fit(queries, answers, correct)
        assert head.layout == "cre-router"
        assert (head.predict_proba(queries, answers) != before).any()

    def test_one_without_a_classification_layer_is_refused(self, checkpoint):
        with pytest.raises(ValueError, match=r"not fine-tuned .* no trained weights of .*classifier\.weight.*\.fit"):
            cc.SequenceHead.trained(checkpoint)

    def test_one_with_other_classes_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="tells 3 classes apart"):
            cc.SequenceHead.trained(make_classifier(tmp_path, num_labels=3))

    def test_one_whose_layer_does_not_fit_its_config_is_refused(self, tmp_path):
        folder = make_classifier(tmp_path, num_labels=3)
        config = json.loads((folder / "config.json").read_text())
        del config["id2label"], config["label2id"]
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=r"no trained weights of classifier\.bias, classifier\.weight"):
            cc.SequenceHead.trained(folder)

    def test_one_without_a_tokenizer_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no tokenizer .*\.save_pretrained\(folder\)"):
            cc.SequenceHead.trained(make_classifier(tmp_path, tokenizer=False))

    def test_one_with_the_tokenizer_of_another_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="knows more tokens than its network"):
            cc.SequenceHead.trained(make_classifier(tmp_path, vocab_size=50))

    def test_a_damaged_one_is_named(self, tmp_path):
        weights = make_classifier(tmp_path) / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ValueError, match="could not be loaded as a sequence classifier"):
            cc.SequenceHead.trained(tmp_path)


def test_it_can_be_pickled(head):
    queries, answers, _ = pairs(count=20, seed=5)
    copy = pickle.loads(pickle.dumps(head))
    assert (copy.predict_proba(queries, answers) == head.predict_proba(queries, answers)).all()


def test_progress_shows_on_a_terminal_only(checkpoint, capfd, monkeypatch):
    cc.SequenceHead(checkpoint, epochs=1).fit(*pairs(count=30))
    assert capfd.readouterr() == ("", "")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    cc.SequenceHead(checkpoint, epochs=1, progress=False).fit(*pairs(count=30))
    assert terminal.getvalue() == ""
    cc.SequenceHead(checkpoint, epochs=1).fit(*pairs(count=30))
    assert "fine-tune" in terminal.getvalue()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_length": 4}, "max_length must be at least 16 tokens, found 4"),
        ({"epochs": 0}, "epochs must be positive, found 0"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"batch_size": 0}, "batch_size must be positive"),
        ({"class_weight": "heavy"}, "class_weight must be None or \"balanced\", found 'heavy'"),
        ({"layout": "line"}, "layout must be one of pair, cre-router; found 'line'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        cc.SequenceHead(**kwargs)


def test_bad_training_data_is_refused(checkpoint):
    queries, answers, correct = pairs(count=30)
    head = cc.SequenceHead(checkpoint, **FAST)
    with pytest.raises(RuntimeError, match="call fit first"):
        head.predict_proba(queries, answers)
    with pytest.raises(ValueError, match=r"at least 10 .* found 1, 1"):
        head.fit(queries[:1], answers[:1], correct[:1])
    with pytest.raises(ValueError, match="as many of each; found 30, 29"):
        head.fit(queries, answers[1:], correct)
    with pytest.raises(ValueError, match=r"0…1; found 2\.0 in row 3"):
        head.fit(queries, answers, [*correct[:3], 2.0, *correct[4:]])
    with pytest.raises(ValueError, match="Lower learning_rate"):
        cc.SequenceHead(checkpoint, learning_rate=1e30, epochs=1).fit(queries, answers, correct)


def test_a_checkpoint_that_cannot_be_had_is_named(tmp_path):
    with pytest.raises(OSError, match=r"checkpoint '.*nothing' could not be loaded .* offline, a folder"):
        cc.SequenceHead(tmp_path / "nothing").fit(*pairs(count=30))


def test_a_tokenizer_without_separator_is_refused(tmp_path):
    folder = make_checkpoint(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "sep_token"}))
    with pytest.raises(ValueError, match="needs an encoder's, such as BERT's"):
        cc.SequenceHead(folder).fit(*pairs(count=30))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    folder = make_checkpoint(tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    own = {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModelForSequenceClassification": "mine.M"},
    }
    (folder / "config.json").write_text(json.dumps(config | own))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\n")
    with pytest.raises(ValueError, match="could not be loaded as a sequence classifier"):
        cc.SequenceHead(folder).fit(*pairs(count=30))
    assert not (tmp_path / "run").exists()
