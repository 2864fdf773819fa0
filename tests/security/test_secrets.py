"""What is secret stays in the objects that were given it: nothing of ours shows, writes or logs it."""

import asyncio
import json
import logging
import pickle
import re

import pytest
from langchain_core.load import dumpd, dumps
from langchain_core.messages import HumanMessage
from langchain_core.tracers.base import BaseTracer
from langchain_openai import ChatOpenAI
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.llms.openai import OpenAI

import cascade_components as cc
from cascade_components.strict_json import parse_object
from langchain_cascade import CascadeChatModel, CascadeTool
from llama_index.llms.cascade import CascadeLLM
from llama_index.tools.cascade import CascadeToolSpec
from tests.langchain_cascade.doubles import GATED, ChatScripted, ScriptedPolicy
from tests.llama_index_cascade.doubles import ScriptedLLM
from tests.toy import make_rows, toy_encoder

from .planted import leaks, refusing_server, secret

OURS = ("cascade_components", "langchain_cascade", "llama_index.llms.cascade", "cascade_local", "cascade_cli")


class Plain(ChatScripted):
    """Keeps its key as a text, and says it whenever it is shown."""

    api_key: str = ""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", secret("environment"))


WITH_PASSWORD = f"http://user:{secret('url')}@127.0.0.1:9/v1"


def openai_client(url, **changes):
    """A client with a secret wherever one fits."""
    found = {
        "api_key": secret("key"),
        "base_url": url,
        "default_headers": {"X-Token": secret("header")},
        "default_query": {"key": secret("query")},
        "model_kwargs": {"extra_headers": {"X-More": secret("settings")}},
        "max_retries": 0,
        "timeout": 10,
    }
    return ChatOpenAI(model="gpt-x", **{**found, **changes}).bind(extra_headers={"X-Bound": secret("bound")})


def failing():
    return Plain(model_name="x", reply=PermissionError(f"no access with {secret('error')}"), api_key=secret("plain"))


def pool(url=WITH_PASSWORD, **changes):
    return {
        "small": openai_client(url, **changes),
        "large": failing(),
    }


@pytest.fixture
def logs(caplog):
    """What our loggers say, down to the smallest."""
    for name in OURS:
        caplog.set_level(logging.DEBUG, name)

    def shown():
        formatted = [caplog.handler.format(one) for one in caplog.records if one.name.startswith(OURS)]
        return "\n".join([*formatted, *(repr(vars(one)) for one in caplog.records if one.name.startswith(OURS))])

    return shown


class Collected(BaseTracer):
    """Keeps what LangChain would send to where traces are stored."""

    def __init__(self):
        super().__init__()
        self.found = []

    def _persist_run(self, run):
        left = [run]
        while left:
            run = left.pop()
            left += run.child_runs
            self.found.append(run)

    @property
    def ours(self):
        return [run for run in self.found if "CascadeChatModel" in run.name]


class Events(BaseEventHandler):
    """Keeps what LlamaIndex's instrumentation tells."""

    found: list = []  # noqa: RUF012 - a pydantic model

    def handle(self, event, **kwargs):
        self.found.append(event)


# — what shows a cascade —


@pytest.mark.parametrize("large", [failing, lambda: ChatOpenAI(model="gpt-y")], ids=["plain", "environment"])
def test_what_shows_a_langchain_cascade_shows_no_secret(large):
    models = pool(model_kwargs={}) | {"large": large()}
    model = CascadeChatModel(policy=ScriptedPolicy(), models=models, api_key=secret("key"))
    tool = CascadeTool(cascade=model, description="Asks.")
    shown = {
        "repr": (repr(model), str(model), repr(tool), str(tool), repr(model.bind(stop=["x"])), repr([model])),
        "data": (json.dumps(dumpd(model)), dumps(model), json.dumps(model.to_spec("policy/")), dumps(model | str)),
        "identity": (model._identifying_params, model._get_ls_params(), model._get_llm_string(), model.profile),
        "state": (model.serving, model.health, model.policy, model.get_graph(), model.get_name()),
        "schemas": (model.get_input_jsonschema(), model.get_output_jsonschema(), tool.args),
    }
    assert {name: leaks(repr(found)) for name, found in shown.items() if leaks(repr(found))} == {}
    inside = [vars(models["small"].bound), models["small"].kwargs, models["large"].model_dump()]
    assert leaks(inside) >= {"header", "query", "url", "bound"}, "the canaries sing where nobody silences them"


