"""The cascade as one LLM: its parameters, what it says about itself, the settings of a call, who hears of it."""

import copy
import pickle

import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import MockLLM
from llama_index.llms.openai import OpenAI

import cascade_components as cc
from cascade_components.spending import SpendLimitError
from cascade_components.trace import Plan
from llama_index.llms.cascade import CascadeLLM

from .contract import CHATS, TOOL_CHATS, WEATHER, ask
from .doubles import ScriptedLLM, ScriptedPolicy, policy, pool
from .observers import Calls, dispatched

SECRET = "sk-very-secret"
QUESTION = [ChatMessage("Hello")]

chats = pytest.mark.parametrize("way", CHATS)


def make(probability=None, *, of=None, models=None, **changes):
    replies = {name: changes.pop(name) for name in ("small", "large") if name in changes}
    return CascadeLLM(policy=of or policy(probability), models=models or pool(**replies), **changes)


def trace_of(response):
    return response.additional_kwargs["cascade"]


# — parameters —


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"models": {"small": MockLLM()}}, "missing: large"),
        ({"models": {**pool(), "huge": MockLLM()}}, "not in the policy: huge"),
        ({"models": {**pool(), "large": "gpt-4o"}}, "large is no LlamaIndex LLM: found str"),
        ({"modles": {}}, "no parameter modles"),
        ({"sticky": "always"}, "sticky"),
        ({"release": "never"}, "release"),
        ({"prices": {"small": 3}}, "prices: small must be a TokenPrice"),
        ({"prices": {"huge": (1.0, 1.0)}}, "prices: huge is not in the policy"),
        ({"spend_limit": 3}, "spend_limit"),
        ({"of": policy(prices={}), "spend_limit": cc.SpendLimit(1.0)}, "spend_limit needs the price of every model"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        make(**changes)


def test_a_changed_parameter_holds_from_the_next_call_on():
    llm = make()
    assert trace_of(llm.chat(QUESTION))["cost_usd"] == pytest.approx(0.015)
    llm.prices = {"small": (1.0, 1.0)}
    assert trace_of(llm.chat(QUESTION))["cost_usd"] == pytest.approx(15.0)
    again = llm.model_copy(update={"prices": None})
    assert [trace_of(one.chat(QUESTION))["cost_usd"] for one in (again, llm)] == pytest.approx([0.015, 15.0])


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda llm: pickle.loads(pickle.dumps(llm))])
def test_a_copy_is_the_same_cascade(again):
    llm = make(0.1, spend_limit=cc.SpendLimit(1.0), release="early")
    llm.chat(QUESTION)
    found = again(llm)
    assert found.to_dict() == llm.to_dict()
    assert trace_of(found.chat(QUESTION))["path"] == ["small", "large"]


# — what it says about itself —


def test_metadata_is_what_a_last_resort_can_do_within_the_smallest_of_their_limits():
    fields = {
        "small": {"context_window": 10, "num_output": 1, "is_function_calling_model": True},
        "medium": {"context_window": 300, "num_output": 30, "is_function_calling_model": True},
        "large": {"context_window": 400, "num_output": 20, "is_function_calling_model": False},
    }
    found = ScriptedPolicy(plan=Plan("small", "medium", 0.5), models=tuple(fields))
    llm = CascadeLLM(policy=found, models={name: ScriptedLLM(**given) for name, given in fields.items()})
    metadata = llm.metadata
    assert (metadata.context_window, metadata.num_output) == (300, 20)
    assert (metadata.is_chat_model, metadata.is_function_calling_model) == (True, True)
    assert metadata.model_name == f"cascade-{found.fingerprint}"
    llm.models["large"].num_output = -1
    assert llm.metadata.num_output == 30
    llm.models["medium"].num_output = -1
    assert llm.metadata.num_output == -1
    assert not make(0.1, large={"is_function_calling_model": False}).metadata.is_function_calling_model


def test_payload_and_representation_hold_no_secret():
    clients = {name: OpenAI(model="gpt-4o-mini", api_key=SECRET) for name in ("small", "large")}
    llm = make(models=clients)
    assert llm.to_payload()["models"] == {"small": "openai_llm", "large": "openai_llm"}
    assert llm.to_payload()["class_name"] == CascadeLLM.class_name() == "CascadeLLM"
    for shown in (repr(llm), str(llm), repr(llm.to_payload()), repr(llm.to_dict())):
        assert SECRET not in shown


