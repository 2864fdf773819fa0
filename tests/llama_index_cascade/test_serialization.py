"""A cascade as data, and back: no secrets in it, and what is left open is given again."""

import json

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.llms.openai import OpenAI

import cascade_components as cc
from llama_index.llms.cascade import CascadeLLM
from llama_index.llms.cascade.serialization import models_from_dict, models_to_dict
from tests.toy import COST, make_rows, toy_encoder

from .doubles import ScriptedLLM, policy, pool

SECRET = "sk-very-secret"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "policy"
    cc.fit(make_rows(60), encoder=toy_encoder, clusters=3, quality=None).save(path)
    return path


@pytest.fixture
def loads(monkeypatch):
    """Policies with an encoder of one's own are given it on load."""
    load = cc.CascadePolicy.load.__func__
    monkeypatch.setattr(cc.CascadePolicy, "load", classmethod(lambda cls, path: load(cls, path, encoder=toy_encoder)))


def openai(**fields):
    return OpenAI(model="gpt-4o-mini", api_key=SECRET, api_base="http://127.0.0.1:1/v1", **fields)


def test_llms_are_written_without_their_secrets_and_read_again(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    models = {
        "small": openai(temperature=0.7, additional_kwargs={"seed": 7}),
        "large": MockLLM(max_tokens=3),
    }
    data = models_to_dict(models)
    assert SECRET not in json.dumps(data)
    again = models_from_dict(data, {})
    assert (again["small"].model, again["small"].temperature) == ("gpt-4o-mini", 0.7)
    assert (again["small"].api_base, again["small"].api_key) == ("http://127.0.0.1:1/v1", "sk-of-the-environment")
    assert again["large"].max_tokens == 3
    assert models_to_dict(models) == data


@pytest.mark.parametrize(
    "model",
    [
        ScriptedLLM(),
        OpenAI(model="gpt-4o-mini", api_key=SECRET, api_base=f"https://me:{SECRET}@example.org/v1"),
        openai(default_headers={"Authorization": SECRET}),
        openai(additional_kwargs={"extra_headers": {"Authorization": SECRET}}),
    ],
)
def test_what_cannot_be_written_is_left_open_and_given_again(model):
    data = models_to_dict({"small": model, "large": MockLLM()})
    assert SECRET not in json.dumps(data)
    assert data["small"] is None
    with pytest.raises(ValueError, match=r"does not hold small: give it again, .*models=\{\"small\""):
        models_from_dict(data, {})
    found = models_from_dict(data, {"small": model})
    assert found["small"] is model
    assert list(found) == ["small", "large"]


def test_a_given_llm_goes_before_that_of_the_data():
    data, stands_in = models_to_dict({"small": MockLLM(), "large": MockLLM()}), MockLLM()
    assert models_from_dict(data, {"large": stands_in})["large"] is stands_in


def test_a_policy_object_is_left_open_and_given_again():
    found = policy(0.1)
    llm = CascadeLLM(policy=found, models=pool())
    data = llm.to_dict()
    assert (data["policy"], data["models"]) == (None, {"small": None, "large": None})
    with pytest.raises(ValueError, match=r"does not hold the policy: give it again, .*policy="):
        CascadeLLM.from_dict(data, models=pool())
    again = CascadeLLM.from_dict(data, models=pool(), policy=found)
    assert again.chat([ChatMessage("Hello")]).message.content == "large says so"


@pytest.mark.usefixtures("loads")
def test_a_cascade_is_made_again_from_its_data(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    prices = {"small": cc.TokenPrice(1e-6, 2e-6, cache_read=1e-7), "medium": (2e-6, 4e-6)}
    llm = CascadeLLM(
        policy=folder,
        models={name: openai(temperature=0.3) for name in COST},
        prices=prices,
        sticky="thread",
        release="early",
        system_prompt="Be brief.",
    )
    data = json.loads(llm.to_json())
    assert SECRET not in json.dumps(data)
    again = CascadeLLM.from_dict(data)
    assert again.to_dict() == llm.to_dict()
    assert again.metadata == llm.metadata
    assert again.serving.prices == llm.serving.prices
    assert (again.sticky, again.release, again.system_prompt) == ("thread", "early", "Be brief.")
    assert {model.temperature for model in again.models.values()} == {0.3}
    assert again.policy.fingerprint == llm.policy.fingerprint
    stands_in = ScriptedLLM(model_name="medium")
    other = CascadeLLM.from_dict(data, models={"medium": stands_in}, sticky="loop")
    assert (other.models["medium"], other.sticky) == (stands_in, "loop")
