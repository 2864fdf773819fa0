"""The cascade over real small models in this process, with a policy that was fitted on their recorded outcomes."""

from importlib import resources

import pytest
from huggingface_hub import constants
from langchain.agents import create_agent
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

import cascade_components as cc
from cascade_local import embedded_pool
from langchain_cascade import CascadeChatModel

from .ways import added, collected

pytestmark = pytest.mark.local

POOL = ["smollm2-135m", "qwen2.5-0.5b"]
QUESTION = "What is the capital of Poland?"
QUESTIONS = [QUESTION, "What is the opposite of hot?", "What is 12 + 30?", "Write one line about the sea."]


@pytest.fixture(scope="module")
def fitted():
    """Fitted on every third question, which is faster."""
    with resources.as_file(resources.files("cascade_cli") / "data" / "outcomes.jsonl.gz") as path:
        outcomes = cc.load_outcomes(path)
    chosen = set(list(outcomes.queries)[::3])
    return cc.fit([row for row in outcomes if row.query_id in chosen], budget=2.2e-5, clusters=3)


@pytest.fixture(scope="module")
def pool():
    found = embedded_pool(POOL, max_tokens=32, threads=1)
    with pytest.MonkeyPatch.context() as patch:
        # In this process the network is blocked; the mirror is reached by one of pip's own.
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        for chat in found.values():
            chat.get_token_ids("anything")
    return found


@pytest.fixture
def model(fitted, pool):
    return CascadeChatModel(policy=fitted, models=pool)


def check(message):
    trace = message.response_metadata["cascade"]
    assert message.text.strip()
    assert trace["model"] in trace["path"]
    assert message.response_metadata["model_name"] == trace["model"]
    assert [one["model"] for one in trace["passes"]] == trace["path"]
    assert message.usage_metadata["total_tokens"] == sum(one["usage"]["total_tokens"] for one in trace["passes"])
    assert trace["cost_usd"] > 0
    assert trace["done"]
    assert trace["reason"]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_invoke_and_stream_agree(model, question):
    whole, awaited = model.invoke(question), await model.ainvoke(question)
    chunks, achunks = list(model.stream(question)), await collected(model.astream(question))
    for message in (whole, awaited, added(chunks), added(achunks)):
        check(message)
        assert message.text == whole.text
        assert message.response_metadata["cascade"]["path"] == whole.response_metadata["cascade"]["path"]


@pytest.mark.parametrize("name", POOL)
def test_each_model_by_name_answers_as_alone(model, pool, name):
    config = {"configurable": {"cascade": {"model": name, "escalate": False}}}
    message = model.invoke(QUESTION, config)
    check(message)
    assert message.text == pool[name].invoke(QUESTION).text
    assert added(list(model.stream(QUESTION, config))).text == message.text


def test_a_chain_and_its_usage(model):
    chain = ChatPromptTemplate.from_template("{question}") | model | StrOutputParser()
    with get_usage_metadata_callback() as usage:
        answers = chain.batch([{"question": QUESTION}, {"question": "What is 12 + 30?"}])
    assert all(answers)
    assert set(usage.usage_metadata) <= set(POOL)
    assert sum(one["total_tokens"] for one in usage.usage_metadata.values()) > 0


class Capital(BaseModel):
    """A capital."""

    city: str


async def test_structured_output(model):
    parser = model.with_structured_output(Capital, include_raw=True)
    for found in (parser.invoke(QUESTION), await parser.ainvoke(QUESTION)):
        assert isinstance(found["parsed"], Capital)
        check(found["raw"])
    assert set(model.with_structured_output(Capital.model_json_schema()).invoke(QUESTION)) == {"city"}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_graphs_message_stream(model, question):
    agent = create_agent(model, tools=[])
    parts = [one for one, _ in agent.stream({"messages": question}, stream_mode="messages")]
    (message_id,) = {one.id for one in parts}
    answer = agent.invoke({"messages": question})["messages"][-1]
    assert message_id != answer.id
    assert "".join(one.text for one in parts) == answer.text
    check(answer)
