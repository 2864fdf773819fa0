"""The MCP server as its clients see it: in this process, as a process over stdio, and over HTTP."""

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.memory import create_connected_server_and_client_session

import cascade_components as cc
from cascade_server.mcp import mcp_server
from langchain_cascade import CascadeChatModel
from tests.langchain_cascade.doubles import ChatScripted, policy
from tests.openai_server import Reply
from tests.toy import make_rows, toy_encoder

pytestmark = pytest.mark.enable_socket

COMMAND = [sys.executable, "-c", "from cascade_cli.main import run; run()", "mcp"]
POOL = "small=openai:gpt-small,medium=openai:gpt-medium,large=openai:gpt-large"
PRICES = "1/2,3/4,5/6"
PATIENCE = timedelta(seconds=120)


# — in this process —


@pytest.fixture(scope="module")
def fitted():
    return cc.fit(make_rows(), encoder=toy_encoder, clusters=3, retention=0.97)


@pytest.fixture
def models(fitted):
    return {name: ChatScripted(model_name=name, reply=f"{name}: sure") for name in fitted.models}


@pytest.fixture
def connected(fitted, models):
    """A client of a server in this process."""
    return lambda: create_connected_server_and_client_session(
        mcp_server(CascadeChatModel(policy=fitted, models=models), log_level="WARNING")
    )


def text_of(result):
    (content,) = result.content
    return content.text


async def test_it_offers_two_tools_and_the_policy(connected, fitted):
    async with connected() as client:
        ask, explain = (await client.list_tools()).tools
        assert (ask.name, explain.name) == ("ask", "explain")
        assert "small, medium, large" in ask.description
        assert set(ask.inputSchema["properties"]) == {"question", "context", "retention", "budget"}
        assert ask.inputSchema["required"] == ["question"]
        assert all(one["description"] for one in ask.inputSchema["properties"].values())
        assert {"answer", "model", "path", "cost_usd", "reason"} <= set(ask.outputSchema["required"])
        assert (await client.read_resource("cascade://policy")).contents[0].text == fitted.describe()


async def test_an_answer_is_text_and_how_it_came_about_is_data(connected, models):
    models["small"].reply = "perhaps"
    async with connected() as client:
        heard = []

        async def hear(progress, total, message):
            heard.append((progress, message))

        found = await client.call_tool("ask", {"question": "code question"}, progress_callback=hear)
    assert not found.isError
    assert text_of(found) == found.structuredContent["answer"]
    data = found.structuredContent
    assert data["escalated"]
    assert data["path"] == ["small", "medium"]
    assert data["cost_usd"] > 0
    assert "below" in data["reason"]
    assert [progress for progress, _ in heard] == [1, 2]
    assert heard[1][1].startswith("asking medium (small scored")


async def test_the_context_is_read_but_not_routed(connected, models, fitted):
    async with connected() as client:
        given = {"question": "sums question", "context": "poems poems poems", "retention": 0.9}
        found = await client.call_tool("ask", given)
    expected = cc.explain(fitted, "sums question", retention=0.9)
    assert found.structuredContent["path"] == [expected.plan.start]
    context, question = models[expected.plan.start].calls[0]["messages"]
    assert "poems" in context.text
    assert question.text == "sums question"


async def test_it_explains_without_asking_a_model(connected, models, fitted):
    async with connected() as client:
        found = await client.call_tool("explain", {"question": "poems question", "budget": 0.005})
    expected = cc.explain(fitted, "poems question", budget=0.005)
    assert text_of(found) == str(expected)
    assert found.structuredContent == json.loads(json.dumps(expected.to_dict()))
    assert not any(model.calls for model in models.values())


@pytest.mark.parametrize("tool", ["ask", "explain"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"question": ""}, "The question is empty"),
        ({"question": "sums", "retention": 0.9, "budget": 1}, "not both"),
        ({"question": "sums", "budget": -1}, "at least 0"),
        ({"question": "sums", "budget": 0}, "the cheapest costs"),
        ({"question": "sums", "retention": "much"}, "valid number"),
        ({}, "Field required"),
    ],
)
async def test_bad_input_is_a_tool_error(connected, tool, given, message):
    async with connected() as client:
        found = await client.call_tool(tool, given)
    assert found.isError
    assert message in text_of(found)
    assert "Traceback" not in text_of(found)


async def test_when_no_model_answers_nothing_of_their_errors_but_the_kind_is_told(connected, models):
    for model in models.values():
        model.reply = ConnectionError("https://user:secret@host")
    async with connected() as client:
        found = await client.call_tool("ask", {"question": "sums question"})
    assert found.isError
    assert text_of(found).endswith("No model of the cascade could answer (ConnectionError).")


def test_the_policy_must_be_one_that_fit_made(models):
    pool = {name: models[name] for name in ("small", "large")}
    with pytest.raises(ValueError, match="takes a CascadePolicy"):
        mcp_server(CascadeChatModel(policy=policy(), models=pool))


# — as a process —


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "policy"
    cc.fit(make_rows(60), clusters=2, quality=None, cost_weight=0.0).save(path)
    return path


