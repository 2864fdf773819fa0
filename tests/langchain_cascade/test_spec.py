"""A cascade as data, and back."""

import json

import pytest
from langchain_core.runnables import ConfigurableField
from langchain_openai import ChatOpenAI

import cascade_components as cc
from langchain_cascade import CascadeChatModel

from .doubles import policy, pool


def word_encoder(texts):
    return [[float("sum" in text), float("poem" in text), len(text) / 100] for text in texts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = [
        {
            "query_id": str(number),
            "query": f"{'sum' if number % 2 else 'poem'} {number}",
            "model": model,
            "correct": float(model == "large" or number % 2),
            "cost_usd": 0.001 if model == "small" else 0.01,
        }
        for number in range(60)
        for model in ("small", "large")
    ]
    found = cc.fit(rows, encoder=word_encoder, clusters=2, quality=None)
    path = tmp_path_factory.mktemp("made") / "policy"
    found.save(path)
    return path


@pytest.fixture
def loads(monkeypatch):
    """Policies with an encoder of one's own are given it on load."""
    load = cc.CascadePolicy.load.__func__
    monkeypatch.setattr(cc.CascadePolicy, "load", classmethod(lambda cls, path: load(cls, path, encoder=word_encoder)))


def client(name, **kwargs):
    return ChatOpenAI(model=name, api_key="sk-very-secret", base_url="http://127.0.0.1:9/v1", **kwargs)


@pytest.mark.usefixtures("loads")
def test_a_cascade_is_made_again_from_its_spec(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    model = CascadeChatModel(
        policy=folder,
        models={"small": client("a", temperature=0.3), "large": client("b").bind(stop=["END"])},
        sticky="thread",
        temperature=0.5,
        tags=["mine"],
        prices={"small": cc.TokenPrice.per_million(input=1, output=2, cache_read=0.1), "large": (2e-6, 4e-6)},
        spend_limit=cc.SpendLimit(3.0, per="thread"),
    )
    written = json.dumps(model.to_spec())
    assert "very-secret" not in written
    again = CascadeChatModel.from_spec(json.loads(written))
    assert again.policy.fingerprint == model.policy.fingerprint
    assert again.serving.prices == model.serving.prices
    assert (again.sticky, again.temperature, again.tags) == ("thread", 0.5, ["mine"])
    assert repr(again.spend_limit) == repr(model.spend_limit)
    assert again.models["small"].temperature == 0.3
    assert again.models["small"].openai_api_key.get_secret_value() == "sk-from-the-environment"
    assert again.models["large"].kwargs == {"stop": ["END"]}
    assert again.to_spec() == model.to_spec()


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize(
    "small",
    [
        pool()["small"],
        client("a", default_headers={"Authorization": "Bearer very-secret"}),
        client("a", default_query={"key": "very-secret"}),
        ChatOpenAI(model="a", api_key="x", base_url="http://user:very-secret@127.0.0.1:9/v1"),
        client("a").configurable_fields(model_name=ConfigurableField(id="name")),
    ],
)
def test_a_model_that_cannot_be_written_down_is_given_again(folder, monkeypatch, small):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    spec = CascadeChatModel(policy=folder, models={"small": small, "large": client("b")}).to_spec()
    assert "very-secret" not in json.dumps(spec)
    assert spec["models"]["small"] is None
    with pytest.raises(ValueError, match=r'does not hold small.*from_spec\(spec, models=\{"small": \.\.\.\}\)'):
        CascadeChatModel.from_spec(spec)
    assert CascadeChatModel.from_spec(spec, models={"small": small}, sticky=None).models["small"] is small


@pytest.mark.usefixtures("loads")
def test_a_policy_that_has_changed_is_an_error(folder):
    model = CascadeChatModel(policy=folder, models=pool())
    spec = model.to_spec()
    assert spec["policy"] == str(folder)
    with pytest.raises(ValueError, match=r"the spec was made with 0123.*to_spec\(\)"):
        CascadeChatModel.from_spec({**spec, "fingerprint": "0123"}, models=pool())


def test_a_policy_without_a_folder_needs_one(make):
    with pytest.raises(ValueError, match=r'policy\.save\("policy/"\), then to_spec\("policy/"\)'):
        make().to_spec()
    assert make().to_spec("policy/")["policy"] == "policy/"
    assert make().to_spec("policy/")["fingerprint"] == policy().fingerprint


def test_a_function_cannot_be_written_down(make):
    with pytest.raises(ValueError, match="query= is a function"):
        make(query=lambda messages: "x").to_spec("policy/")
