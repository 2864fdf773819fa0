import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sentence_transformers
import torch

from cascade_components.encoders import CachedEncoder, SentenceTransformerEncoder, encode_with_progress


def lengths(texts):
    return np.array([[float(len(text)), 1.0] for text in texts])


def test_each_text_is_encoded_once_and_order_is_kept():
    calls = []
    encoder = CachedEncoder(lambda texts: calls.append(list(texts)) or lengths(texts))
    assert encoder(["aa", "b", "aa"])[:, 0].tolist() == [2, 1, 2]
    assert encoder(["b", "ccc"])[:, 0].tolist() == [1, 3]
    assert calls == [["aa", "b"], ["ccc"]]


def test_the_cache_is_bounded():
    calls = []
    encoder = CachedEncoder(lambda texts: calls.append(list(texts)) or lengths(texts), size=2)
    for text in ("a", "bb", "ccc", "a"):
        encoder([text])
    assert calls == [["a"], ["bb"], ["ccc"], ["a"]]


@pytest.mark.parametrize("bad", [np.zeros((1, 2)), np.zeros(2), np.array([[np.nan], [1.0]])])
def test_vectors_that_nothing_can_be_learned_from_are_refused(bad):
    with pytest.raises(ValueError, match="finite vectors of shape"):
        CachedEncoder(lambda texts: bad)(["a", "b"])


def test_progress_keeps_the_order():
    texts = ["x" * (n * 37 % 100 + 1) for n in range(600)]
    vectors = encode_with_progress(CachedEncoder(lengths, size=9), texts, "texts", progress=True)
    assert vectors[:, 0].tolist() == [len(text) for text in texts]


@pytest.fixture(scope="module")
def encoder():
    return SentenceTransformerEncoder()


class TestSentenceTransformer:
    """The default encoder, from the package that carries it."""

    def test_near_texts_have_near_vectors(self, encoder):
        same, other, far = encoder(["What is 2 + 2?", "Compute 2 plus 2.", "A poem about the sea."])
        assert same @ other > same @ far
        assert np.linalg.norm(same) == pytest.approx(1, abs=1e-5)

    def test_of_a_long_text_the_tail_is_kept(self, encoder):
        question = "What is the capital of France?"
        padding = "lorem ipsum dolor " * 400
        tail, head, alone = encoder([padding + question, question + padding, question])
        assert tail @ alone > head @ alone + 0.1

    def test_many_threads_share_it(self, encoder):
        found = []
        texts = [f"text {n}" for n in range(8)]
        threads = [threading.Thread(target=lambda t=t: found.append((t, encoder([t])[0]))) for t in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        together = encoder(texts)
        assert all(vector == pytest.approx(together[texts.index(text)], abs=1e-5) for text, vector in found)

    def test_it_computes_where_it_is_told(self, encoder, monkeypatch):
        made = []
        load = sentence_transformers.SentenceTransformer.__init__

        def record(self, *args, device=None, **kwargs):
            made.append(device)
            load(self, *args, device="cpu", **kwargs)

        monkeypatch.setattr(sentence_transformers.SentenceTransformer, "__init__", record)
        for there, device in ((False, "auto"), (True, "auto"), (True, "cpu")):
            monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
            copy = pickle.loads(pickle.dumps(SentenceTransformerEncoder(device=device)))
            assert copy(["a"]) == pytest.approx(encoder(["a"]), abs=1e-5)
        assert made == ["cpu", "cuda", "cpu"]

    def test_a_model_that_is_nowhere_is_a_clear_error(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(OSError, match="could not be loaded"):
            SentenceTransformerEncoder(str(tmp_path / "none"))(["a"])


def test_torch_runs_in_one_thread_whoever_calls(monkeypatch):
    """OpenMP keeps threads for each thread that calls it: those of 64 callers would get into each other's way."""
    ran_in = set()

    class Model:
        max_seq_length = 8

        def encode(self, texts, **_):
            ran_in.add(threading.get_ident())
            return np.ones((len(texts), 2))

    monkeypatch.setattr(SentenceTransformerEncoder, "sentence_transformer", lambda _, device: Model())
    encoder = SentenceTransformerEncoder("a model")
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda number: encoder([str(number)]), range(32)))
    assert all(vectors.shape == (1, 2) for vectors in found)
    assert len(ran_in) == 1
