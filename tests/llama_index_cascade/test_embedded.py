"""The cascade over real small models in this process, through LlamaIndex's own client of OpenAI-compatible servers."""

from contextlib import ExitStack
from importlib import resources

import httpx
import pytest
from huggingface_hub import constants
from llama_index.core import MockEmbedding, PromptTemplate, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.schema import TextNode
from llama_index.llms.openai import OpenAI

import cascade_components as cc
from cascade_local import embedded_pool
from llama_index.llms.cascade import CascadeLLM

pytestmark = pytest.mark.local

QUESTIONS = ["What is the capital of Poland?", "What is the opposite of hot?", "What is 12 + 30?"]


NOT_KEPT = httpx.Limits(max_keepalive_connections=0)
"""Each test has an event loop of its own: no connection may outlive it."""


def client_of(chat, opened):
    """LlamaIndex's OpenAI client on the socket of an embedded model; the model's name is only for the window's size."""
    chat.get_token_ids("anything")  # loads it
    (running,) = chat._loaded.values()
    way = {"uds": running.address.removeprefix("unix://"), "limits": NOT_KEPT}
    client = opened.enter_context(httpx.Client(transport=httpx.HTTPTransport(**way)))
    return OpenAI(
        model="gpt-4o-mini",
        api_base="http://localhost/v1",
        api_key=running._headers["Authorization"].split()[1],
        http_client=client,
        async_http_client=httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(**way)),
        additional_kwargs={"stream_options": {"include_usage": True}},
        max_tokens=32,
        temperature=0,
        timeout=120,
    )


@pytest.fixture(scope="module")
def llm():
    with resources.as_file(resources.files("cascade_cli") / "data" / "outcomes.jsonl.gz") as path:
        outcomes = cc.load_outcomes(path)
    chosen = set(list(outcomes.queries)[::3])
    policy = cc.fit([row for row in outcomes if row.query_id in chosen], budget=2.2e-5, clusters=3)
    chats = embedded_pool(list(policy.models), threads=1)
    with ExitStack() as opened:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(constants, "HF_HUB_OFFLINE", True)  # in this process the network is blocked
            models = {name: client_of(chat, opened) for name, chat in chats.items()}
        yield CascadeLLM(policy=policy, models=models)


def check(response):
    trace = response.additional_kwargs["cascade"]
    assert response.message.content.strip()
    assert trace["done"]
    assert [one["model"] for one in trace["passes"]] == trace["path"]
    assert all(one["usage"]["output_tokens"] > 0 for one in trace["passes"])
    assert trace["cost_usd"] > 0


@pytest.mark.parametrize("question", QUESTIONS)
async def test_chat_and_streams_agree(llm, question):
    messages = [ChatMessage(question)]
    whole = llm.chat(messages)
    parts = list(llm.stream_chat(messages))
    found = [whole, await llm.achat(messages), parts[-1]]
    for response in found:
        check(response)
        assert response.message.content == whole.message.content
    assert "".join(part.delta or "" for part in parts) == whole.message.content


def test_a_query_engine_answers_from_its_documents(llm):
    nodes = [TextNode(text="Ada Lovelace was born in London.")]
    index = VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=8))
    prompt = PromptTemplate("{context_str}\nQuestion: {query_str}\nAnswer in one short line.")
    engine = index.as_query_engine(llm=llm, text_qa_template=prompt)
    assert "London" in str(engine.query("Where was Ada Lovelace born?"))