@pytest.fixture(scope="module")
def environment(running_server):
    return {**os.environ, "OPENAI_BASE_URL": running_server.url, "OPENAI_API_KEY": "sk-secret"}


@pytest.fixture
def stdio(folder, environment):
    command, *arguments = [*COMMAND, str(folder), "--pool", POOL, "--prices", PRICES]
    return {"command": command, "args": arguments, "env": environment}


@pytest.fixture(scope="module")
def url(folder, environment):
    """Where a server runs that listens for HTTP."""
    command = [*COMMAND, str(folder), "--pool", POOL, "--transport", "http", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        told = next(line for line in process.stderr if "http://" in line)
        yield told.split()[-1]
        process.terminate()
        assert process.stdout.read() == ""


@asynccontextmanager
async def client_of(transport):
    async with transport as (received, sent, *_), ClientSession(received, sent, PATIENCE) as session:
        await session.initialize()
        yield session


async def test_over_stdio(stdio, server, tmp_path):
    with (tmp_path / "stderr").open("w+") as stderr:
        async with client_of(stdio_client(StdioServerParameters(**stdio), stderr)) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["ask", "explain"]
            found = await client.call_tool("ask", {"question": "sums question"})
            assert text_of(found) == "gpt-large here"
            assert found.structuredContent["path"] == ["large"]
            assert found.structuredContent["cost_usd"] == pytest.approx(7 * 5e-6 + 3 * 6e-6)
            explained = await client.call_tool("explain", {"question": "sums question"})
            assert explained.structuredContent["plan"]["start"] == "large"
            server.replies.update({f"gpt-{name}": Reply(status=401) for name in ("small", "medium", "large")})
            failed = await client.call_tool("ask", {"question": "sums question"})
            assert failed.isError
            assert "No model of the cascade could answer (" in text_of(failed)
            assert "out of order" not in text_of(failed)
            described = (await client.read_resource("cascade://policy")).contents[0].text
            assert described.startswith("Cascade policy")
        stderr.seek(0)
        assert "Traceback" not in stderr.read()


def test_nothing_but_the_protocol_is_on_standard_output(stdio):
    """Also when the library's own code, or native code, prints."""
    noisy = (
        "import os, cascade_components as cc; load = cc.CascadePolicy.load\n"
        "def noisily(path): print('oh'); os.write(1, b'oh'); return load(path)\n"
        "cc.CascadePolicy.load = noisily\n"
        "from cascade_cli.main import run; run()"
    )
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
    command = [stdio["command"], "-c", noisy, *stdio["args"][2:]]
    done = subprocess.run(command, env=stdio["env"], input=request + "\n", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["result"]["serverInfo"]["name"] == "cascade"
    assert done.stderr.count("oh") == 2


async def test_over_http(url, server):
    server.replies["gpt-large"] = Reply("It is 4.")
    async with client_of(streamable_http_client(url)) as client:
        found = await client.call_tool("ask", {"question": "sums question", "context": "Base ten."})
        assert text_of(found) == "It is 4."
        assert [message["role"] for message in server.bodies[0]["messages"]] == ["user", "user"]
        cheap = await client.call_tool("ask", {"question": "sums question", "budget": 0.002})
        assert text_of(cheap) == "gpt-small here"
        empty = await client.call_tool("ask", {"question": " "})
        assert empty.isError
        assert "The question is empty" in text_of(empty)


def test_pages_of_other_hosts_cannot_reach_it_over_http(url):
    """A page whose host name resolves to loopback all at once would be let in by the browser."""
    request = {"json": {}, "headers": {"Accept": "application/json, text/event-stream"}}
    assert httpx.post(url, **request).status_code == 400
    request["headers"]["Host"] = "evil.example:80"
    assert httpx.post(url, **request).status_code == 421


async def test_an_agent_of_langchain_uses_it_over_http(url, server):
    server.replies["gpt-large"] = Reply("It is 5.")
    tools = await MultiServerMCPClient({"cascade": {"transport": "streamable_http", "url": url}}).get_tools()
    wanted = AIMessage("", tool_calls=[{"name": "ask", "args": {"question": "sums question"}, "id": "call_1"}])
    agent_model = ChatScripted(
        model_name="agent",
        calls_tools=False,
        reply=lambda messages: AIMessage("Done.") if isinstance(messages[-1], ToolMessage) else wanted,
    )
    found = await create_agent(agent_model, tools=tools).ainvoke({"messages": [("user", "Ask somebody.")]})
    answer = found["messages"][-2]
    assert [block["text"] for block in answer.content] == ["It is 5."]
    assert answer.artifact["structured_content"]["path"] == ["large"]
    assert found["messages"][-1].text == "Done."


async def test_its_tools_are_tools_of_langchain_over_stdio(stdio):
    async with MultiServerMCPClient({"cascade": {"transport": "stdio", **stdio}}).session("cascade") as session:
        ask, explain = await load_mcp_tools(session)
        message = await ask.ainvoke({"type": "tool_call", "id": "1", "name": "ask", "args": {"question": " "}})
        assert message.status == "error"
        assert "The question is empty" in str(message.content)
        assert "plan: large" in (await explain.ainvoke({"question": "sums question"}))[0]["text"]
