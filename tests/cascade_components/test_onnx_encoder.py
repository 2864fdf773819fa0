import json
import os
import pickle
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest

import cascade_components as cc
from cascade_components.encoders import SentenceTransformerEncoder, encoder_from_spec, onnx_model, spec_of
from cascade_components.encoders.model_files import kept_folder
from cascade_components.encoders.sentence import SentenceTransformerEncoder as Encoder
from tests.cascade_components.tiny_encoder import WINDOW, make_sentence_transformer
from tests.toy import make_rows

pytestmark = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs the extra onnx")

TEXTS = ["sums 1", "poems question 7 sure", "code 3 perhaps unknown 44 7 sums", "perhaps " * 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sentence_transformer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    home = tmp_path_factory.mktemp("cache")
    before = os.environ.get("CASCADE_CACHE")
    os.environ["CASCADE_CACHE"] = str(home)
    yield home
    os.environ.pop("CASCADE_CACHE") if before is None else os.environ.update(CASCADE_CACHE=before)


@pytest.fixture(scope="module")
def onnx(folder, cache):
    encoder = SentenceTransformerEncoder(str(folder), backend="onnx")
    encoder(["sums"])
    return encoder


def test_its_vectors_are_near_those_of_torch(onnx, folder):
    there, here = SentenceTransformerEncoder(str(folder))(TEXTS), onnx(TEXTS)
    assert np.linalg.norm(here, axis=1) == pytest.approx(1, abs=1e-4)
    assert (there * here).sum(1).min() > 0.98


def test_company_changes_no_vector(onnx):
    together = onnx(TEXTS)
    alone = np.concatenate([onnx([text]) for text in TEXTS])
    assert np.array_equal(together, alone)


def test_a_batch_in_the_graph_itself_changes_no_vector(onnx, folder):
    import onnxruntime

    kept = onnx_model._kept(kept_folder("onnx", onnx_model._FORMAT, str(folder)))
    session = onnxruntime.InferenceSession(kept.graph, providers=["CPUExecutionProvider"])
    ids = np.array([[2, 5, 6, 3, 0, 0], [2, 7, 8, 9, 10, 3]])
    columns = {"input_ids": ids, "attention_mask": (ids > 0).astype(int), "token_type_ids": np.zeros_like(ids)}
    both = session.run(None, columns)[0]
    first = session.run(None, {name: column[:1, :4] for name, column in columns.items()})[0]
    assert both[0] == pytest.approx(first[0], abs=1e-5)


def test_the_tail_of_a_long_text_is_kept_and_the_rest_is_cut_before_it_is_tokenised(onnx, folder):
    tail = "sums poems code " * WINDOW
    for encoder in (onnx, SentenceTransformerEncoder(str(folder))):
        expected = encoder([tail])
        spent = time.process_time()
        assert encoder(["perhaps " * 200_000 + tail]) == pytest.approx(expected, abs=1e-5)
        assert time.process_time() - spent < 0.2  # to tokenise it all takes seconds


def test_a_kept_conversion_is_read_without_the_model(onnx, folder, monkeypatch):
    monkeypatch.setattr(Encoder, "sentence_transformer", lambda *_, **__: pytest.fail("it was loaded"))
    again = pickle.loads(pickle.dumps(onnx))
    again.forget()
    assert np.array_equal(again(TEXTS), onnx(TEXTS))


def test_a_damaged_conversion_is_made_again(onnx, folder):
    kept = kept_folder("onnx", onnx_model._FORMAT, str(folder))
    before = onnx(TEXTS)
    (kept / "model.onnx").write_bytes(b"damaged")
    onnx.forget()
    assert onnx(TEXTS) == pytest.approx(before, abs=1e-6)


def test_another_model_in_the_same_folder_is_converted_anew(onnx, folder):
    before = kept_folder("onnx", onnx_model._FORMAT, str(folder))
    (folder / "README.md").write_text("changed")
    assert kept_folder("onnx", onnx_model._FORMAT, str(folder)) != before


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(folder, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path / "file"))
    assert SentenceTransformerEncoder(str(folder), backend="onnx")(["sums"]).shape == (1, 32)
    assert "cannot be kept" in caplog.text


def test_a_conversion_that_differs_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path))
    monkeypatch.setattr(onnx_model, "ALIKE", 1.1)
    with pytest.raises(RuntimeError, match="came out another way"):
        SentenceTransformerEncoder(str(folder), backend="onnx")(["sums"])
    assert not list(tmp_path.rglob("*.onnx"))


def test_without_the_extra_the_error_names_it(folder, monkeypatch):
    monkeypatch.setattr(onnx_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"cascade-components\[onnx\]"):
        SentenceTransformerEncoder(str(folder), backend="onnx")(["sums"])


def test_serving_it_loads_neither_torch_nor_transformers(onnx, folder, cache):
    onnx.forget()
    onnx(["sums"])  # converted
    code = (
        "import sys; from cascade_components.encoders import encoder_from_spec;"
        "encoder_from_spec(sys.argv[1])(['sums']);"
        "print([name for name in ('torch', 'transformers', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"onnx:{folder}"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_policy_that_was_fitted_with_it_loads_it_by_name_and_decides_alike(onnx, tmp_path):
    policy = cc.fit(make_rows(90), encoder=onnx, clusters=3)
    policy.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy")
    assert loaded.encoder.encoder.spec == onnx.spec
    assert cc.evaluate(loaded, make_rows(60, seed=1)) == cc.evaluate(policy, make_rows(60, seed=1))


def test_specs_name_encoders(tmp_path):
    for encoder in (
        SentenceTransformerEncoder("a/b"),
        SentenceTransformerEncoder("a/b", backend="onnx"),
        encoder_from_spec(f"static:{tmp_path}"),
    ):
        assert repr(encoder_from_spec(spec_of(encoder))) == repr(encoder)
    assert spec_of(SentenceTransformerEncoder("a/b")) == "a/b"  # as policies have had it
    assert spec_of(len) is None
    assert json.dumps(spec_of(SentenceTransformerEncoder("a/b", backend="onnx"))) == '"onnx:a/b"'
    with pytest.raises(ValueError, match="backend must be one of torch, onnx"):
        SentenceTransformerEncoder("a/b", backend="tpu")