def test_what_shows_a_llama_index_cascade_shows_no_secret():
    small = OpenAI(
        model="gpt-4o-mini",
        api_key=secret("key"),
        api_base=WITH_PASSWORD,
        default_headers={"X-Token": secret("header")},
        additional_kwargs={"extra_headers": {"X-More": secret("settings")}},
    )
    models = {"small": small, "large": OpenAI(model="gpt-4o-mini")}
    llm = CascadeLLM(policy=ScriptedPolicy(), models=models)
    shown = repr(llm), str(llm), repr(llm.to_dict()), llm.to_json(), repr(llm.dict()), repr(llm.metadata)
    assert leaks("".join(shown)) == set()
    assert (
        leaks(repr(CascadeToolSpec(llm=CascadeLLM(policy=fitted(), models=three(ScriptedLLM))).to_tool_list())) == set()
    )
    assert leaks([small.api_key, models["large"].api_key]) == {"key", "environment"}


def test_what_caches_know_a_cascade_by_is_no_secret():
    model = CascadeChatModel(policy=ScriptedPolicy(), models=pool())
    assert leaks([model._identifying_params, model._get_llm_string()]) == set()


def test_a_dump_of_a_cascade_shows_no_secret():
    model = CascadeChatModel(policy=ScriptedPolicy(), models=pool())
    assert leaks([model.model_dump(), model.model_dump_json()]) == set()


# — what calls leave behind —


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke"])
def test_an_answer_tells_no_secret_and_logs_no_prompt(way, logs):
    models = {
        "small": Plain(model_name="small", reply=f"perhaps {secret('answer')}"),
        "large": Plain(model_name="large", reply=f"surely {secret('answer')}"),
    }
    model, traced = CascadeChatModel(policy=ScriptedPolicy(GATED, 0.1), models=models), Collected()
    message = ask(model, way, HumanMessage(f"What is {secret('prompt')}?"), {"callbacks": [traced]})
    assert leaks(str(message.content)) == {"answer"}
    cascade = message.response_metadata["cascade"]
    assert cascade["escalated"]
    assert leaks(json.dumps(cascade)) == leaks(logs()) == set()
    for run in traced.ours:
        assert leaks([run.serialized, run.extra, run.tags, run.events]) <= {"answer"}, "tokens are told as events"
        assert leaks([run.inputs, run.outputs]) <= {"prompt", "answer"}


@pytest.mark.enable_socket
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke"])
def test_the_error_of_all_models_repeats_no_secret(way, logs):
    with refusing_server() as url:
        model, traced = CascadeChatModel(policy=ScriptedPolicy(), models=pool(url)), Collected()
        with pytest.raises(cc.AllModelsFailed) as caught:
            ask(model, way, HumanMessage(f"What is {secret('prompt')}?"), {"callbacks": [traced]})
    error = caught.value
    assert leaks([one.args for one in error.exceptions]) >= {"key", "error"}, "their own texts hold them"
    assert leaks(str(error)) == leaks(error.message) == leaks(logs()) == set()
    assert re.search("small: .*AuthenticationError, HTTP 401; large: PermissionError", str(error))
    for run in traced.ours:
        assert leaks([run.serialized, run.extra, run.tags, run.events, run.outputs]) == set()


def test_a_failure_on_the_way_to_an_answer_repeats_no_secret(logs):
    models = {"small": pool()["large"], "large": Plain(model_name="large", reply="surely")}
    model, traced = CascadeChatModel(policy=ScriptedPolicy(), models=models), Collected()
    message = model.invoke("What?", {"callbacks": [traced]})
    assert message.response_metadata["cascade"]["failures"] == [{"model": "small", "error": "PermissionError"}]
    shown = [message.response_metadata, logs(), [[run.outputs, run.extra, run.error] for run in traced.ours]]
    assert leaks(shown) == set()


