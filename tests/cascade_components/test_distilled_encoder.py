import logging
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import cascade_components as cc
from cascade_components.encoders import DistilledEncoder, SentenceTransformerEncoder
from tests.cascade_components.tiny_encoder import make_sentence_transformer
from tests.toy import make_rows

TEXTS = ["sums question", "poems", "sums poems question 1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make_sentence_transformer(tmp_path_factory.mktemp("model")))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "distilled"


def test_a_token_has_the_model_s_vector_less_the_mean_of_all(model):
    tokens = SentenceTransformerEncoder(model).sentence_transformer().tokenizer.get_vocab()
    words = [word for word in tokens if word.isalpha()]
    encoded = SentenceTransformerEncoder(model)(words)
    found = DistilledEncoder(model)(words)
    # Marks such as [CLS] are tokens, too, so their mean is not quite that of the words; what it takes off is the same.
    scaled = found / np.linalg.norm(found, axis=1, keepdims=True)
    mean = encoded.mean(0)
    wanted = (encoded - mean) / np.linalg.norm(encoded - mean, axis=1, keepdims=True)
    alike = (scaled * wanted).sum(1)
    assert alike.min() > 0.8
    assert np.argmax(scaled @ wanted.T, axis=1).tolist() == list(range(len(words)))


def test_what_is_kept_is_what_was_made(model, monkeypatch):
    made = DistilledEncoder(model)(TEXTS)
    monkeypatch.setattr(SentenceTransformerEncoder, "sentence_transformer", lambda *_, **__: pytest.fail("made anew"))
    assert np.array_equal(DistilledEncoder(model)(TEXTS), made)
    assert np.array_equal(pickle.loads(pickle.dumps(DistilledEncoder(model)))(TEXTS), made)


def test_what_is_damaged_is_made_again(model, cache, caplog):
    made = DistilledEncoder(model)(TEXTS)
    (file,) = cache.glob("*/model.safetensors")
    file.write_bytes(file.read_bytes()[:99])
    assert np.array_equal(DistilledEncoder(model)(TEXTS), made)
    assert "made again" in caplog.text
    assert len(file.read_bytes()) > 99


def test_where_nothing_can_be_kept_it_is_made_each_time(model, cache, caplog):
    cache.parent.write_text("a file")
    with caplog.at_level(logging.WARNING):
        assert np.isfinite(DistilledEncoder(model)(TEXTS)).all()
    assert "cannot be kept" in caplog.text


def test_a_policy_names_it(model, tmp_path):
    policy = cc.fit(make_rows(90), encoder=f"distilled:{model}", clusters=3)
    policy.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy")
    assert loaded.encoder.encoder.spec == f"distilled:{model}"
    assert cc.evaluate(loaded, make_rows(60, seed=1)) == cc.evaluate(policy, make_rows(60, seed=1))


def test_a_model_without_a_fast_tokenizer_is_a_clear_error(model, monkeypatch):
    slow = SimpleNamespace(tokenizer=SimpleNamespace(is_fast=False))
    monkeypatch.setattr(SentenceTransformerEncoder, "sentence_transformer", lambda _: slow)
    with pytest.raises(ValueError, match="fast tokenizer"):
        DistilledEncoder(model)(TEXTS)


def test_a_model_that_is_nowhere_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match="could not be loaded"):
        DistilledEncoder(tmp_path / "none")(TEXTS)
