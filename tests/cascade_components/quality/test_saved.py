"""Estimators of damaged or hostile folders: refused by a message that says where, before anything is made of them."""

import inspect
import json
import os
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import cascade_components as cc
from cascade_components.quality import checkpoints
from cascade_components.quality.saved import EmbeddingConfig
from cascade_components.storage import read_folder
from tests.cascade_components.damage import NASTY, copied, loaded_or_refused, places, put, rewrite, without
from tests.cascade_components.quality.tiny import make_checkpoint
from tests.toy import make_rows, toy_encoder

ROWS = make_rows(count=60)
for row in ROWS:
    row["token_margins"] = [0.9 if row["correct"] else 0.3, 0.5 + 0.001 * (row["output_tokens"] % 7)]

FUZZ = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], database=None)


def network():
    return nn.Sequential(nn.LazyLinear(8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Kind → a policy with estimators of that kind."""
    checkpoint = make_checkpoint(tmp_path_factory.mktemp("checkpoint"), initializer_range=0.2)
    torch.manual_seed(0)
    quality = {
        "margins": "margins",
        "sequence": cc.SequenceHead(checkpoint, max_length=32, learning_rate=5e-3, epochs=1),
        "module": cc.ModuleEstimator(network(), epochs=2),
    }
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        for kind, found in quality.items():
            folders[kind] = tmp_path_factory.mktemp(kind) / "policy"
            policy = cc.fit(ROWS, encoder=toy_encoder, clusters=3, quality=found, retention=0.97)
            policy.remove_model("medium").save(folders[kind])
        yield folders


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "policy"


def given_again(kind):
    return {"quality": network()} if kind == "module" else {}


def test_every_setting_of_a_head_is_known():
    head = cc.EmbeddingHead(penalty=1.0, class_weight="balanced", models=["a"], thinkers=["a"], seed=3)
    names = set(inspect.signature(cc.EmbeddingHead).parameters) - {"encoder", "steadiness"}  # of training alone
    assert set(head.config) == names == set(EmbeddingConfig.model_validate(head.config).model_dump())


@pytest.mark.parametrize("kind", ["margins", "module", "sequence"])
@FUZZ
@given(data=st.data())
def test_other_configs(saved, place, kind, data):
    folder = copied(saved[kind], place)
    config = read_folder(folder).facts["estimators"]["small"]["config"]
    where = ("estimators", "small", "config", *data.draw(st.sampled_from(list(places(config)))))
    value = data.draw(st.sampled_from([*NASTY, "missing"]))
    change = (lambda facts: without(facts, where)) if value == "missing" else (lambda facts: put(facts, where, value))
    rewrite(folder, facts=change)
    loaded_or_refused(folder, **given_again(kind))


@pytest.mark.parametrize("kind", ["module", "sequence"])
@FUZZ
@given(data=st.data())
def test_other_arrays(saved, place, kind, data):
    folder = copied(saved[kind], place)
    name = data.draw(st.sampled_from(sorted(read_folder(folder).arrays["quality"])))
    changes = {
        "missing": lambda array: None,
        "shorter": lambda array: array[:-1] if array.ndim else array[None],
        "flat": lambda array: array.ravel(),
        "nan": lambda array: np.full(array.shape, np.nan, np.float32),
        "double": lambda array: array.astype(np.float64),
        "empty": lambda array: np.zeros((0,) * array.ndim, array.dtype),
    }
    rewrite(folder, arrays={("quality", name): changes[data.draw(st.sampled_from(sorted(changes)))]})
    loaded_or_refused(folder, **given_again(kind))


@FUZZ
@given(data=st.data())
def test_flipped_bits_in_a_tokenizer(saved, place, data):
    folder = copied(saved["sequence"], place)

    def flipped(array):
        array = array.copy()
        array[data.draw(st.integers(0, len(array) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        return array

    rewrite(folder, arrays={("quality", "small/tokenizer"): flipped})
    loaded_or_refused(folder)


def refused(folder, match, **given):
    with pytest.raises(ValueError, match=match):
        cc.CascadePolicy.load(folder, encoder=toy_encoder, **given)


def replaced(array, before, after):
    text = array.tobytes().decode()
    assert before in text
    return np.frombuffer(text.replace(before, after).encode(), np.uint8)


def set_config(folder, **changes):
    def change(facts):
        config = facts["estimators"]["small"]["config"]
        return put(facts, ("estimators", "small", "config"), config | changes)

    rewrite(folder, facts=change)


def set_network(folder, **changes):
    network = read_folder(folder).facts["estimators"]["small"]["config"]["network"]
    set_config(folder, network=network | changes)


class TestSequence:
    @pytest.fixture
    def folder(self, saved, place):
        return copied(saved["sequence"], place)

    @pytest.mark.parametrize(
        "changes",
        [
            {"vocab_size": 10_000_000},
            {"max_position_embeddings": 9_999_999},
            {"num_hidden_layers": 100_000},
            {"hidden_size": 200_000, "intermediate_size": 1_000_000},
        ],
    )
    def test_sizes_that_are_not_those_of_the_weights_are_refused_before_room_is_made(
        self, folder, monkeypatch, changes
    ):
        made = []

        def build(config, build=checkpoints.build):
            made.append(torch.empty(0).device.type)
            return build(config)

        monkeypatch.setattr(checkpoints, "build", build)
        monkeypatch.setattr("cascade_components.quality.sequence.build", build)
        set_network(folder, **changes)
        started = time.process_time()
        refused(folder, r"quality-\w+\.safetensors is damaged: .*(must have the shape|must be that of its)")
        large, small = ["meta", "cpu"], ["meta"]  # the one is whole
        assert made in (large, large + small)
        assert time.process_time() - started < 5

    @pytest.mark.parametrize("name", ["num_labels", "vocab_size", "surprise"])
    def test_sizes_that_no_network_has_are_refused(self, folder, name):
        set_network(folder, **{name: 10**12})
        refused(folder, rf"small.config: network.{name} is too large")

    @pytest.mark.parametrize(
        "changes",
        [
            {"auto_map": {"AutoConfig": "somebody/code--configuration.Config"}},
            {"attn_implementation": "somebody/kernels"},
            {"_attn_implementation": {"": "somebody/kernels"}},
            {"_attn_implementation_internal": "somebody/kernels"},
            {"quantization_config": {"quant_method": "x"}},
            {"use_kernels": True},
            {"text_config": {"kernel_config": {"x": "y"}}},
        ],
    )
    def test_what_would_have_code_fetched_is_refused(self, folder, changes):
        set_network(folder, **changes)
        refused(folder, r"policy\.json is damaged: estimators\.small\.config: network\.\w+ would have code fetched")

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"model_type": "os.system"}, "nothing can be made of small"),
            ({"model_type": None}, "network.model_type must name an architecture"),
            ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "network must tell two classes apart"),
            ({"hidden_act": "os.system"}, "nothing can be made of small"),
            ({"model_type": "gpt2"}, "must have the shape|nothing can be made"),
        ],
    )
    def test_another_network_is_refused(self, folder, changes, match):
        set_network(folder, **changes)
        refused(folder, match)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"device": "cuda"}, "device: Extra inputs are not permitted"),
            ({"max_length": 4}, "max_length: Input should be greater than or equal to 16, found 4"),
            ({"max_length": 16}, "small/tokenizer must cut texts at 16 tokens at most"),
            ({"inputs": []}, "inputs must have input_ids"),
            ({"pad": 999}, "small/tokenizer has a token 999, where its network knows 112"),
            ({"layout": "free"}, "layout: Input should be 'pair' or 'cre-router', found 'free'"),
        ],
    )
    def test_another_config_is_refused(self, folder, changes, match):
        set_config(folder, **changes)
        refused(folder, match)

    def test_another_tokenizer_is_refused(self, saved, place):
        def more_words(array):
            data = json.loads(array.tobytes())
            data["model"]["vocab"]["elephant"] = 5000
            return np.frombuffer(json.dumps(data).encode(), np.uint8)

        for change, match in (
            (more_words, "small/tokenizer has a token 5000, where its network knows 112"),
            (lambda array: np.frombuffer(b"{}", np.uint8), "nothing can be made of small"),
            (
                lambda array: replaced(array, '"[SEP]":{', '"[XXX]":{'),
                r"of small \(PanicException: no entry found for key",
            ),
            (lambda array: array.astype(float), "small/tokenizer must be of type uint8, found float64"),
            (lambda array: None, "small/tokenizer is missing"),
        ):
            rewrite(copied(saved["sequence"], place), arrays={("quality", "small/tokenizer"): change})
            refused(place, match)


def test_a_module_of_another_width_is_refused(saved, place):
    folder = copied(saved["module"], place)
    set_config(folder, width=10_000_000)
    refused(folder, r"small: width must be \d+ for vectors of 13 numbers, found 10000000", quality=network())


@pytest.mark.parametrize(
    ("maps", "match"),
    [
        ({"margin": [[0.0, 1.0], [1.0, 0.0]]}, "knots must be two ascending lists"),
        ({"margin": [[0.0, 1.0], [0.5]]}, "knots must be two ascending lists"),
        ({"margin": [[], []]}, "knots must be two ascending lists"),
        ({"guess": [[0.0], [0.5]]}, "Input should be 'margin' or 'logprob'"),
    ],
)
def test_other_margins_are_refused(saved, place, maps, match):
    folder = copied(saved["margins"], place)
    set_config(folder, maps=maps)
    refused(folder, rf"policy\.json is damaged: estimators\.small\.config\.maps.*{match}")


def test_a_kind_that_nobody_knows_is_refused(saved, place):
    folder = copied(saved["margins"], place)
    for kind in ("oracle", "cascade_components.quality.head.EmbeddingHead", "__import__('os')"):
        rewrite(folder, facts=lambda facts, kind=kind: put(facts, ("quality",), kind))
        refused(folder, "quality: Input should be 'embedding'")