def test_a_tool_tells_the_agent_no_secret(logs):
    tool = CascadeTool(cascade=CascadeChatModel(policy=fitted(), models=three(failing)), handle_tool_error=True)
    told = tool.invoke({"type": "tool_call", "id": "1", "name": tool.name, "args": {"question": "What?"}})
    assert "PermissionError" in told.content
    assert leaks([told, logs()]) == set()


def test_llama_index_events_and_errors_repeat_no_secret(logs):
    broken = PermissionError(f"no access with {secret('error')}")
    models = {name: ScriptedLLM(model_name=name, reply=broken, api_key=secret("key")) for name in ("small", "large")}
    llm = CascadeLLM(policy=ScriptedPolicy(), models=models, callback_manager=CallbackManager([]))
    events, root = Events(), get_dispatcher()
    root.add_event_handler(events)
    try:
        with pytest.raises(cc.AllModelsFailed) as caught:
            llm.chat([ChatMessage("What?")])
        models["large"].reply = "surely"
        response = llm.chat([ChatMessage(f"What is {secret('prompt')}?")])
    finally:
        root.event_handlers.remove(events)
    ours = [event for event in events.found if "Cascade" in type(event).__name__]
    assert ours
    assert leaks([str(caught.value), response.additional_kwargs, logs(), [event.model_dump() for event in ours]]) <= {
        "prompt"
    }
    assert leaks([str(caught.value), response.additional_kwargs["cascade"], logs()]) == set()


# — what is saved —


class Embedding:
    """An encoder that needs a key."""

    def __init__(self):
        self.api_key = secret("key")

    def __repr__(self):
        return f"Embedding({self.api_key})"

    def __call__(self, texts):
        return toy_encoder(texts)


class Sure:
    """An estimator that needs a key."""

    def __init__(self):
        self.api_key = secret("key")

    def __repr__(self):
        return f"Sure({self.api_key})"

    def predict_proba(self, queries, answers):
        return [0.9 if "sure" in answer.text else 0.2 for answer in answers]


def secret_rows():
    rows = make_rows(45)
    for row in rows:
        row["query"] += f" {secret('prompt')}"
        row["output"] += f" {secret('answer')}"
    return rows


@pytest.mark.parametrize("quality", ["embedding", Sure()], ids=["embedding", "foreign"])
def test_a_policy_keeps_no_text_and_no_key(quality, tmp_path, logs):
    policy = cc.fit(secret_rows(), encoder=Embedding(), quality=quality, clusters=3, cost_weight=0.1, progress=False)
    cascade = cc.Cascade(policy)
    trace = cascade.judge(cascade.start(f"poems, {secret('prompt')}"), f"perhaps {secret('answer')}")
    assert leaks([policy, policy.describe(), policy.fingerprint, trace, trace.to_dict(), str(policy.target)]) == set()
    policy.save(tmp_path / "policy")
    files = list((tmp_path / "policy").iterdir())
    assert {leak for file in files for leak in leaks(file.read_bytes())} == set()
    assert leaks(json.dumps(parse_object((tmp_path / "policy" / "policy.json").read_bytes()))) == set()
    with pytest.raises(ValueError, match="encoder=that callable") as caught:
        cc.CascadePolicy.load(tmp_path / "policy")
    if quality != "embedding":
        with pytest.raises(ValueError, match="with predict_proba; found a Embedding") as caught:
            cc.CascadePolicy.load(tmp_path / "policy", encoder=Embedding(), quality=Embedding())
    assert leaks(str(caught.value)) == leaks(logs()) == set()


def test_a_pickled_policy_holds_no_query_that_it_has_routed():
    policy = fitted()
    policy.route(f"poems, {secret('prompt')}", frozenset(policy.models))
    assert leaks(pickle.dumps(policy)) == set()


def fitted():
    return cc.fit(make_rows(60), encoder=toy_encoder, quality=None, clusters=3, cost_weight=0.1, progress=False)


def three(make):
    return {name: make() for name in ("small", "medium", "large")}


def ask(model, way, message, config):
    """One answer, in one of the ways."""
    if way == "ainvoke":
        return asyncio.run(model.ainvoke([message], config))
    if way == "invoke":
        return model.invoke([message], config)
    first, *rest = model.stream([message], config)
    return first + rest if rest else first
