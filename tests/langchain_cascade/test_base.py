"""How a cascade is made, and what it says about itself."""

import importlib.util
import runpy
import subprocess
import sys

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import ValidationError

import langchain_cascade
from langchain_cascade import CascadeChatModel

from .doubles import policy, pool


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["small"], "missing: large"),
        (["small", "large", "huge"], "not in the policy: huge"),
        (["tiny", "large"], r"missing: small; not in the policy: tiny\); it knows small, large"),
    ],
)
def test_the_pool_must_be_the_policys(names, problem):
    models = {name: pool()["small"] for name in names}
    with pytest.raises(ValueError, match=problem):
        CascadeChatModel(policy=policy(), models=models)


def test_a_member_that_holds_no_chat_model_is_refused():
    with pytest.raises(ValueError, match="small holds no chat model: found RunnableLambda"):
        CascadeChatModel(policy=policy(), models={**pool(), "small": RunnableLambda(str)})


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        ({"quality_treshold": 0.1}, "quality_treshold"),
        ({"sticky": "always"}, "sticky"),
        ({"release": "soon"}, "release"),
    ],
)
def test_parameters_without_effect_are_refused(make, parameter, problem):
    with pytest.raises(ValidationError, match=problem):
        make(**parameter)


def test_a_folder_without_a_policy_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        CascadeChatModel(policy=tmp_path / "none", models=pool())


def test_nothing_it_shows_has_a_secret(make):
    model = make()
    model.models["large"] = ChatOpenAI(model="gpt-x", api_key="sk-very-secret")
    shown = [repr(model), str(model), str(dumpd(model)), str(model._identifying_params), str(model.asdict())]
    assert all("very-secret" not in text for text in shown)
    assert repr(model) == "CascadeChatModel(policy='0123456789ab', models=['small', 'large'])"
    assert "0123456789ab" in str(dumpd(model))
    assert not model.is_lc_serializable()


def test_a_wrong_name_shows_no_secret_of_a_model():
    model = ChatOpenAI(model="gpt-x", api_key="none", extra_body={"token": "sk-very-secret"})
    with pytest.raises(ValueError, match="missing: large") as refused:
        CascadeChatModel(policy=policy(), models={"small": pool()["small"], "larg": model})
    assert "secret" not in str(refused.value)


def test_two_cascades_are_told_apart(make):
    one, same = make(), make()
    others = [make(temperature=0.5), make(small={"model_name": "x"}), make(policy_changes={"fingerprint": "f"})]
    assert one._get_llm_string() == same._get_llm_string()
    assert all(one._get_llm_string() != other._get_llm_string() for other in others)


def test_the_strongest_model_counts_tokens(make):
    model = make(large={"custom_get_token_ids": lambda text: [1] * len(text)})
    assert model.get_num_tokens("four") == 4
    assert model.get_token_ids("ab") == [1, 1]
    assert model.get_num_tokens_from_messages([HumanMessage("x")]) == len("Human: x")

    own = make(custom_get_token_ids=lambda text: [7])
    assert own.get_token_ids("ab") == [7]
    assert own.get_num_tokens("ab") == 1
    assert own.get_num_tokens_from_messages([HumanMessage("x")]) == 1


def test_the_profile_has_a_last_resorts_capabilities_and_the_lowest_limits(make):
    small = {"profile": {"max_input_tokens": 1000, "tool_calling": False, "image_inputs": True, "pdf_inputs": False}}
    large = {
        "profile": {"max_input_tokens": 9000, "max_output_tokens": 50, "tool_calling": True, "pdf_inputs": False},
    }
    both = {
        "image_inputs": True,
        "max_input_tokens": 1000,
        "max_output_tokens": 50,
        "pdf_inputs": False,
        "tool_calling": True,
    }
    assert make(small=small, large=large).profile == both
    # Gated: the small model's answer stands only if it is judged good, so the large one decides what can be done.
    assert make(0.9, small=small, large=large).profile == large["profile"]
    # What an unknown last resort may be able to do is not denied.
    assert make(small=small).profile == {"image_inputs": True, "max_input_tokens": 1000}
    assert make().profile is None


def test_tracing_parameters(make):
    params = make(max_tokens=9, stop=["END"])._get_ls_params()
    assert params["ls_provider"] == "cascade"
    assert params["ls_model_name"] == "cascade-0123456789ab"
    assert (params["ls_max_tokens"], params["ls_stop"]) == (9, ["END"])


def test_it_is_configurable_itself(make):
    model = make().configurable_fields(temperature=ConfigurableField(id="heat"))
    model.invoke("Hello", {"configurable": {"heat": 0.7}})
    assert model.default.models["small"].calls[0]["temperature"] == 0.7


def test_the_package_exports():
    assert sorted(langchain_cascade.__all__) == langchain_cascade.__all__
    assert all(getattr(langchain_cascade, name) is not None for name in langchain_cascade.__all__)
    with pytest.raises(AttributeError, match="no_such"):
        _ = langchain_cascade.no_such


def test_a_missing_langchain_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"cascade-components\[langchain\]"):
        runpy.run_path(langchain_cascade.__file__)


def test_serving_loads_nothing_that_only_fitting_needs():
    code = "import sys, langchain_cascade; print([name for name in ('torch', 'sklearn') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_a_changed_parameter_holds_from_the_next_call_on(make):
    model = make(0.9)
    assert model.invoke("Hello").text == "small says so"
    changed = model.model_copy(update={"policy": policy(0.1)})
    assert changed.invoke("Hello").text == "large says so"
    assert model.invoke("Hello").text == "small says so"
    model.policy = policy(0.1)
    assert model.invoke("Hello").text == "large says so"
