"""Embeddings made on a cluster of two nodes are those that `fit` would make, and it does not make them again."""

import json
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

import cascade_components as cc
from cascade_components.embedding_cache import store_of
from cascade_components.encoders import SentenceTransformerEncoder, encoder_from_spec
from cascade_ray.embedding import _keep, _workers, embed, texts_to_fit
from tests.cascade_components.tiny_encoder import make_sentence_transformer
from tests.toy import make_rows

EMBED = """
import sys, cascade_ray
from cascade_ray.cluster import connected

outcomes, encoder, cache, address = sys.argv[1:]
with connected(address):
    found = [
        cascade_ray.embed(texts, encoder=encoder, cache=cache)
        for texts in (["sums question q0", "something else"], outcomes, outcomes)
    ]
print(*found)
"""


def kept(cache):
    with closing(sqlite3.connect(cache)) as connection:
        return connection.execute("SELECT count(*) FROM vectors").fetchone()[0]


@pytest.mark.enable_socket
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_fit_does_not_embed_again(cluster, tmp_path, monkeypatch):
    outcomes = cc.load_outcomes(make_rows(60))
    outcomes.save(tmp_path / "outcomes.jsonl")
    encoder = str(make_sentence_transformer(tmp_path / "encoder"))
    cache = tmp_path / "vectors.sqlite"
    driver = cluster.run(EMBED, tmp_path, tmp_path / "outcomes.jsonl", encoder, cache, cluster.address)
    shown, errors = driver.communicate(timeout=400)
    assert driver.returncode == 0, errors
    wanted = set(texts_to_fit(outcomes))
    assert json.loads(f"[{','.join(shown.split())}]") == [2, len(wanted - {"sums question q0"}), 0]

    there, found = kept(cache), encoder_from_spec(encoder)
    assert there == len(wanted) + 1
    with closing(store_of(found, cache)) as store:
        texts = sorted(wanted)[:20]
        vectors = store.read(texts)
    np.testing.assert_allclose([vectors[text] for text in texts], found(texts), atol=1e-5)
    encoded, encode = set(), SentenceTransformerEncoder.__call__
    monkeypatch.setattr(
        SentenceTransformerEncoder, "__call__", lambda self, texts: encoded.update(texts) or encode(self, texts)
    )
    cc.fit(outcomes, encoder=encoder, clusters=2, quality=None, cache=cache, progress=False)
    assert encoded == set()
    cc.fit(outcomes, encoder=encoder, clusters=2, cache=cache, progress=False)
    assert encoded  # the beginnings of some answers
    assert not encoded & wanted


def test_workers_are_as_many_as_the_gpus_allow():
    cluster = SimpleNamespace(cluster_resources=lambda: {"CPU": 16.0, "GPU": 2.0})
    assert [_workers(cluster, None, 0), _workers(cluster, 3, 0)] == [16, 3]
    assert [_workers(cluster, None, 1), _workers(cluster, None, 0.5), _workers(cluster, 1, 1)] == [2, 4, 1]
    with pytest.raises(ValueError, match="has 2 GPUs: not enough for 3 workers with 1 each"):
        _workers(cluster, 3, 1)
    with pytest.raises(ValueError, match="has 0 GPUs"):
        _workers(SimpleNamespace(cluster_resources=dict), None, 1)


def test_what_has_no_place_is_refused(tmp_path):
    with pytest.raises(ValueError, match="There is nowhere to keep the vectors"):
        embed(["a"], cache=None)
    with pytest.raises(ValueError, match="this encoder has no identity"):
        embed(["a"], encoder=lambda texts: np.ones((len(texts), 2)), cache=tmp_path / "vectors.sqlite")
    from cascade_components.vector_store import VectorStore

    with closing(VectorStore(tmp_path / "small.sqlite", "a", most_bytes=10_000)) as store:
        _keep(store, ["a"], np.ones((1, 4), np.float32), 50)
        with pytest.raises(ValueError, match="has no room for 500 vectors of 4 dimensions"):
            _keep(store, ["a"], np.ones((1, 4), np.float32), 500)
