import numpy as np
import pytest

import cascade_components as cc
from cascade_components.embedding_cache import default_path, identity
from cascade_components.encoders import CachedEncoder, SentenceTransformerEncoder
from tests.toy import make_rows, toy_encoder


class Named:
    """The toy encoder with an identity; counts what it is asked for."""

    cache_key = "toy 1"

    def __init__(self):
        self.texts = 0

    def __call__(self, texts):
        self.texts += len(texts)
        return toy_encoder(texts)


@pytest.fixture
def default(tmp_path, monkeypatch):
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path / "cache"))
    assert default_path().parent == tmp_path / "cache"
    return default_path()


def fitted(encoder, **named):
    return cc.fit(make_rows(60), encoder=encoder, clusters=2, **named)


def test_a_refit_embeds_nothing_and_finds_the_same(tmp_path):
    first, second = Named(), Named()
    policies = [fitted(encoder, cache=tmp_path / "vectors.sqlite") for encoder in (first, second)]
    assert first.texts >= 240
    assert second.texts == 0
    assert policies[0].fingerprint == policies[1].fingerprint
    assert policies[0].encoder.encoder is first, "what serves does not ask the disk"


def test_it_is_kept_by_default_where_the_encoder_has_an_identity(default):
    fitted(toy_encoder, quality=None)
    assert not default.exists()
    fitted(Named(), quality=None)
    again = Named()
    policy = fitted(again, quality=None)
    assert again.texts == 0
    cc.add_model(policy, "new", [row | {"model": "new"} for row in make_rows(60) if row["model"] == "small"])
    assert default.exists()


@pytest.mark.parametrize("off", [None, False])
def test_it_can_be_switched_off(default, off):
    fitted(Named(), quality=None, cache=off)
    assert not default.exists()


def test_a_default_file_that_cannot_be_used_does_not_matter_and_one_that_was_named_does(default):
    default.parent.write_text("no folder")
    fitted(Named(), quality=None)
    with pytest.raises(ValueError, match=r"Embeddings cannot be kept in .*\.sqlite: "):
        fitted(Named(), quality=None, cache=default)


def test_a_file_for_an_encoder_without_identity_is_refused(tmp_path):
    with pytest.raises(ValueError, match="this encoder has no identity; give it an attribute cache_key"):
        fitted(toy_encoder, cache=tmp_path / "vectors.sqlite")


def test_the_identity_of_a_model_changes_with_its_files(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"1")
    encoder = SentenceTransformerEncoder(str(tmp_path))
    before = identity(encoder)
    assert before == identity(CachedEncoder(SentenceTransformerEncoder(str(tmp_path))))
    weights.write_bytes(b"2")
    assert identity(encoder) != before


def test_vectors_that_nothing_can_be_learned_from_are_not_kept(tmp_path):
    class Broken(Named):
        def __call__(self, texts):
            return np.full((len(texts), 3), np.nan)

    with pytest.raises(ValueError, match="must return finite vectors of shape"):
        fitted(Broken(), cache=tmp_path / "vectors.sqlite")
    again = Named()
    fitted(again, quality=None, cache=tmp_path / "vectors.sqlite")
    assert again.texts == 60