@chats
async def test_events_hold_no_secret(way):
    calls = Calls()
    llm = make(0.1, small={"api_key": SECRET}, large={"api_key": SECRET}, callback_manager=CallbackManager([calls]))
    with dispatched() as found:
        await ask(llm, way, QUESTION)
    assert len(calls.ends) == 2
    assert SECRET not in repr([calls.starts, calls.ends, found.events, found.finished_spans])


# — the settings of a call —


@chats
@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (None, ["small", "large"]),
        ({}, ["small", "large"]),
        ({"model": "large"}, ["large"]),
        ({"model": "small"}, ["small"]),
        ({"escalate": False}, ["small"]),
        ({"budget": 0.5}, ["large"]),
        ({"thread": 7}, ["small", "large"]),
    ],
)
async def test_settings_hold_for_one_call_and_reach_no_llm(way, settings, path):
    llm = make(0.1)
    last = (await ask(llm, way, QUESTION, cascade=settings, seed=3))[-1]
    assert trace_of(last)["path"] == path
    for model in llm.models.values():
        for call in model.calls:
            assert {name: value for name, value in call.items() if name != "messages"} == {"seed": 3}
    assert trace_of(llm.chat(QUESTION))["path"] == ["small", "large"]


@pytest.mark.parametrize("way", ["complete", "stream_complete", "acomplete", "astream_complete"])
async def test_completions_take_settings_too(way):
    last = (await ask(make(0.1), way, "Hello", cascade={"model": "large"}))[-1]
    assert trace_of(last)["path"] == ["large"]


@pytest.mark.parametrize("way", TOOL_CHATS)
async def test_chats_with_tools_take_settings_too(way):
    last = (await ask(make(), way, [WEATHER], "Hello", cascade={"model": "large"}))[-1]
    assert trace_of(last)["path"] == ["large"]


def test_an_operating_point_is_asked_of_the_policy_once():
    llm = make()
    for _ in range(2):
        llm.chat(QUESTION, cascade={"cost_weight": 0.2})
    assert llm.policy.points == [{"cost_weight": 0.2}]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"budgte": 1}, r"Beside thread, cascade= is a dictionary of budget, .*; unknown: budgte"),
        ("large", "found 'large'"),
        ({"budget": 1, "retention": 0.9}, "found budget and retention"),
        ({"model": "huge"}, "huge"),
    ],
)
@chats
async def test_settings_that_make_no_sense_are_refused(way, settings, problem):
    llm = make()
    with pytest.raises(ValueError, match=problem):
        await ask(llm, way, QUESTION, cascade=settings)
    assert llm.models["small"].calls == []


def test_call_arguments_go_unchanged_to_the_llms():
    llm = make(0.1)
    llm.chat(QUESTION, model="another", temperature=0.5)
    for model in llm.models.values():
        (call,) = model.calls
        assert (call["model"], call["temperature"]) == ("another", 0.5)


# — who can take a call —


@pytest.mark.parametrize("way", TOOL_CHATS)
@pytest.mark.parametrize("small", [MockLLM(), ScriptedLLM(is_function_calling_model=False)])
async def test_an_llm_that_cannot_call_tools_is_not_asked_to(way, small):
    llm = make(0.9, models={**pool(), "small": small})
    last = (await ask(llm, way, [WEATHER], "Oslo"))[-1]
    assert trace_of(last)["path"] == ["large"]
    assert [call.tool_name for call in llm.get_tool_calls_from_response(last)] == ["weather"]
    assert trace_of(llm.chat(QUESTION))["path"] == ["small"]


@pytest.mark.parametrize("way", TOOL_CHATS)
async def test_if_no_llm_can_call_tools_the_error_says_so(way):
    llm = make(models={"small": MockLLM(), "large": MockLLM()})
    assert not llm.metadata.is_function_calling_model
    with pytest.raises(ValueError, match="tool"):
        await ask(llm, way, [WEATHER], "Oslo")


