import pickle
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import cascade_components as cc
from cascade_components.encoders import DistilledEncoder, StaticEncoder
from tests.cascade_components.tiny_encoder import make_sentence_transformer
from tests.toy import make_rows


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    home = tmp_path_factory.mktemp("static")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASCADE_CACHE", str(home / "cache"))
        DistilledEncoder(make_sentence_transformer(home / "model"))(["a"])
    (file,) = (home / "cache" / "distilled").glob("*/model.safetensors")
    return StaticEncoder(file.parent)


def test_a_text_is_the_mean_of_its_tokens(static):
    one, other, both, turned = static(["sums", "poems", "sums poems", "poems sums"])
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-5)
    assert both == pytest.approx(turned, abs=1e-6)
    assert min(one @ both, other @ both) > one @ other


def test_unknown_words_and_no_words_have_a_finite_vector(static):
    assert np.isfinite(static(["", "Wort", "sums"])).all()


def test_of_a_long_text_the_tail_is_read_and_the_rest_costs_nothing(static):
    tail = "sums poems " * 600
    started = time.process_time()
    vector = static(["perhaps " * 1_000_000 + tail])
    assert time.process_time() - started < 1
    assert vector == pytest.approx(static([tail]), abs=1e-5)


def test_tokens_may_share_rows_and_have_weights(static, tmp_path):
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_bytes((static._files() / name).read_bytes())
    vectors = load_file(static._files() / "model.safetensors")["embeddings"]
    turned = np.arange(len(vectors))[::-1].copy()
    arrays = {"embeddings": vectors[::-1].copy(), "mapping": turned, "weights": np.full(len(vectors), 0.5, np.float32)}
    save_file(arrays, tmp_path / "model.safetensors")
    texts = ["sums poems", "poems"]
    assert StaticEncoder(tmp_path)(texts) == pytest.approx(static(texts), abs=1e-6)


def test_another_process_loads_it_from_its_folder(static):
    assert np.array_equal(pickle.loads(pickle.dumps(static))(["sums 1"]), static(["sums 1"]))


def test_a_policy_that_was_fitted_with_it_loads_it_by_name_and_decides_alike(static, tmp_path):
    policy = cc.fit(make_rows(90), encoder=static, clusters=3)
    policy.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy")
    assert loaded.encoder.encoder.spec == static.spec
    assert cc.evaluate(loaded, make_rows(60, seed=1)) == cc.evaluate(policy, make_rows(60, seed=1))


def test_what_is_no_static_model_is_a_clear_error(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no static embeddings"):
        StaticEncoder(tmp_path)(["a"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match='made by "distilled:MODEL"'):
        StaticEncoder("nobody/nothing")(["a"])
