"""Members of the pool that LangChain's `init_chat_model` makes, fixed and configurable ones."""

import warnings

import pytest
from langchain.chat_models import init_chat_model
from pydantic import BaseModel

from langchain_cascade import CascadeChatModel
from tests.openai_server import BOTH, clock, structured, weather

from .doubles import policy
from .ways import ask, calls_of, each_way, trace_of

pytestmark = pytest.mark.enable_socket

METHODS = ["function_calling", "json_mode", "json_schema"]


class City(BaseModel):
    city: str


def init(server, name, **kwargs):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*configurable_fields")
        return init_chat_model(name, base_url=server.url, api_key="none", max_retries=0, stream_usage=True, **kwargs)


@pytest.fixture(params=["fixed", "configurable", "bound"])
def made(request, server):
    def made(probability=None, **kwargs):
        given = {} if request.param == "fixed" else {"configurable_fields": ("model",), "config_prefix": "small"}
        small = init(server, "openai:small", **given)
        if request.param == "bound":
            small = small.with_config(tags=["weak"], configurable={"small_model": "openai:small"})
        models = {"small": small, "large": init(server, "openai:large")}
        return CascadeChatModel(policy=policy(probability), models=models, **kwargs)

    return made


@pytest.mark.parametrize(("probability", "text"), [(0.9, "small here"), (0.1, "large here"), (None, "small here")])
async def test_init_chat_model_in_every_way(made, probability, text):
    for message in (await each_way(made(probability))).values():
        assert message.text == text
        assert message.usage_metadata["total_tokens"] == (20 if probability == 0.1 else 10)


@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
async def test_init_chat_model_with_tools(made, server, probability):
    server.replies["small"] = BOTH
    bound = made(probability, temperature=0.3).bind_tools([weather, clock], tool_choice="any")
    for way in ("invoke", "stream", "ainvoke", "astream"):
        message = await ask(way, bound)
        assert [name for name, *_ in calls_of(message)] == ["weather", "clock"]
    assert {(body["temperature"], body["tool_choice"]) for body in server.bodies} == {(0.3, "required")}


@pytest.mark.parametrize("method", METHODS)
async def test_init_chat_model_with_structured_output(made, server, method):
    server.replies.update(small=structured("{}"), large=structured({"city": "Oslo"}))
    parser = made(temperature=0.3).with_structured_output(City, method=method)
    assert parser.invoke("Where?") == await parser.ainvoke("Where?") == City(city="Oslo")
    assert [(body["model"], body["temperature"]) for body in server.bodies] == [("small", 0.3), ("large", 0.3)] * 2


def test_a_configurable_model_is_configured_by_the_call(server):
    small = init(server, "openai:small", configurable_fields=("model",), config_prefix="small")
    model = CascadeChatModel(policy=policy(), models={"small": small, "large": init(server, "openai:large")})
    config = {"configurable": {"small_model": "openai:mini"}}
    for one in (model, model.bind(seed=1), model.bind_tools([weather])):
        assert one.invoke("Hello", config).text == "mini here"
    server.replies["mini"] = structured({"city": "Oslo"})
    assert model.with_structured_output(City).invoke("Where?", config) == City(city="Oslo")
    assert {body["model"] for body in server.bodies} == {"mini"}


def test_a_model_that_is_chosen_by_the_call_alone(server):
    small = init(server, None, configurable_fields="any", config_prefix="small")
    model = CascadeChatModel(policy=policy(), models={"small": small, "large": init(server, "openai:large")})
    config = {"configurable": {"small_model": "openai:mini"}}
    assert model.invoke("Hello", config).text == "mini here"
    trace = trace_of(model.invoke("Hello"))
    assert (trace["path"], [failure["model"] for failure in trace["failures"]]) == (["small", "large"], ["small"])