def test_an_answer_without_tool_calls_is_an_error_on_request():
    llm = make(models={"small": MockLLM(), "large": ScriptedLLM()})
    response = llm.chat(QUESTION)
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match=r"small \(MockLLM\) cannot call tools"):
        llm.get_tool_calls_from_response(response)


@chats
async def test_a_prompt_that_does_not_fit_goes_where_it_does(way):
    llm = make(small={"context_window": 10})
    assert trace_of((await ask(llm, way, [ChatMessage("word " * 50)]))[-1])["path"] == ["large"]
    assert trace_of((await ask(llm, way, QUESTION))[-1])["path"] == ["small"]


# — spending —


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_a_spending_limit_counts_each_pass_and_holds(way):
    limit = cc.SpendLimit(0.17)
    llm = make(0.1, spend_limit=limit)
    await ask(llm, way, QUESTION)
    assert limit.spent() == pytest.approx(0.165)
    with pytest.raises(SpendLimitError):
        await ask(llm, way, QUESTION)


def test_a_spending_limit_per_thread_counts_by_the_calls_thread():
    limit = cc.SpendLimit(0.17, per="thread")
    llm = make(0.1, spend_limit=limit)
    llm.chat(QUESTION, cascade={"thread": "a"})
    with pytest.raises(SpendLimitError):
        llm.chat(QUESTION, cascade={"thread": "a"})
    assert trace_of(llm.chat(QUESTION, cascade={"thread": "b"}))["path"] == ["small", "large"]


def test_an_abandoned_stream_is_paid_for():
    limit = cc.SpendLimit(1.0)
    stream = make(spend_limit=limit).stream_chat(QUESTION)
    next(stream)
    assert limit.spent() == 0
    stream.close()
    assert limit.spent() > 0


# — callbacks —


@pytest.fixture(autouse=True)
def _no_global_callbacks(monkeypatch):
    """A new callback manager takes its handlers from the settings, if these have one."""
    monkeypatch.setattr(Settings, "_callback_manager", None)


def counter():
    return TokenCountingHandler(tokenizer=str.split)


@pytest.mark.parametrize("when", ["made", "later", "handlers added"])
@pytest.mark.parametrize(("probability", "count"), [(None, 1), (0.9, 1), (0.1, 2)])
def test_the_llms_share_the_cascades_callback_manager(when, probability, count):
    handler = counter()
    manager = CallbackManager([] if when == "handlers added" else [handler])
    llm = make(probability, **({} if when == "later" else {"callback_manager": manager}))
    if when == "later":
        llm.callback_manager = manager
    if when == "handlers added":
        manager.add_handler(handler)
    llm.chat(QUESTION)
    llm.complete("Hello")
    assert len(handler.llm_token_counts) == 2 * count


def test_the_next_callback_manager_takes_the_place_of_the_one_before():
    first, second = counter(), counter()
    llm = make(callback_manager=CallbackManager([first]))
    llm.callback_manager = CallbackManager([second])
    llm.chat(QUESTION)
    assert (len(first.llm_token_counts), len(second.llm_token_counts)) == (0, 1)


def test_handlers_of_the_settings_are_none_of_an_llms_own():
    everywhere, given = counter(), counter()
    Settings.callback_manager = CallbackManager([everywhere])
    llm = make(0.1)
    llm.chat(QUESTION)
    assert len(everywhere.llm_token_counts) == 2
    llm.callback_manager = CallbackManager([given])
    llm.chat(QUESTION)
    assert (len(everywhere.llm_token_counts), len(given.llm_token_counts)) == (2, 2)


def test_an_llm_with_handlers_of_its_own_keeps_them():
    own, shared = counter(), counter()
    models = {**pool(), "small": ScriptedLLM(callback_manager=CallbackManager([own]))}
    llm = make(0.1, models=models, callback_manager=CallbackManager([shared]))
    llm.chat(QUESTION)
    assert (len(own.llm_token_counts), len(shared.llm_token_counts)) == (1, 1)


def test_without_a_callback_manager_the_llms_keep_theirs():
    models = pool()
    before = [model.callback_manager for model in models.values()]
    make(models=models)
    assert [model.callback_manager for model in models.values()] == before
